package fencing

import (
	"crypto/md5"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A fakeStore is no object store: it is just enough of one to test with, in memory. It has conditional puts, user
// metadata, and ETags that are a hash of the body alone, as S3 has them.
type fakeStore struct {
	mu      sync.Mutex
	objects map[string]object
}

type object struct {
	body  []byte
	tag   string
	token string
}

func (s *fakeStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	there, ok := s.objects[r.URL.Path]
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if !ok {
			http.Error(w, "no such key", http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", there.tag)
		w.Header().Set(tokenHeader, there.token)
		w.Write(there.body)
	case http.MethodPut:
		match := r.Header.Get("If-Match")
		switch {
		case match != "" && !ok:
			http.Error(w, "no such key", http.StatusNotFound)
			return
		case match != "" && match != there.tag, r.Header.Get("If-None-Match") == "*" && ok:
			http.Error(w, "precondition failed", http.StatusPreconditionFailed)
			return
		}
		sum := md5.Sum(body)
		s.objects[r.URL.Path] = object{body, `"` + hex.EncodeToString(sum[:]) + `"`, r.Header.Get(tokenHeader)}
	default:
		http.Error(w, "method", http.StatusMethodNotAllowed)
	}
}

func startStore(t *testing.T) (store *fakeStore, url string) {
	store = &fakeStore{objects: make(map[string]object)}
	srv := httptest.NewServer(store)
	t.Cleanup(srv.Close)
	return store, srv.URL + "/bucket/order-42"
}

// text returns what an object says after its first line.
func (s *fakeStore) text(t *testing.T) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, text, ok := strings.Cut(string(s.objects["/bucket/order-42"].body), "\n")
	require.True(t, ok)
	return text
}

// Ensure that an object refuses a stale writer.
func TestPutObject(t *testing.T) {
	tellStory(t, func(t *testing.T) resource {
		store, url := startStore(t)
		return resource{
			write: func(text string, token int64) error {
				return PutObject(t.Context(), http.DefaultClient, url, text, token)
			},
			read: func() string { return store.text(t) },
		}
	})
}

// A detour does something once, before the first put of its client.
type detour struct {
	once   sync.Once
	before func()
}

func (d *detour) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut {
		d.once.Do(d.before)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// Ensure that a writer who is paused between its look and its put is refused: also when the other one has created
// the object, when he has written the same text, and that an older one in between is no obstacle.
func TestPutObject_PausedInBetween(t *testing.T) {
	for name, tt := range map[string]struct {
		first, between int64 // tokens of what is there, and of what is written meanwhile; 0: nothing
		text           string
		want           error
		left           string
	}{
		"newer":            {1, 3, "by B", ErrStale, "by B"},
		"newer, same text": {1, 3, "by A", ErrStale, "by A"},
		"newer creates":    {0, 3, "by B", ErrStale, "by B"},
		"older":            {1, 1, "by X", nil, "by A"},
		"older creates":    {0, 1, "by X", nil, "by A"},
	} {
		t.Run(name, func(t *testing.T) {
			store, url := startStore(t)
			put := func(c *http.Client, text string, token int64) error {
				return PutObject(t.Context(), c, url, text, token)
			}
			if tt.first > 0 {
				require.NoError(t, put(http.DefaultClient, "by A", tt.first))
			}
			paused := &http.Client{Transport: &detour{before: func() {
				assert.NoError(t, put(http.DefaultClient, tt.text, tt.between))
			}}}
			err := put(paused, "by A", 2)
			require.ErrorIs(t, err, tt.want)
			assert.Equal(t, tt.left, store.text(t))
		})
	}
}

// Ensure that an object of unknown origin is not overwritten, and that a store's refusal is told.
func TestPutObject_Errors(t *testing.T) {
	store, url := startStore(t)
	store.objects["/bucket/order-42"] = object{tag: `"x"`}
	assert.ErrorContains(t, PutObject(t.Context(), http.DefaultClient, url, "by A", 1), "without a token")
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusForbidden)
		} else {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(refusing.Close)
	assert.ErrorContains(t, PutObject(t.Context(), http.DefaultClient, refusing.URL, "by A", 1), "403")
}
