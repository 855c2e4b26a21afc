// Package redlock is the lock protocol: Redlock over N independent masters with fencing tokens.
package redlock
