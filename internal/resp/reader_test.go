package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// readAll returns the commands that a stream holds, copied, and the error that ended it; nil if it ended
// between two reads.
func readAll(src io.Reader, limits Limits) (commands [][]string, err error) {
	r := Reader{Limits: limits}
	for {
		words, ok, err := r.Next(nil)
		switch {
		case err != nil:
			return commands, err
		case ok:
			command := make([]string, len(words))
			for i, word := range words {
				command[i] = string(word)
			}
			commands = append(commands, command)
			continue
		}
		if err := r.Fill(src); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return commands, err
		}
	}
}

// Ensure that commands of both forms are cut out of a stream, pipelined and one by one.
func TestReader_Commands(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     [][]string
	}{
		{"nothing", "", nil},
		{"multibulk", "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n", [][]string{{"ECHO", "hi"}}},
		{"binary", "*1\r\n$5\r\n\r\n\x00\xff\n\r\n", [][]string{{"\r\n\x00\xff\n"}}},
		{"empty word", "*2\r\n$0\r\n\r\n$0\r\n\r\n", [][]string{{"", ""}}},
		{"pipeline", "*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\nc d\r\n\r\n", [][]string{{"a"}, {"b"}, {"c", "d"}}},
		{"no words", "*0\r\n*-1\r\n\r\n\n*1\r\n$1\r\na\r\n", [][]string{{"a"}}},
		{"truncated", "*2\r\n$4\r\nECHO\r\n$2\r\nh", nil},
		{"inline", "set key  \"a b\"\tc'\r' \r\n", [][]string{{"set", "key", "a b", "c\r"}}},
		{"inline quoting", `"\x00\xfF\n\r\t\b\a\"\\\q" 'a\'b\n' x"y z"` + "\n", [][]string{{"\x00\xff\n\r\t\b\a\"\\q", `a'b\n`, "xy z"}}},
		{"inline vertical blanks", "\x0b\x0cping\x0c\x0bx \x0b\"a\"\x0c\x0bb\r\n", [][]string{{"ping\x0c\x0bx", "a", "b"}}},
		{"inline after multibulk", "*1\r\n$1\r\na\r\nb\r\n*1\r\n$1\r\nc\r\n", [][]string{{"a"}, {"b"}, {"c"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for kind, src := range map[string]io.Reader{
				"whole":   strings.NewReader(tt.in),
				"by byte": iotest.OneByteReader(strings.NewReader(tt.in)),
				"halves":  iotest.HalfReader(strings.NewReader(tt.in)),
			} {
				got, err := readAll(src, DefaultLimits)
				assert.NoError(t, err, kind)
				assert.Equal(t, tt.want, got, kind)
			}
		})
	}
}

// Ensure that what is no command is refused with Redis's words, behind the commands before it, and that
// the reader stays in that state.
func TestReader_Errors(t *testing.T) {
	long := strings.Repeat("1", maxLine)
	unauthenticated := DefaultLimits
	unauthenticated.Unauthenticated = true
	small := Limits{Bulk: 10, Query: 100}
	for _, tt := range []struct {
		name, in string
		limits   Limits
		want     error
	}{
		{"length panics redcon", "*1\r\n$9223372036854775807\r\n", DefaultLimits, ProtocolError("invalid bulk length")},
		{"count spins redcon", "*9000000000000000000\r\n", DefaultLimits, ProtocolError("invalid multibulk length")},
		{"count", "*1x\r\n", DefaultLimits, ProtocolError("invalid multibulk length")},
		{"length", "*1\r\n$-1\r\n", DefaultLimits, ProtocolError("invalid bulk length")},
		{"length over limit", "*1\r\n$11\r\n", small, ProtocolError("invalid bulk length")},
		{"not a length", "*1\r\nPING\r\n", DefaultLimits, ProtocolError("expected '$', got 'P'")},
		{"count too long", "*" + long, DefaultLimits, ProtocolError("too big mbulk count string")},
		{"length too long", "*1\r\n$" + long, DefaultLimits, ProtocolError("too big bulk count string")},
		{"inline too long", "1" + long, DefaultLimits, ProtocolError("too big inline request")},
		{"quotes", "a \"b\n", DefaultLimits, ProtocolError("unbalanced quotes in request")},
		{"stranger with eleven words", "*11\r\n", unauthenticated, ProtocolError("unauthenticated multibulk length")},
		{"stranger with a long word", "*1\r\n$16385\r\n", unauthenticated, ProtocolError("unauthenticated bulk length")},
		{"query too long", "*20\r\n" + strings.Repeat("$4\r\nabcd\r\n", 15), small, ErrQueryTooLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Reader{Limits: tt.limits}
			r.buf = append(r.buf, "+PING\r\n"+tt.in...)
			words, ok, err := r.Next(nil)
			require.NoError(t, err)
			require.True(t, ok)
			assert.Equal(t, "+PING", string(words[0]))
			for range 2 {
				_, ok, err = r.Next(nil)
				assert.False(t, ok)
				assert.Equal(t, tt.want, err)
			}
		})
	}
}

