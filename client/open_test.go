package client

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that every way to write a list of nodes is understood, and what is said once goes for all.
func TestParseNodes(t *testing.T) {
	type node struct {
		addr, user, password string
		db                   int
		tls                  bool
	}
	for url, want := range map[string][]node{
		"redis://a:1,b:2,c:3":  {{addr: "a:1"}, {addr: "b:2"}, {addr: "c:3"}},
		"a:1, b:2":             {{addr: "a:1"}, {addr: "b:2"}},
		"10.0.0.1,[::1]:7000":  {{addr: "10.0.0.1:6379"}, {addr: "[::1]:7000"}},
		"redis://a":            {{addr: "a:6379"}},
		"redis://a:1/3":        {{addr: "a:1", db: 3}},
		"redis://a:1,b:2/3":    {{addr: "a:1", db: 3}, {addr: "b:2", db: 3}},
		"redis://a:1,b:2?db=4": {{addr: "a:1", db: 4}, {addr: "b:2", db: 4}},
		"rediss://u:p%40,@a:1": nil, // a comma in a password is written %2C
		"rediss://u:p%40%2C@a:1,b:2": {{addr: "a:1", user: "u", password: "p@,", tls: true},
			{addr: "b:2", user: "u", password: "p@,", tls: true}},
		"redis://:secret@a:1,rediss://u:other@b:2/1": {{addr: "a:1", password: "secret"},
			{addr: "b:2", user: "u", password: "other", db: 1, tls: true}},
		"redis://a:1,b:2,redis://c:3":         {{addr: "a:1"}, {addr: "b:2"}, {addr: "c:3"}},
		"unix:///run/a.sock,/run/b.sock?db=2": {{addr: "/run/a.sock", db: 2}, {addr: "/run/b.sock", db: 2}},
		"redis://a:1,a:1":                     nil,
		"http://a:1":                          nil,
		"redis://a:1/x":                       nil,
		"redis://:1":                          {{addr: "localhost:1"}}, // as redis.ParseURL says
	} {
		t.Run(url, func(t *testing.T) {
			options, err := parseNodes(url)
			if want == nil {
				require.ErrorIs(t, err, ErrInvalid)
				return
			}
			require.NoError(t, err)
			var got []node
			for _, o := range options {
				got = append(got, node{o.Addr, o.Username, o.Password, o.DB, o.TLSConfig != nil})
			}
			assert.Equal(t, want, got)
		})
	}
}

// Ensure that an item without an address is an error that says so, and not localhost.
func TestParseNodes_EmptyItem(t *testing.T) {
	for url, want := range map[string]string{
		"":                          "item 1 of 1",
		"redis://":                  "item 1 of 1",
		"redis://user:pw@/2":        "item 1 of 1",
		",,,":                       "item 1 of 4",
		"a:1,b:2,c:3,":              "item 4 of 4",
		"redis://a:1,b:2,/3":        "item 3 of 3",
		"a:1, ,c:3":                 "item 2 of 3",
		"redis://a:1,,redis://b:2":  "item 2 of 3",
		"redis://a:1,redis://,c:3":  "item 2 of 3",
		"unix:///run/a.sock,?db=1":  "item 2 of 2",
		"redis://a:1/1,redis://u@/": "item 2 of 2",
	} {
		_, err := parseNodes(url)
		require.ErrorIs(t, err, ErrInvalid, url)
		assert.ErrorContains(t, err, want+" in the list of nodes is empty", url)
	}
}

// Ensure that a password does not get into an error, which people log.
func TestParseNodes_KeepsThePassword(t *testing.T) {
	for _, url := range []string{"redis://u:secret@a:port", "rediss://u:secret@a:1/x", "redis://u:secret@a:1,b:\x7f",
		"http://u:secret@a", "redis://u:secret@a:1,a:1", "redis://u:secret@a:1?pool_size=x"} {
		_, err := Open(url)
		require.ErrorIs(t, err, ErrInvalid, url)
		assert.NotContains(t, err.Error(), "secret")
	}
}

// Ensure that the URL parser takes anything without a panic and never yields more nodes than were written.
func FuzzParseNodes(f *testing.F) {
	for _, url := range []string{"", ",", "redis://", "redis://a,b/2?x", "unix:///a,/b?db=1", "@,@", "a,redis://b,c", "://"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		commas := 0
		for _, r := range url {
			if r == ',' {
				commas++
			}
		}
		if nodes, err := parseNodes(url); err == nil && (len(nodes) > commas+1 || len(nodes) == 0) {
			t.Errorf("%d nodes of %q", len(nodes), url)
		}
	})
}
