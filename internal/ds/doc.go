// Package ds holds the data structures that are values of keys: pure, without keys, ttl or commands.
//
// A [Hash] maps fields to values. A [ZSet] maps members to scores and keeps them in the order of score,
// then member, with ranks. A [Set] is members alone. These can be scanned by cursor while they change, and
// sampled at random. A [List] is a sequence with two ends at which nothing costs much.
//
// Nothing here is safe for concurrent use.
package ds
