package server

import (
	"bytes"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/keyspace"
	"github.com/holdfast-dev/holdfast/internal/resp"
)

// bitmapCommands are the commands that see a string as a row of bits.
func bitmapCommands() []*command {
	row := func(name string, arity int, flags flag, keys keyRange, since string, h handler) *command {
		return &command{name: name, arity: arity, flags: flags, categories: catBitmap, keys: keys, since: since, handler: h}
	}
	const write = flagWrite | flagDenyOOM
	return []*command{
		row("setbit", 4, write, oneKey, "2.2.0", setbitCommand),
		row("getbit", 3, flagReadonly|flagFast, oneKey, "2.2.0", getbitCommand),
		row("bitcount", -2, flagReadonly, oneKey, "2.6.0", bitcountCommand),
		row("bitpos", -3, flagReadonly, oneKey, "2.8.7", bitposCommand),
		row("bitop", -4, write, keyRange{2, -1, 1}, "2.6.0", bitopCommand),
		row("bitfield", -2, write, oneKey, "3.2.0", bitfieldCommand),
		row("bitfield_ro", -2, flagReadonly|flagFast, oneKey, "6.0.0", bitfieldROCommand),
	}
}

// Errors of the commands on bits.
const (
	errBitOffset     = wireError("ERR bit offset is not an integer or out of range")
	errBit           = wireError("ERR bit is not an integer or out of range")
	errBitArgument   = wireError("ERR The bit argument must be 1 or 0.")
	errBitopNot      = wireError("ERR BITOP NOT must be called with a single source key.")
	errBitfieldType  = wireError("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.")
	errBitOverflow   = wireError("ERR Invalid OVERFLOW type specified")
	errBitfieldWrite = wireError("ERR BITFIELD_RO only supports the GET subcommand")
)

// bitOffset reads the number of a bit. With width, which is that of a field in bits, "#3" is the bit where
// the field after three such fields begins.
func (c *Call) bitOffset(arg []byte, width int) (uint64, error) {
	fields := width > 0 && len(arg) > 0 && arg[0] == '#'
	if fields {
		arg = arg[1:]
	}
	offset, ok := resp.ParseInt(arg)
	if fields {
		offset *= int64(width) // an overflow wraps, as it does with Redis
	}
	if !ok || offset < 0 || offset>>3 >= c.srv.config.MaxBulk {
		return 0, errBitOffset
	}
	return uint64(offset), nil
}

// bitsForWrite returns the string of key, made if there is none and grown with zeros to hold bit last, and
// whether that has changed it.
func (c *Call) bitsForWrite(key []byte, last uint64) (e *keyspace.Entry, grown bool, err error) {
	if e, err = c.lookupString(key); err != nil {
		return nil, false, err
	}
	size := int(last>>3) + 1
	if e == nil {
		e, grown = c.DB.Insert(key, nil), true
	}
	grown = grown || size > len(e.Bytes())
	e.WriteAt(nil, size)
	return e, grown, nil
}

func setbitCommand(c *Call) error {
	key := c.Args[1]
	offset, err := c.bitOffset(c.Args[2], 0)
	if err != nil {
		return err
	}
	bit, ok := resp.ParseInt(c.Args[3])
	if !ok || bit&^1 != 0 {
		return errBit
	}
	e, grown, err := c.bitsForWrite(key, offset)
	if err != nil {
		return err
	}
	old := ds.ReadBits(e.Bytes(), offset, 1)
	if grown || old != uint64(bit) {
		ds.WriteBits(e.Edit(), offset, 1, uint64(bit))
		c.Changed("setbit", key)
	}
	c.Out.Int(int64(old))
	return nil
}

func getbitCommand(c *Call) error {
	offset, err := c.bitOffset(c.Args[2], 0)
	if err != nil {
		return err
	}
	e, err := c.lookupString(c.Args[1])
	if err != nil {
		return err
	}
	var bit uint64
	if e != nil {
		bit = ds.ReadBits(e.Bytes(), offset, 1)
	}
	c.Out.Int(int64(bit))
	return nil
}

