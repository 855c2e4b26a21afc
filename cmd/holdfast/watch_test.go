package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/clock"
	"github.com/holdfast-dev/holdfast/redlock"
)

// held makes a look at locks, written as "name=digest/remaining/waiting", at a time after the others.
func held(after time.Duration, locks ...string) *look {
	l := &look{at: clock.Instant(time.Hour).Add(after)}
	for _, text := range locks {
		name, rest, _ := strings.Cut(text, "=")
		parts := strings.Split(rest, "/")
		left, _ := time.ParseDuration(parts[1])
		waiting := 0
		fmt.Sscan(parts[2], &waiting)
		l.locks = append(l.locks, &client.State{Name: name, Waiting: waiting,
			Holder: &redlock.Holder{Digest: parts[0], Label: "of-" + parts[0], Remaining: left}})
	}
	return l
}

// Ensure that a watch tells what has changed between two looks, of each name what has ended before what has begun.
func TestWatch_Changes(t *testing.T) {
	down := &look{at: clock.Instant(time.Hour), err: errors.New("no quorum")}
	for _, tt := range []struct {
		what        string
		before, now *look
		want        []string
	}{
		{"the first look", nil, held(0, "a=1/9s/0", "b=2/9s/1"), []string{"held a of-1", "held b of-2"}},
		{"nothing", held(0, "a=1/9s/0"), held(time.Second, "a=1/8s/0"), nil},
		{"renewed", held(0, "a=1/1s/0"), held(5*time.Second, "a=1/9s/0"), nil},
		{"a new one before others", held(0, "b=1/9s/0"), held(time.Second, "a=2/9s/0", "b=1/9s/0"), []string{"acquired a of-2"}},
		{"a new one after others", held(0, "b=1/9s/0"), held(time.Second, "b=1/9s/0", "c=2/9s/0"), []string{"acquired c of-2"}},
		{"gone in time", held(0, "a=1/9s/0", "b=1/9s/0"), held(time.Second, "b=1/9s/0"), []string{"released a of-1"}},
		{"gone when it was over", held(0, "a=1/1s/0"), held(time.Second), []string{"expired a of-1"}},
		{"gone just before", held(0, "a=1/1s/0"), held(time.Second - 1), []string{"released a of-1"}},
		{"without an end", held(0, "a=1/-1s/0"), held(time.Hour), []string{"released a of-1"}},
		{"another holder", held(0, "a=1/9s/1"), held(time.Second, "a=2/9s/0"), []string{"released a of-1", "acquired a of-2"}},
		{"waiting", held(0, "a=1/9s/0"), held(time.Second, "a=1/9s/3"), []string{"waiting a of-1"}},
		{"no answer", held(0, "a=1/9s/0"), down, []string{"unreachable  "}},
		{"still none", down, down, nil},
		{"answers again", &look{at: clock.Instant(time.Hour), err: down.err, locks: held(0, "a=1/1s/0").locks}, held(5*time.Second, "b=2/9s/0"),
			[]string{"reachable  ", "expired a of-1", "acquired b of-2"}},
	} {
		var got []string
		for _, e := range changes(tt.before, tt.now) {
			got = append(got, e.Event+" "+e.Name+" "+e.Owner)
		}
		assert.Equal(t, tt.want, got, tt.what)
	}
}

// Ensure that a look stays as it was: it is shown, and compared with the next one.
func TestWatch_ChangesKeepTheLooks(t *testing.T) {
	before, now := held(0, "a=1/9s/0", "b=1/9s/0"), held(time.Second, "b=2/9s/0", "c=1/9s/0")
	changes(before, now)
	assert.Len(t, before.locks, 2)
	assert.Len(t, now.locks, 2)
	assert.Equal(t, "b", now.locks[0].Name)
}

// Ensure that no line of a table is wider than the terminal: first the long texts give way, then columns.
func TestTable_LayOut(t *testing.T) {
	rows := [][]string{
		{"NAME", "OWNER", "REMAINING", "WAITING", "TOKEN", "NODES"},
		{"a/name/of/24/characters.", "the-owner-with-24-chars.", "12.5s", "3", "1795637333783666", "5/5"},
		{"b", "漢字", "1s", "0", "-", "3/5"},
		{"... and 7 more"},
	}
	const natural = 24 + 2 + 24 + 2 + 9 + 2 + 7 + 2 + 16 + 2 + 5
	for width := natural + 5; width > 0; width-- {
		lines := layOut(rows, width)
		for _, line := range lines {
			assert.LessOrEqual(t, cells(line), width, line)
		}
		switch {
		case width >= natural:
			assert.Equal(t, "a/name/of/24/characters.  the-owner-with-24-chars.  12.5s      3        1795637333783666  5/5", lines[1])
			assert.Equal(t, "b                         漢字                      1s         0        -                 3/5", lines[2])
		case width >= natural-16: // the owner gives way down to 8
			assert.Contains(t, lines[1], "…  12.5s")
			assert.Contains(t, lines[0], "NODES")
			assert.Contains(t, lines[1], "a/name/of/24/characters.")
		case width >= natural-16-8: // then the name down to 16
			assert.Contains(t, lines[0], "NODES")
		default: // then columns, the last one first
			assert.NotContains(t, lines[0], "NODES")
		}
	}
}

// Ensure that texts are cut to cells, of which some characters take two and some none.
func TestTable_Cut(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"", 0, ""},
		{"漢字", 4, "漢字"}, {"漢字", 3, "漢…"}, {"漢字", 2, "…"}, {"e\u0301e", 2, "e\u0301e"}, {"😀x", 2, "…"},
	} {
		assert.Equal(t, tt.want, cut(tt.text, tt.width), "%q %d", tt.text, tt.width)
	}
}

// Ensure that each of those who share a lock is told of, unless they are so many that the nodes do not tell of all.
func TestWatch_Readers(t *testing.T) {
	shared := func(reading, waiting int, digests ...string) *look {
		s := &client.State{Name: "a", Reading: reading, Waiting: waiting}
		for _, d := range digests {
			s.Readers = append(s.Readers, redlock.Holder{Digest: d, Label: "of-" + d, Shared: true, Remaining: 9 * time.Second})
		}
		return &look{at: clock.Instant(time.Hour), locks: []*client.State{s}}
	}
	texts := func(before, now *look) (got []string) {
		for _, e := range changes(before, now) {
			got = append(got, strings.Join(strings.Fields(e.text()), " "))
		}
		return got
	}
	assert.Equal(t, []string{"held a by of-1, token -, shared", "held a by of-2, token -, shared"}, texts(nil, shared(2, 0, "1", "2")))
	assert.Equal(t, []string{"released a by of-1, token -, shared", "acquired a by of-3, token -, shared"},
		texts(shared(2, 0, "1", "2"), shared(2, 0, "2", "3")))
	assert.Equal(t, []string{"released a by of-1, token -, shared", "acquired a by of-4, token -"}, texts(shared(1, 0, "1"), held(0, "a=4/9s/0")))
	assert.Empty(t, texts(shared(200, 0, "1", "2"), shared(200, 0, "3", "4")), "nobody can tell")
	assert.Equal(t, []string{"waiting a by of-3, token -, shared, 1 waiting"}, texts(shared(200, 0, "1", "2"), shared(200, 1, "3", "4")))
}
