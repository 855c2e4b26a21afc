package server

// LockOfQueue is held against package redlock, which this package must not import.
var LockOfQueue = lockOfQueue

// LockQueues returns how many locks the node believes to be waited for.
func (s *Server) LockQueues() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wakes.n
}
