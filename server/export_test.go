package server

// LockOf and ParseLockWaiter are held against package redlock, which this package must not import.
var (
	LockOf          = lockOf
	ParseLockWaiter = parseLockWaiter
)

// LockQueues returns how many locks the node believes to be waited for.
func (s *Server) LockQueues() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wakes.n
}
