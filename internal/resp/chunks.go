package resp

import "sync"

const (
	// chunkSize is what a Writer writes into once a reply is no longer small. A long reply is a list of
	// chunks, so it is never copied to make room for more of it, and no slice has its whole length.
	chunkSize = 64 << 10
	firstTail = 256     // the memory of a Writer's first small reply
	longBulk  = 8 << 10 // from here on a string may be cut, to fill chunks to the end
	frame     = 32      // room for anything around a string: kind, length, line breaks
	keptBytes = 1 << 20 // chunks of longer replies are left to the garbage collector
)

// chunks are those that no Writer uses.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

func newChunk() []byte { return chunks.Get().(*[chunkSize]byte)[:0] }

func recycle(chunk []byte) {
	if cap(chunk) == chunkSize {
		chunks.Put((*[chunkSize]byte)(chunk[:chunkSize]))
	}
}

// SetLimit bounds what may be written until the next Reset: a Writer with more than limit bytes drops
// what it has and whatever follows, and Over tells of it. 0 is no limit.
func (w *Writer) SetLimit(limit int64) { w.limit = limit }

// Over reports whether the limit has been passed.
func (w *Writer) Over() bool { return w.over || w.limit > 0 && int64(w.Len()) > w.limit }

// room returns the tail with room for n more bytes; n is at most longBulk+frame, and less than a chunk.
func (w *Writer) room(n int) []byte {
	if cap(w.buf)-len(w.buf) < n {
		w.makeRoom(n)
	}
	return w.buf
}

func (w *Writer) makeRoom(n int) {
	switch need := len(w.buf) + n; {
	case w.Over():
		w.drop()
	case need <= chunkSize/2:
		w.moveTail(make([]byte, 0, max(2*cap(w.buf), need, firstTail)))
	case need <= chunkSize:
		w.moveTail(newChunk())
	case len(w.buf) > 0:
		w.full = append(w.full, w.buf)
		w.fullLen += len(w.buf)
		w.buf = newChunk()
	}
}

func (w *Writer) moveTail(larger []byte) {
	larger = append(larger, w.buf...)
	recycle(w.buf)
	w.buf = larger
}

// drop goes over the limit for good: one chunk takes whatever is still written, over and over.
func (w *Writer) drop() {
	w.Release()
	w.over = true
	w.buf = newChunk()
}

// longString appends a string that may be longer than a chunk, with its line break.
func longString[T string | []byte](w *Writer, s T) {
	for len(s) > 0 {
		tail := w.room(1)
		if w.over {
			return
		}
		n := copy(tail[len(tail):cap(tail)], s)
		w.buf = tail[:len(tail)+n]
		s = s[n:]
	}
	w.buf = append(w.room(frame), '\r', '\n')
}

// Bytes returns what has been written since the last Reset in one piece, which costs a copy if it is
// long; it is valid until the next write.
func (w *Writer) Bytes() []byte {
	if len(w.full) == 0 {
		return w.buf
	}
	whole := make([]byte, 0, w.Len())
	for _, chunk := range w.full {
		whole = append(whole, chunk...)
		recycle(chunk)
	}
	whole = append(whole, w.buf...)
	recycle(w.buf)
	w.full, w.fullLen, w.buf = nil, 0, whole
	return whole
}

// Len returns how many bytes have been written since the last Reset.
func (w *Writer) Len() int { return w.fullLen + len(w.buf) }

// Cap returns how much memory the Writer holds on to.
func (w *Writer) Cap() int {
	n := cap(w.buf)
	for _, chunk := range w.full {
		n += cap(chunk)
	}
	return n
}

// Reset forgets what was written and keeps the protocol version and the memory of a short reply.
func (w *Writer) Reset() {
	if len(w.full) > 0 {
		w.forget()
	}
	w.buf = w.buf[:0]
	w.over = false
}

// Release forgets what was written and the memory too.
func (w *Writer) Release() {
	w.Reset()
	recycle(w.buf)
	w.buf = nil
}

// forget drops the chunks.
func (w *Writer) forget() { w.Flush(func([]byte) bool { return true }) }

// Truncate forgets everything after the first n bytes: a reply that turned out to be an error takes
// back what was already said.
func (w *Writer) Truncate(n int) {
	if w.over {
		return
	}
	for keep := len(w.full); n < w.fullLen; {
		keep--
		last := w.full[keep]
		recycle(w.buf)
		w.full[keep] = nil
		w.full = w.full[:keep]
		w.fullLen -= len(last)
		w.buf = last
	}
	w.buf = w.buf[:n-w.fullLen]
}

// Append moves what from holds to the end of w. From is empty afterwards.
func (w *Writer) Append(from *Writer) {
	if len(from.full) == 0 {
		w.Raw(from.buf)
		from.Reset()
		return
	}
	if len(w.buf) > 0 {
		w.full = append(w.full, w.buf)
		w.fullLen += len(w.buf)
	} else {
		recycle(w.buf)
	}
	w.full = append(w.full, from.full...)
	w.fullLen += from.fullLen
	w.buf = from.buf
	from.full, from.fullLen, from.buf = nil, 0, nil
}

// Swap exchanges what is written in w and in other, with the memory.
func (w *Writer) Swap(other *Writer) {
	w.buf, other.buf = other.buf, w.buf
	w.full, other.full = other.full, w.full
	w.fullLen, other.fullLen = other.fullLen, w.fullLen
}

// Flush hands what was written to write, piece by piece, gives the memory of each piece back, and leaves w
// empty. It stops when write returns false, and returns what the last one did.
func (w *Writer) Flush(write func(piece []byte) bool) bool {
	ok, short := true, w.Len() <= keptBytes
	for i, chunk := range w.full {
		ok = ok && write(chunk)
		w.full[i] = nil
		if short {
			recycle(chunk)
		}
	}
	if ok && len(w.buf) > 0 {
		ok = write(w.buf)
	}
	if short {
		w.full = w.full[:0]
	} else {
		w.full = nil
	}
	w.fullLen, w.buf = 0, w.buf[:0]
	return ok
}
