package keyspace

import "github.com/holdfast-dev/holdfast/internal/clock"

// ttlHeap holds the entries that have a ttl, the one that expires first on top: a heap with four children
// per node, each entry knowing its own position. It is kept in chunks because growing one large slice would
// copy all of it at once. The zero ttlHeap is empty and ready to use.
type ttlHeap struct {
	chunks [][]ttlItem
	n      int
}

type ttlItem struct {
	deadline clock.Instant
	entry    *Entry
}

const (
	heapArity = 4
	chunkBits = 9
	chunkSize = 1 << chunkBits
)

func (h *ttlHeap) at(i int) *ttlItem { return &h.chunks[i>>chunkBits][i&(chunkSize-1)] }

// deadline returns when e, which must be in the heap, expires.
func (h *ttlHeap) deadline(e *Entry) clock.Instant { return h.at(int(e.ttl) - 1).deadline }

// set adds e or moves it to a new deadline.
func (h *ttlHeap) set(e *Entry, deadline clock.Instant) {
	if e.ttl == 0 {
		if h.n == len(h.chunks)*chunkSize {
			h.chunks = append(h.chunks, make([]ttlItem, chunkSize))
		}
		h.n++
		e.ttl = uint32(h.n)
		h.up(h.n-1, ttlItem{deadline, e})
		return
	}
	h.place(int(e.ttl)-1, ttlItem{deadline, e})
}

// remove takes e out, if it is in.
func (h *ttlHeap) remove(e *Entry) {
	if e.ttl == 0 {
		return
	}
	i := int(e.ttl) - 1
	e.ttl = 0
	h.n--
	last := *h.at(h.n)
	*h.at(h.n) = ttlItem{}
	if i < h.n {
		h.place(i, last)
	}
	// One empty chunk stays, so that a key set and deleted in turn does not make one each time.
	if spare := len(h.chunks) - 2; spare >= 0 && h.n <= spare*chunkSize {
		h.chunks[spare+1] = nil
		h.chunks = h.chunks[:spare+1]
	}
}

// place puts item, which may be earlier or later than what stood at i, where it belongs.
func (h *ttlHeap) place(i int, item ttlItem) {
	if i > 0 && item.deadline < h.at((i-1)/heapArity).deadline {
		h.up(i, item)
		return
	}
	h.down(i, item)
}

func (h *ttlHeap) up(i int, item ttlItem) {
	for i > 0 {
		parent := h.at((i - 1) / heapArity)
		if parent.deadline <= item.deadline {
			break
		}
		h.put(i, *parent)
		i = (i - 1) / heapArity
	}
	h.put(i, item)
}

func (h *ttlHeap) down(i int, item ttlItem) {
	for {
		least := i*heapArity + 1
		if least >= h.n {
			break
		}
		for c := least + 1; c < min(i*heapArity+1+heapArity, h.n); c++ {
			if h.at(c).deadline < h.at(least).deadline {
				least = c
			}
		}
		if item.deadline <= h.at(least).deadline {
			break
		}
		h.put(i, *h.at(least))
		i = least
	}
	h.put(i, item)
}

func (h *ttlHeap) put(i int, item ttlItem) {
	*h.at(i) = item
	item.entry.ttl = uint32(i + 1)
}
