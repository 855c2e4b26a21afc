// Package pubsub fans messages out to subscribers of channels and of patterns, inside one process.
//
// There are few types. A [Broker] knows who is subscribed to what. A [Subscriber] is handed each
// message while the publisher waits, so it must not block. A [Queue] is the Subscriber for those who
// would rather receive: a bounded queue that cuts itself off when it overflows, so that a slow
// receiver never delays a publisher and never fills the memory.
//
// Nothing here knows a network: the node's sessions, the lock client and lockd bring their own.
package pubsub
