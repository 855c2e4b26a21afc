// Package examples holds short programs that show each way into Holdfast. Its tests build and run every one
// of them against five nodes and lockd, so what stands here works.
//
//   - goservice: an HTTP service in Go that takes a lock with package client and fences its writes
//   - cache: a node as a cache, through go-redis
//   - cron: one job on many machines, with `holdfast lock`
//   - fencing (a module of its own): rows, keys, objects and files that refuse whoever has lost the lock
//   - python, node: locks over HTTP, with nothing but the standard library
package examples
