// Package server is one node: a Redis-compatible server that keeps its keys in memory.
//
// Read the files in this order. dispatch.go first: its two halves, the checks and the execution, are the
// whole policy of the server. Then command.go, the row that describes a command, and call.go, what a
// handler gets. session.go is one connection and the only place that knows the transport. server.go
// starts and ends everything. After that the files of commands stand side by side, each with its rows at
// the top and its handlers below: connection.go, multi.go, pubsub.go, client.go, config.go, info.go,
// and those of the data types and scripts.
//
// There are few types. A [Server] owns the keyspace and the execution lock. A session is a connection
// with what it has chosen: database, protocol version, transaction, subscriptions. A command is a row of
// the table; a Call is one execution of it.
//
// Everything that commands touch is guarded by ONE lock, held for a whole pipelined batch. Parsing,
// sockets and waiting are outside it.
package server