// A bitRange is the part of a string that BITCOUNT and BITPOS look at, from the bit first to the bit last.
type bitRange struct{ first, last int64 }

func (r bitRange) empty() bool { return r.first > r.last }

// bitUnit reads the word that says whether positions count bits.
func bitUnit(arg []byte) (inBits bool, err error) {
	switch {
	case isWord(arg, "bit"):
		return true, nil
	case isWord(arg, "byte"):
		return false, nil
	default:
		return false, errSyntax
	}
}

// newBitRange cuts a range of bytes or bits to the size of a string in bytes. Negative positions count from
// the end.
func newBitRange(start, end, size int64, inBits bool) bitRange {
	if inBits {
		size *= 8
	}
	if start < 0 {
		start = max(start+size, 0)
	}
	if end < 0 {
		end = max(end+size, 0)
	}
	end = min(end, size-1)
	if start > end {
		return bitRange{0, -1}
	}
	if inBits {
		return bitRange{start, end}
	}
	return bitRange{start * 8, end*8 + 7}
}

// bitcountCommand looks at its range only if there is a string to look at, as Redis 7.0 does.
func bitcountCommand(c *Call) error {
	e, err := c.lookupString(c.Args[1])
	if err != nil {
		return err
	}
	if e == nil {
		c.Out.Int(0)
		return nil
	}
	value := e.Bytes()
	r := newBitRange(0, -1, int64(len(value)), false)
	switch len(c.Args) {
	case 2:
	case 4, 5:
		if r, err = bitcountRange(c.Args[2:], int64(len(value))); err != nil {
			return err
		}
	default:
		return errSyntax
	}
	c.Out.Int(ds.CountBits(value, r.first, r.last))
	return nil
}

// bitcountRange reads start, end and the unit, if there is one.
func bitcountRange(args [][]byte, size int64) (bitRange, error) {
	start, err := integer(args[0])
	if err != nil {
		return bitRange{}, err
	}
	end, err := integer(args[1])
	if err != nil {
		return bitRange{}, err
	}
	// Two negative positions in the wrong order would both be cut to the first bit.
	if start < 0 && end < 0 && start > end {
		return bitRange{0, -1}, nil
	}
	inBits := false
	if len(args) == 3 {
		if inBits, err = bitUnit(args[2]); err != nil {
			return bitRange{}, err
		}
	}
	return newBitRange(start, end, size, inBits), nil
}

func bitposCommand(c *Call) error {
	bit, err := integer(c.Args[2])
	if err != nil {
		return err
	}
	if bit != 0 && bit != 1 {
		return errBitArgument
	}
	e, err := c.lookupString(c.Args[1])
	if err != nil {
		return err
	}
	if e == nil {
		c.Out.Int(-bit) // nothing but zeros, without end
		return nil
	}
	value := e.Bytes()
	r, bounded, err := bitposRange(c.Args[3:], int64(len(value)))
	if err != nil {
		return err
	}
	pos := int64(-1)
	if !r.empty() {
		pos = ds.FindBit(value, bit == 1, r.first, r.last)
		if pos < 0 && bit == 0 && !bounded {
			pos = r.last + 1 // the first of the zeros that follow the string
		}
	}
	c.Out.Int(pos)
	return nil
}

// bitposRange reads start, end and unit, each optional, and reports whether there was an end.
func bitposRange(args [][]byte, size int64) (r bitRange, bounded bool, err error) {
	start, end, inBits := int64(0), int64(-1), false
	if len(args) > 3 {
		return r, false, errSyntax
	}
	if len(args) > 0 {
		if start, err = integer(args[0]); err != nil {
			return r, false, err
		}
	}
	if len(args) > 2 {
		if inBits, err = bitUnit(args[2]); err != nil {
			return r, false, err
		}
	}
	if len(args) > 1 {
		if end, err = integer(args[1]); err != nil {
			return r, false, err
		}
	}
	return newBitRange(start, end, size, inBits), len(args) > 1, nil
}

