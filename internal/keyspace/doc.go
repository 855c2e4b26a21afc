// Package keyspace holds a node's databases: keys, their values, their ttl.
//
// There are only a few types. A [Keyspace] is the node's numbered databases and the way between its two
// clocks. A [DB] is one database. An [Entry] is one key with its value and belongs to the DB it was got
// from until that key is removed or the DB is flushed.
//
// Below them, each in its own file: dict, a hash table that grows and shrinks a little at each operation
// (no insert ever waits for a whole table to move) and whose scan cursors survive that; and ttlHeap, the
// keys that have a ttl in the order in which they will expire.
//
// A ttl is an instant of the running clock, so a wall clock that jumps loses no lock. A key is there while
// now is strictly before its deadline. An expired key is removed by whoever looks it up first, or by
// [Keyspace.ExpireCycle].
//
// Nothing here is safe for concurrent use: one lock of the node guards all of it.
package keyspace
