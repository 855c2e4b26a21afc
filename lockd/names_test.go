package lockd

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var oddNames = []string{
	"orders/42", "a b", "naïve", "锁", "🔒", "..", ".", "...", "/", "//", "/a/", "a/../b", "%", "%2F", "100%25", "a%zz",
	"{tag}:x", "{id}", "}{", "a?b", "a#b", "a&b=c", "a+b", "a;b", "a\\b", `"quoted"`, "new\nline", "nul\x00", "\u202e", "a:b", "~", "$",
	strings.Repeat("锁", 170),
}

// checkRoundTrip checks that a name reaches the locks as it is, in every operation that has one.
func checkRoundTrip(t *testing.T, s *Server, b *fakeBackend, name string) {
	t.Helper()
	path := "/v1/locks/" + url.PathEscape(name)
	if name == "." || name == ".." { // PathEscape leaves dots, which are a path of their own
		path = "/v1/locks/" + strings.ReplaceAll(name, ".", "%2E")
	}
	a := ask(s, request(context.Background(), "POST", path, `{}`))
	require.Equal(t, 200, a.status, "%q: %s", name, a.text)
	var info leaseInfo
	a.into(t, &info)
	assert.Equal(t, name, info.Name)
	require.NotNil(t, b.lease(name), "%q", name)
	assert.Len(t, b.all(), 1)

	var lock lockInfo
	ask(s, request(context.Background(), "GET", path, "")).into(t, &lock)
	assert.Equal(t, name, lock.Name)
	assert.True(t, lock.Held)
	var list struct{ Locks []lockInfo }
	ask(s, request(context.Background(), "GET", "/v1/locks?prefix="+url.QueryEscape(name), "")).into(t, &list)
	require.Len(t, list.Locks, 1)
	assert.Equal(t, name, list.Locks[0].Name)
	require.Equal(t, 204, ask(s, request(context.Background(), "DELETE", "/v1/leases/"+info.Lease, "")).status)
}

// Ensure that odd names are taken as they are.
func TestNames_Odd(t *testing.T) {
	s, b := newFakeServer(t, Config{})
	for _, name := range oddNames {
		checkRoundTrip(t, s, b, name)
	}
}

// Ensure that every name of UTF-8 reaches the locks as it is, and that bytes which are no UTF-8 are refused.
func FuzzName(f *testing.F) {
	for _, name := range oddNames {
		f.Add(name)
	}
	f.Add("\xff")
	s, b := newFakeServer(f, Config{})
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || len(name) > 512 {
			return
		}
		if utf8.ValidString(name) {
			checkRoundTrip(t, s, b, name)
			return
		}
		a := ask(s, request(context.Background(), "POST", "/v1/locks/"+url.PathEscape(name), `{}`))
		assert.Equal(t, 422, a.status)
		assert.Empty(t, b.all())
	})
}

// Ensure that no path that somebody can send causes a fault, a redirect or plain text.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"/", "/v1/locks/a", "/v1/locks/a%2Fb", "//", "/%", "/v1/locks/%2e%2e", "/v1/leases/", "/v1//locks", "*", "/openapi.json?x"} {
		f.Add(path)
	}
	s, b := newFakeServer(f, Config{})
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		for _, method := range []string{"GET", "POST", "DELETE"} {
			req := request(context.Background(), method, "/", `{}`)
			req.URL = u
			a := ask(s, req)
			for _, l := range b.all() {
				_ = l.Unlock(t.Context())
			}
			switch {
			case a.status >= 400 && a.status < 500:
				a.problem(t)
			case a.status != http.StatusOK:
				t.Errorf("%s %q: %d %s", method, path, a.status, a.text)
			}
		}
	})
}

// Ensure that a duration is read as Go reads it, within its bounds.
func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"15s": 15 * time.Second, "1m30s": 90 * time.Second, "250ms": 250 * time.Millisecond, "0": 0, "0s": 0, "1.5h": 90 * time.Minute, "+1s": time.Second, "-0s": 0,
	} {
		d, err := parseDuration(text)
		assert.NoError(t, err, text)
		assert.Equal(t, duration(want), d, text)
	}
	for _, text := range []string{"", "15", "s", "-1s", "1 s", "15 seconds", "1e3s", "9999999999h", "NaN", strings.Repeat("1s", 17)} {
		_, err := parseDuration(text)
		assert.Error(t, err, text)
	}
}

// Ensure that a duration is shown in ASCII and without more digits than it has.
func TestDuration_Shown(t *testing.T) {
	assert.Equal(t, "67.9us", duration(67900).String())
	assert.Equal(t, "14.848s", shown(14847900*time.Microsecond).String())
	assert.Equal(t, "0s", shown(-time.Second).String())
}

// Ensure that no text makes a negative duration, and that what is shown of one is read as the same.
func FuzzDuration(f *testing.F) {
	for _, text := range []string{"15s", "1m30s", "-1s", "15", "9223372036854775807ns", "-9223372036854775808ns", "1µs", ".5h"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDuration(text)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, d, duration(0))
		again, err := parseDuration(d.String())
		require.NoError(t, err)
		require.Equal(t, d, again)
	})
}
