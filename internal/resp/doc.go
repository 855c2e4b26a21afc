// Package resp reads commands and writes replies in the Redis serialization protocol.
//
// [Reader] parses what clients send: multibulk and inline commands, pipelined, bounded in time and in
// memory whatever the bytes are, and with Redis's own answers to bad input. [Writer] appends replies in
// RESP2 or RESP3.
package resp