// Ensure that a header's claim costs no memory: the buffer follows the bytes that have arrived.
func TestReader_MemoryFollowsData(t *testing.T) {
	r := Reader{Limits: DefaultLimits}
	claim := strings.NewReader(fmt.Sprintf("*2147483647\r\n$%d\r\nx", DefaultLimits.Bulk))
	require.NoError(t, r.Fill(claim))
	_, ok, err := r.Next(nil)
	require.NoError(t, err)
	require.False(t, ok)
	require.ErrorIs(t, r.Fill(claim), io.EOF)
	assert.LessOrEqual(t, r.Cap(), 4*firstBuffer)
	assert.LessOrEqual(t, cap(r.spans), 16)
}

// Ensure that a long word gets a buffer of its own length, not the next power of two, and that an idle
// reader gives it back.
func TestReader_BufferOfLongWord(t *testing.T) {
	const n = 1_100_000
	r := Reader{Limits: DefaultLimits}
	src := strings.NewReader(fmt.Sprintf("*1\r\n$%d\r\n%s\r\n", n, strings.Repeat("a", n)))
	for {
		words, ok, err := r.Next(nil)
		require.NoError(t, err)
		if ok {
			require.Len(t, words[0], n)
			break
		}
		require.NoError(t, r.Fill(src))
	}
	assert.Less(t, r.Cap(), n+100)
	require.ErrorIs(t, r.Fill(src), io.EOF)
	assert.LessOrEqual(t, r.Cap(), idleBuffer)
}

// Ensure that the buffer stays large while a deep pipeline keeps it full, wherever the reads cut the
// commands: a small one would cost a read for every few of them.
func TestReader_BufferOfDeepPipeline(t *testing.T) {
	const command = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$3\r\nxxx\r\n"
	for _, long := range []int{0, 70_000, 1_000_000} {
		first := fmt.Sprintf("*1\r\n$%d\r\n%s\r\n", long, strings.Repeat("a", long))
		src := strings.NewReader(first + strings.Repeat(command, 40_000))
		r := Reader{Limits: DefaultLimits}
		for reads := 0; src.Len() > 0; reads++ {
			require.NoError(t, r.Fill(src))
			for ok := true; ok; {
				var err error
				_, ok, err = r.Next(nil)
				require.NoError(t, err)
			}
			if reads >= 5 {
				require.GreaterOrEqual(t, r.Cap(), idleBuffer, "after %d reads", reads)
			}
		}
	}
}

// Ensure that a source which neither reads nor fails does not hold the reader for ever.
func TestReader_NoProgress(t *testing.T) {
	r := Reader{Limits: DefaultLimits}
	assert.ErrorIs(t, r.Fill(iotest.ErrReader(nil)), io.ErrNoProgress)
}

// Ensure that commands in the steady state allocate nothing.
func TestReader_AllocatesNothing(t *testing.T) {
	in := []byte(strings.Repeat("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n", 16))
	r := Reader{Limits: DefaultLimits}
	src := bytes.NewReader(in)
	var words [][]byte
	run := func() {
		src.Reset(in)
		if err := r.Fill(src); err != nil {
			t.Fatal(err)
		}
		words = words[:0]
		for ok := true; ok; {
			words, ok, _ = r.Next(words)
		}
	}
	run()
	run()
	assert.Zero(t, testing.AllocsPerRun(100, run))
	assert.Len(t, words, 48)
}