// bitopOf reads the name of an operation.
func bitopOf(arg []byte) (ds.BitOp, error) {
	switch {
	case isWord(arg, "and"):
		return ds.BitAnd, nil
	case isWord(arg, "or"):
		return ds.BitOr, nil
	case isWord(arg, "xor"):
		return ds.BitXor, nil
	case isWord(arg, "not"):
		return ds.BitNot, nil
	default:
		return 0, errSyntax
	}
}

// bitopCommand stores its result, or deletes the destination if there is nothing to store.
func bitopCommand(c *Call) error {
	op, err := bitopOf(c.Args[1])
	if err != nil {
		return err
	}
	if op == ds.BitNot && len(c.Args) != 4 {
		return errBitopNot
	}
	key := c.Args[2]
	sources := make([][]byte, len(c.Args)-3)
	longest, own := 0, false
	for i, source := range c.Args[3:] {
		e, err := c.lookupString(source)
		if err != nil {
			return err
		}
		if e != nil {
			sources[i] = e.Bytes()
			longest = max(longest, len(sources[i]))
			own = own || bytes.Equal(source, key)
		}
	}
	switch {
	case longest == 0:
		if c.DB.Delete(key, c.Now()) {
			c.Changed("del", key)
		}
	case own:
		result := make([]byte, longest)
		ds.CombineBits(result, op, sources)
		c.DB.SetBytes(key, result).Edit() // edited, so that its encoding is raw
		c.Changed("set", key)
	default:
		ds.CombineBits(c.resultOf(key, longest), op, sources)
		c.Changed("set", key)
	}
	c.Out.Int(int64(longest))
	return nil
}

// resultOf returns the bytes, of whatever value, of a string of n bytes that key gets without a ttl.
func (c *Call) resultOf(key []byte, n int) []byte {
	e := c.DB.Lookup(key, c.Now())
	if e != nil && e.Kind() == keyspace.KindString && len(e.Bytes()) == n {
		c.DB.Persist(e)
	} else {
		e = c.DB.SetBytes(key, nil)
		e.WriteAt(nil, n)
	}
	return e.Edit()
}

// A fieldOp is one operation of BITFIELD.
type fieldOp struct {
	op       fieldOpcode
	signed   bool
	bits     int
	offset   uint64
	operand  int64 // of SET and INCRBY
	overflow ds.Overflow
}

type fieldOpcode uint8

const (
	fieldGet fieldOpcode = iota
	fieldSet
	fieldIncrby
)

func bitfieldCommand(c *Call) error { return c.bitfield(false) }

func bitfieldROCommand(c *Call) error { return c.bitfield(true) }

func (c *Call) bitfield(readonly bool) error {
	ops, err := c.parseFieldOps(c.Args[2:])
	if err != nil {
		return err
	}
	writes, last := false, uint64(0)
	for _, op := range ops {
		if op.op != fieldGet {
			writes, last = true, max(last, op.offset+uint64(op.bits)-1)
		}
	}
	key := c.Args[1]
	var e *keyspace.Entry
	changed := false
	switch {
	case !writes:
		e, err = c.lookupString(key)
	case readonly:
		return errBitfieldWrite
	default:
		// A string that has grown is changed even if all operations fail.
		e, changed, err = c.bitsForWrite(key, last)
	}
	if err != nil {
		return err
	}
	c.Out.Array(len(ops))
	for _, op := range ops {
		if c.runFieldOp(e, op) {
			changed = true
		}
	}
	if changed {
		c.Changed("setbit", key)
	}
	return nil
}

