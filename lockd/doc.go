// Package lockd gives locks to programs in any language, over HTTP.
//
// There is one exported type that matters: a [Server] is an http.Handler over a [client.Client]. [Listen]
// opens the address that it may be served on, [Server.Serve] serves it with the right timeouts, and
// [Server.Shutdown] ends it in order.
//
// A lock that was taken here is either classic or a stream. A classic lease belongs to its caller: it ends a
// ttl after the caller's last POST or PUT, and lockd never renews it by itself. A stream's lock lives exactly
// as long as the connection of the request that took it, and lockd renews it meanwhile.
//
// # Reading order
//
// api.go defines the operations, and the OpenAPI document with them; server.go says what every request
// passes before it reaches one; guard.go is the rule against web pages; locks.go, leases.go and stream.go
// are the operations; problem.go is every error that a caller can see. DESIGN.md says who owns what.
package lockd