// Ensure that what is written as multibulk is read back, whatever the words and however it arrives.
func TestReader_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.SliceOfN(rapid.String(), 1, 6), 1, 20).Draw(t, "commands")
		var w Writer
		for _, command := range want {
			w.Array(len(command))
			for _, word := range command {
				w.BulkString(word)
			}
		}
		sizes := rapid.SliceOfN(rapid.IntRange(1, 40), 1, 20).Draw(t, "reads")
		got, err := readAll(&pieces{data: w.Bytes(), sizes: sizes}, DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("read %q, wrote %q", got, want)
		}
	})
}

// pieces is a reader that returns data in pieces of the given sizes, over and over.
type pieces struct {
	data  []byte
	sizes []int
	next  int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := min(len(b), len(p.data), p.sizes[p.next%len(p.sizes)])
	p.next++
	copy(b, p.data[:n])
	p.data = p.data[n:]
	return n, nil
}

// Ensure, for any bytes (testdata/fuzz has those to begin with), that the reader does not panic, keeps its memory within a small multiple of what
// arrived, makes progress, keeps words within the limits, and that where the reads are cut changes
// nothing.
func FuzzReadCommand(f *testing.F) {
	limits := Limits{Bulk: 1 << 20, Query: 1 << 20}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		whole, wholeErr := readAll(bytes.NewReader(in), limits)
		size := 0
		for _, command := range whole {
			if len(command) == 0 {
				t.Fatal("a command without words")
			}
			for _, word := range command {
				size += len(word)
			}
		}
		if size > len(in) {
			t.Fatalf("%d bytes of words out of %d bytes", size, len(in))
		}

		sizes := []int{int(cut&0xff) + 1, int(cut>>8) + 1}
		split, splitErr := readAll(&watched{t, pieces{data: bytes.Clone(in), sizes: sizes}}, limits)
		if wholeErr != splitErr || fmt.Sprint(whole) != fmt.Sprint(split) {
			t.Fatalf("whole: %q %v\nsplit: %q %v", whole, wholeErr, split, splitErr)
		}

		// The memory of a reader that is fed one byte at a time.
		r := Reader{Limits: limits}
		src := pieces{data: bytes.Clone(in), sizes: []int{1}}
		for fed := 1; r.Fill(&src) == nil; fed++ {
			for ok := true; ok; {
				_, ok, _ = r.Next(nil)
			}
			// The shortest word takes six bytes, "$0\r\n\r\n", and its span sixteen.
			if most := max(4*fed, 2*firstBuffer); r.Cap() > most || cap(r.spans) > most {
				t.Fatalf("%d bytes of buffer and %d spans after %d bytes", r.Cap(), cap(r.spans), fed)
			}
		}
	})
}

// watched fails the test when the reader reads into no room, which would never end.
type watched struct {
	t *testing.T
	pieces
}

func (w *watched) Read(b []byte) (int, error) {
	if len(b) == 0 {
		w.t.Fatal("a read into no room")
	}
	return w.pieces.Read(b)
}

// Ensure that integers are read as strictly as Redis reads them.
func TestParseInt(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1": 1, "-1": -1, "10": 10, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	} {
		got, ok := ParseInt([]byte(in))
		assert.True(t, ok, in)
		assert.Equal(t, want, got, in)
	}
	for _, in := range []string{
		"", "-", "+1", "01", "-0", "-01", "00", " 1", "1 ", "1.0", "1e3", "x", "9223372036854775808", "-9223372036854775809",
		"18446744073709551615", "18446744073709551616", "99999999999999999999", "999999999999999999999", "1\x00",
	} {
		_, ok := ParseInt([]byte(in))
		assert.False(t, ok, in)
	}
}

func BenchmarkReader(b *testing.B) {
	const batch = 16
	in := []byte(strings.Repeat("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$3\r\nxxx\r\n", batch))
	r := Reader{Limits: DefaultLimits}
	src := bytes.NewReader(in)
	var words [][]byte
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(in)
		if err := r.Fill(src); err != nil {
			b.Fatal(err)
		}
		words = words[:0]
		for ok := true; ok; {
			words, ok, _ = r.Next(words)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/command")
}
