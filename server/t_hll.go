package server

import (
	"strconv"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
)

// hllCommands are the commands whose values are HyperLogLogs: strings that look like one.
func hllCommands() []*command {
	row := func(name string, arity int, flags flag, keys keyRange, since string, h handler) *command {
		return &command{name: name, arity: arity, flags: flags, categories: catHyperLogLog, keys: keys, since: since, handler: h}
	}
	const write = flagWrite | flagDenyOOM
	return []*command{
		row("pfadd", -2, write|flagFast, oneKey, "2.8.9", pfaddCommand),
		row("pfcount", -2, flagReadonly|flagMayReplicate, allKeys, "2.8.9", pfcountCommand),
		row("pfmerge", -2, write, allKeys, "2.8.9", pfmergeCommand),
		row("pfdebug", 3, write|flagAdmin, keyRange{2, 2, 1}, "2.8.9", pfdebugCommand),
		row("pfselftest", 1, flagAdmin, keyRange{}, "2.8.9", pfselftestCommand),
	}
}

// Errors of the commands on HyperLogLogs.
const (
	errNotHLL       = wireError("WRONGTYPE Key is not a valid HyperLogLog string value.")
	errCorruptHLL   = wireError("INVALIDOBJ Corrupted HLL object detected")
	errNotSparse    = wireError("ERR HLL encoding is not sparse")
	errNoSuchHLL    = wireError("ERR The specified key does not exist")
	errHLLSelfCheck = wireError("TESTFAILED the registers of a HyperLogLog do not hold what was written")
	errHLLSelfCount = wireError("TESTFAILED the sparse and the dense encoding count differently")
)

// lookupHLL returns the entry of key and its HyperLogLog, both nil if there is none.
func (c *Call) lookupHLL(key []byte) (*keyspace.Entry, ds.HLL, error) {
	e, err := c.lookupString(key)
	if err != nil || e == nil {
		return nil, nil, err
	}
	h, ok := ds.AsHLL(e.Bytes())
	if !ok {
		return nil, nil, errNotHLL
	}
	return e, h, nil
}

// editHLL is lookupHLL for commands that change the HyperLogLog: a dense one in place, a sparse one, which
// may come to lie elsewhere, in a copy that setHLL stores.
func (c *Call) editHLL(key []byte) (*keyspace.Entry, ds.HLL, error) {
	e, h, err := c.lookupHLL(key)
	if e == nil {
		return nil, nil, err
	}
	if h = e.Edit(); !h.Dense() {
		h = append(make(ds.HLL, 0, len(h)+8), h...)
	}
	return e, h, nil
}

// setHLL makes h the value of e, unless it is that already.
func setHLL(e *keyspace.Entry, h ds.HLL) {
	if old := e.Bytes(); len(old) == 0 || &old[0] != &h[0] {
		e.SetBytes(h)
		e.Edit()
	}
}

func pfaddCommand(c *Call) error {
	key := c.Args[1]
	e, h, err := c.editHLL(key)
	if err != nil {
		return err
	}
	changed := e == nil
	if e == nil {
		e, h = c.DB.Insert(key, nil), ds.NewHLL()
	}
	for _, element := range c.Args[2:] {
		var raised bool
		if h, raised, err = h.Add(element, c.srv.config.HLLSparse); err != nil {
			break
		}
		changed = changed || raised
	}
	// What was added before the error stays, as with Redis.
	if changed {
		h.Invalidate()
		setHLL(e, h)
		c.Changed("pfadd", key)
	}
	if err != nil {
		return errCorruptHLL
	}
	c.Out.Int(oneIf(changed))
	return nil
}

// oneIf returns how most commands tell that something is so.
func oneIf(v bool) int64 {
	if v {
		return 1
	}
	return 0
}

// pfcountCommand counts one HyperLogLog, whose count it stores, or the union of several.
func pfcountCommand(c *Call) error {
	if len(c.Args) > 2 {
		registers, _, err := c.unionHLL(c.Args[1:])
		if err != nil {
			return err
		}
		c.Out.Int(int64(registers.Count()))
		return nil
	}
	e, h, err := c.lookupHLL(c.Args[1])
	if err != nil {
		return err
	}
	if e == nil {
		c.Out.Int(0)
		return nil
	}
	h = e.Edit()
	n, ok := h.Cached()
	if !ok {
		if n, err = h.Count(); err != nil {
			return errCorruptHLL
		}
		h.SetCached(n)
		c.Changed("", c.Args[1]) // the string is another one, although the set is not
	}
	c.Out.Int(int64(n))
	return nil
}

// unionHLL returns the registers of the union of HyperLogLogs, and whether one of them is dense.
func (c *Call) unionHLL(keys [][]byte) (registers *ds.HLLRegisters, dense bool, err error) {
	registers = new(ds.HLLRegisters)
	for _, key := range keys {
		e, h, err := c.lookupHLL(key)
		if err != nil {
			return nil, false, err
		}
		if e == nil {
			continue
		}
		dense = dense || h.Dense()
		if h.MergeInto(registers) != nil {
			return nil, false, errCorruptHLL
		}
	}
	return registers, dense, nil
}