// parseFieldOps reads all operations, so that none is executed if one is wrong.
func (c *Call) parseFieldOps(args [][]byte) (ops []fieldOp, err error) {
	overflow := ds.OverflowWrap
	for len(args) > 0 {
		if isWord(args[0], "overflow") && len(args) > 1 {
			if overflow, err = overflowOf(args[1]); err != nil {
				return nil, err
			}
			args = args[2:]
			continue
		}
		op := fieldOp{overflow: overflow}
		words := 4
		switch {
		case isWord(args[0], "get"):
			op.op, words = fieldGet, 3
		case isWord(args[0], "set"):
			op.op = fieldSet
		case isWord(args[0], "incrby"):
			op.op = fieldIncrby
		default:
			return nil, errSyntax
		}
		if len(args) < words {
			return nil, errSyntax
		}
		if err := c.parseFieldOp(&op, args[1:words]); err != nil {
			return nil, err
		}
		ops, args = append(ops, op), args[words:]
	}
	return ops, nil
}

// parseFieldOp reads type, offset and operand.
func (c *Call) parseFieldOp(op *fieldOp, args [][]byte) (err error) {
	if op.signed, op.bits, err = fieldType(args[0]); err != nil {
		return err
	}
	if op.offset, err = c.bitOffset(args[1], op.bits); err != nil {
		return err
	}
	if len(args) > 2 {
		op.operand, err = integer(args[2])
	}
	return err
}

// fieldType reads a type such as i16 or u8.
func fieldType(arg []byte) (signed bool, bits int, err error) {
	arg = cString(arg, len(arg))
	if len(arg) == 0 || arg[0] != 'i' && arg[0] != 'u' {
		return false, 0, errBitfieldType
	}
	signed = arg[0] == 'i'
	n, ok := resp.ParseInt(arg[1:])
	if !ok || n < 1 || n > 64 || !signed && n > 63 {
		return false, 0, errBitfieldType
	}
	return signed, int(n), nil
}

func overflowOf(arg []byte) (ds.Overflow, error) {
	switch {
	case isWord(arg, "wrap"):
		return ds.OverflowWrap, nil
	case isWord(arg, "sat"):
		return ds.OverflowSaturate, nil
	case isWord(arg, "fail"):
		return ds.OverflowFail, nil
	default:
		return 0, errBitOverflow
	}
}

// runFieldOp executes one operation, replies, and reports whether the string has another value now. e is
// nil if there is no string, which only GET is called with.
func (c *Call) runFieldOp(e *keyspace.Entry, op fieldOp) (changed bool) {
	var old uint64
	if e != nil {
		old = ds.ReadBits(e.Bytes(), op.offset, op.bits)
	}
	if op.op == fieldGet {
		c.Out.Int(op.number(old))
		return false
	}
	from, by := old, op.operand
	if op.op == fieldSet {
		from, by = uint64(op.operand), 0
	}
	next, overflow := op.add(from, by)
	if overflow && op.overflow == ds.OverflowFail {
		c.Out.Null()
		return false
	}
	if op.op == fieldSet {
		c.Out.Int(op.number(old))
	} else {
		c.Out.Int(op.number(next))
	}
	ds.WriteBits(e.Edit(), op.offset, op.bits, next)
	return ds.ReadBits(e.Bytes(), op.offset, op.bits) != old
}

// number returns what the bits of a field say in its type.
func (op fieldOp) number(field uint64) int64 {
	if op.signed {
		return int64(field<<(64-op.bits)) >> (64 - op.bits)
	}
	return int64(field)
}

// add computes in the type of the field. A value to be set comes with all its 64 bits, as it may not fit.
func (op fieldOp) add(from uint64, by int64) (uint64, bool) {
	if !op.signed {
		return ds.AddUnsigned(from, by, op.bits, op.overflow)
	}
	v := int64(from)
	if op.op == fieldIncrby {
		v = op.number(from)
	}
	sum, overflow := ds.AddSigned(v, by, op.bits, op.overflow)
	return uint64(sum), overflow
}
