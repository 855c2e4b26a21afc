package redlock

// A standing is what is known of a waiter at one node.
type standing uint8

const (
	away   standing = iota // it is not in the queue
	unsure                 // an acquire that may have put it there was not answered
	queued
)

// places remembers for each waiter, by its id, at which nodes it stands in the queue: it is to leave those and
// no others. Leave forgets it.
type places map[string][]standing

// sent is told of a message that is sent to one of n nodes.
func (p *places) sent(m message, n int) {
	id := m.req.Waiter.ID
	if m.req.Op != OpAcquire || id == "" {
		return
	}
	if *p == nil {
		*p = make(places)
	}
	at := (*p)[id]
	if at == nil {
		at = make([]standing, n)
		(*p)[id] = at
	}
	if at[m.node] == away {
		at[m.node] = unsure
	}
}

// answered is told of the answer to an acquire. Answers of one node come in the order of the requests.
func (p places) answered(m message, r Reply) {
	at := p[m.req.Waiter.ID]
	switch {
	case at == nil: // it has left
	case r.Status == StatusHeld:
		at[m.node] = queued
	case r.Status == StatusGranted, r.NotSent && at[m.node] == unsure:
		at[m.node] = away
	}
}

// take returns where a waiter may be and forgets it.
func (p places) take(id string) (known bool, at []standing) {
	at, known = p[id]
	delete(p, id)
	return known, at
}

func (p places) count(id string) int {
	n := 0
	for _, at := range p[id] {
		if at == queued {
			n++
		}
	}
	return n
}