// pfmergeCommand makes the destination the union of itself and the sources.
func pfmergeCommand(c *Call) error {
	key := c.Args[1]
	registers, dense, err := c.unionHLL(c.Args[1:])
	if err != nil {
		return err
	}
	e, h, err := c.editHLL(key)
	if err != nil {
		return err
	}
	if e == nil {
		e, h = c.DB.Insert(key, nil), ds.NewHLL()
	}
	if dense {
		h, err = h.ToDense()
	}
	for i, v := range registers {
		if v > 0 && err == nil {
			h, _, err = h.Raise(i, v, c.srv.config.HLLSparse)
		}
	}
	if err != nil {
		return errCorruptHLL
	}
	h.Invalidate()
	setHLL(e, h)
	c.Changed("pfadd", key)
	return c.OK()
}

func pfdebugCommand(c *Call) error {
	e, h, err := c.lookupHLL(c.Args[2])
	if err != nil {
		return err
	}
	if e == nil {
		return errNoSuchHLL
	}
	h = e.Edit()
	switch word := c.Args[1]; {
	case isWord(word, "getreg"):
		return c.pfdebugRegisters(e, h)
	case isWord(word, "decode"):
		return c.pfdebugDecode(h)
	case isWord(word, "encoding"):
		if h.Dense() {
			c.Out.Simple("dense")
		} else {
			c.Out.Simple("sparse")
		}
	case isWord(word, "todense"):
		changed, _, err := c.makeDense(e, h)
		if err != nil {
			return err
		}
		c.Out.Int(oneIf(changed))
	default:
		return errorf("ERR Unknown PFDEBUG subcommand '%s'", cString(word, len(word)))
	}
	return nil
}

// makeDense changes the encoding of e's HyperLogLog and reports whether it was sparse.
func (c *Call) makeDense(e *keyspace.Entry, h ds.HLL) (changed bool, dense ds.HLL, err error) {
	changed = !h.Dense()
	if dense, err = h.ToDense(); err != nil {
		return false, nil, errCorruptHLL
	}
	setHLL(e, dense)
	if changed {
		c.Dirty(1) // no transaction fails because of it, as with Redis
	}
	return changed, dense, nil
}

func (c *Call) pfdebugRegisters(e *keyspace.Entry, h ds.HLL) error {
	_, h, err := c.makeDense(e, h)
	if err != nil {
		return err
	}
	var registers ds.HLLRegisters
	if h.MergeInto(&registers) != nil {
		return errCorruptHLL
	}
	c.Out.Array(len(registers))
	for _, v := range registers {
		c.Out.Int(int64(v))
	}
	return nil
}

// pfdebugDecode writes the runs: "z:" and "Z:" with the length of a run of zeros in one and two bytes,
// "v:" with value and length of another run.
func (c *Call) pfdebugDecode(h ds.HLL) error {
	if h.Dense() {
		return errNotSparse
	}
	var text []byte
	err := h.Runs(func(value uint8, length, size int) {
		if len(text) > 0 {
			text = append(text, ' ')
		}
		switch {
		case value > 0:
			text = append(strconv.AppendInt(append(text, "v:"...), int64(value), 10), ',')
		case size == 1:
			text = append(text, "z:"...)
		default:
			text = append(text, "Z:"...)
		}
		text = strconv.AppendInt(text, int64(length), 10)
	})
	if err != nil {
		return errCorruptHLL
	}
	c.Out.Bulk(text)
	return nil
}

// selfTestElements is how many elements PFSELFTEST adds, which takes some milliseconds.
const selfTestElements = 20_000

// pfselftestCommand checks that the encodings hold what is written to them and agree on the count.
func pfselftestCommand(c *Call) error {
	sparse, dense := ds.NewHLL(), ds.NewHLL()
	dense, err := dense.ToDense()
	for i := 0; i < selfTestElements && err == nil; i++ {
		element := strconv.AppendInt(nil, int64(i), 10)
		if sparse, _, err = sparse.Add(element, selfTestElements); err == nil {
			dense, _, err = dense.Add(element, 0)
		}
	}
	if err != nil {
		return errHLLSelfCheck
	}
	var fromSparse, fromDense ds.HLLRegisters
	if sparse.MergeInto(&fromSparse) != nil || dense.MergeInto(&fromDense) != nil || fromSparse != fromDense {
		return errHLLSelfCheck
	}
	n, err := dense.Count()
	if err != nil || n != fromSparse.Count() || n < selfTestElements*95/100 || n > selfTestElements*105/100 {
		return errHLLSelfCount
	}
	return c.OK()
}
