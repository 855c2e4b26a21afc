package redlock

import (
	"maps"
	"time"
)

// liftAfter is how long a lease that is over may wait for its token to be brought to the nodes that had no part
// in it. Of the leases of one name in that time only the last one's is: it is the highest.
const liftAfter = 100 * time.Millisecond

// lift asks the nodes that the lease never came to to lift their fence to its token. A lease that is over in a
// moment rests on a majority and no more, and so would its token: with a node of them that forgets its fences,
// a majority could be found that never heard of it. Nothing hangs on the answers.
func (l *lease) lift() {
	if l.phase != over || l.token == 0 {
		return
	}
	for i := range l.members {
		if m := &l.members[i]; !m.asked && !m.lifted {
			m.lifted = true
			l.send(i, Request{Op: OpLift, Token: l.token})
		}
	}
}

// liftable tells that lift would send something.
func (l *lease) liftable() bool {
	return l.phase == over && l.token > 0 && l.count(func(m *member) bool { return !m.asked && !m.lifted }) > 0
}

// lifts are the leases, by name, whose tokens are to be lifted soon. Quorum.mu guards it.
type lifts struct {
	grants map[string]*Grant
	timer  *time.Timer
}

// liftLater is told of a grant that is over.
func (q *Quorum) liftLater(g *Grant, token int64) {
	q.mu.Lock()
	if q.closed { // nobody would be there later
		q.mu.Unlock()
		g.liftNow()
		return
	}
	defer q.mu.Unlock()
	if q.lifts.grants == nil {
		q.lifts.grants = make(map[string]*Grant)
		q.lifts.timer = time.AfterFunc(liftAfter, q.liftAll)
	}
	if other := q.lifts.grants[g.Name()]; other == nil || other.lease.token < token {
		q.lifts.grants[g.Name()] = g
	}
}

// liftAll lifts the tokens of all leases that wait for it.
func (q *Quorum) liftAll() {
	q.mu.Lock()
	due := q.lifts
	q.lifts = lifts{}
	q.mu.Unlock()
	if due.timer != nil {
		due.timer.Stop()
	}
	for g := range maps.Values(due.grants) {
		g.liftNow()
	}
}
