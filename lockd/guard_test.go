package lockd

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that whatever a web page can send without asking first changes nothing, and that each guard does so
// by itself: every case violates one rule only.
func TestGuard_WebPages(t *testing.T) {
	cases := []struct {
		what, method, path, host string
		header                   map[string]string
		body                     string
		status                   int
		code                     code
	}{
		{"a program", "POST", "/v1/locks/job", "localhost:7080", map[string]string{"Content-Type": "application/json"}, "{}", 200, ""},
		{"a program, with charset", "POST", "/v1/locks/job", "localhost:7080", map[string]string{"Content-Type": "application/json; charset=UTF-8"}, "{}", 200, ""},
		{"our own page", "POST", "/v1/locks/job", "localhost:7080", map[string]string{"Content-Type": "application/json", "Origin": "http://localhost:7080", "Sec-Fetch-Site": "same-origin"}, "{}", 200, ""},
		{"an address", "POST", "/v1/locks/job", "127.0.0.1:7080", map[string]string{"Content-Type": "application/json"}, "{}", 200, ""},
		{"an IPv6 address", "POST", "/v1/locks/job", "[::1]:7080", map[string]string{"Content-Type": "application/json"}, "{}", 200, ""},
		{"a forwarded port", "POST", "/v1/locks/job", "LOCALHOST:9999", map[string]string{"Content-Type": "application/json"}, "{}", 200, ""},
		{"a configured name", "POST", "/v1/locks/job", "locks.internal:7080", map[string]string{"Content-Type": "application/json"}, "{}", 200, ""},

		{"a form", "POST", "/v1/locks/job", "localhost:7080", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, "ttl=15s", 415, codeMediaType},
		{"a form as text", "POST", "/v1/locks/job", "localhost:7080", map[string]string{"Content-Type": "text/plain"}, `{"ttl":"15s"}`, 415, codeMediaType},
		{"a form with a file", "POST", "/v1/locks/job", "localhost:7080", map[string]string{"Content-Type": "multipart/form-data; boundary=x"}, "--x--", 415, codeMediaType},
		{"fetch without cors or body", "POST", "/v1/locks/job", "localhost:7080", nil, "", 415, codeMediaType},
		{"a type that only resembles", "POST", "/v1/locks/job", "localhost:7080", map[string]string{"Content-Type": "text/plain; x=application/json"}, "{}", 415, codeMediaType},
		{"json in another charset", "POST", "/v1/locks/job", "localhost:7080", map[string]string{"Content-Type": "application/json; charset=utf-16"}, "{}", 415, codeMediaType},
		{"a suffix type", "POST", "/v1/locks/job", "localhost:7080", map[string]string{"Content-Type": "application/x+json"}, "{}", 415, codeMediaType},
		{"PUT of text", "PUT", "/v1/leases/LEASE", "localhost:7080", map[string]string{"Content-Type": "text/plain"}, "x", 415, codeMediaType},
		{"DELETE with text", "DELETE", "/v1/leases/LEASE", "localhost:7080", map[string]string{"Content-Type": "text/plain"}, "x", 415, codeMediaType},

		{"another origin", "POST", "/v1/locks/job", "localhost:7080", map[string]string{"Content-Type": "application/json", "Origin": "https://evil.example"}, "{}", 403, codeCrossSite},
		{"an opaque origin", "POST", "/v1/locks/job", "localhost:7080", map[string]string{"Content-Type": "application/json", "Origin": "null"}, "{}", 403, codeCrossSite},
		{"another port's page", "DELETE", "/v1/leases/LEASE", "localhost:7080", map[string]string{"Origin": "http://localhost:3000"}, "", 403, codeCrossSite},
		{"another scheme", "DELETE", "/v1/leases/LEASE", "localhost:7080", map[string]string{"Origin": "https://localhost:7080"}, "", 403, codeCrossSite},
		{"another site", "POST", "/v1/locks/job", "localhost:7080", map[string]string{"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, "{}", 403, codeCrossSite},
		{"another port of this site", "PUT", "/v1/leases/LEASE", "localhost:7080", map[string]string{"Sec-Fetch-Site": "same-site"}, "", 403, codeCrossSite},
		{"reading from another site", "GET", "/v1/locks", "localhost:7080", map[string]string{"Sec-Fetch-Site": "cross-site"}, "", 403, codeCrossSite},

		{"a rebound name", "POST", "/v1/locks/job", "evil.example:7080", map[string]string{"Content-Type": "application/json", "Origin": "http://evil.example:7080", "Sec-Fetch-Site": "same-origin"}, "{}", 403, codeHostRefused},
		{"reading under a rebound name", "GET", "/v1/locks", "evil.example", nil, "", 403, codeHostRefused},
		{"a name that begins like ours", "DELETE", "/v1/leases/LEASE", "localhost.evil.example", nil, "", 403, codeHostRefused},
		{"an address that is not ours", "DELETE", "/v1/leases/LEASE", "10.0.0.1:7080", nil, "", 403, codeHostRefused},
		{"the unspecified address", "DELETE", "/v1/leases/LEASE", "0.0.0.0:7080", nil, "", 403, codeHostRefused},
		{"no name", "DELETE", "/v1/leases/LEASE", "", nil, "", 403, codeHostRefused},

		{"asking for leave", "OPTIONS", "/v1/locks/job", "localhost:7080", map[string]string{"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}, "", 405, codeMethod},
		{"asking for leave, cross-origin", "OPTIONS", "/v1/locks/job", "localhost:7080", map[string]string{"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}, "", 403, codeCrossSite},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			s, b := newFakeServer(t, Config{Hosts: []string{"locks.internal"}})
			var info leaseInfo
			ask(s, request(context.Background(), "POST", "/v1/locks/mine", `{}`)).into(t, &info)
			deadline := b.lease("mine").Deadline()

			req, err := http.NewRequest(c.method, "http://x"+strings.Replace(c.path, "LEASE", info.Lease, 1), strings.NewReader(c.body))
			require.NoError(t, err)
			req.Host = c.host
			for name, value := range c.header {
				req.Header.Set(name, value)
			}
			a := ask(s, req)
			assert.Equal(t, c.status, a.status, a.text)
			if c.status != 200 {
				assert.Equal(t, c.code, a.problem(t).Code)
				assert.Nil(t, b.lease("job"))
			}
			require.NotNil(t, b.lease("mine"))
			assert.Equal(t, deadline, b.lease("mine").Deadline())
			for name := range a.header {
				assert.NotContains(t, name, "Access-Control")
			}
		})
	}
}

// Ensure that an empty body asks for all the defaults, if it is said to be JSON.
func TestGuard_EmptyBody(t *testing.T) {
	s, b := newFakeServer(t, Config{TTL: 20 * time.Second})
	req := request(context.Background(), "POST", "/v1/locks/job", "")
	a := ask(s, req)
	require.Equal(t, 415, a.status)
	assert.Contains(t, a.problem(t).Detail, "even if its body is empty")
	req.Header.Set("Content-Type", "application/json")
	a = ask(s, req)
	require.Equal(t, 200, a.status, a.text)
	assert.Equal(t, 20*time.Second, b.lease("job").ttl)
	a = ask(s, request(context.Background(), "POST", "/v1/locks/job", "{}"))
	assert.Equal(t, 409, a.status, "the same as {}, which does not wait")
}

// Ensure that two Origin or Content-Type headers, of which one is fine, are refused.
func TestGuard_DoubledHeaders(t *testing.T) {
	s, b := newFakeServer(t, Config{})
	for name, values := range map[string][]string{
		"Origin":         {"http://localhost:7080", "https://evil.example"},
		"Sec-Fetch-Site": {"same-origin", "cross-site"},
		"Content-Type":   {"application/json", "text/plain"},
	} {
		req := request(context.Background(), "POST", "/v1/locks/job", "{}")
		req.Header[name] = values
		assert.GreaterOrEqual(t, ask(s, req).status, 400, name)
		assert.Nil(t, b.lease("job"), name)
	}
}

// Ensure that every answer tells a browser to do nothing with it, errors included.
func TestGuard_Headers(t *testing.T) {
	s, _ := newFakeServer(t, Config{})
	for _, path := range []string{"/", "/healthz", "/openapi.json", "/nothing", "/v1/leases/x"} {
		h := ask(s, request(context.Background(), "GET", path, "")).header
		assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		assert.Equal(t, "default-src 'none'; frame-ancestors 'none'", h.Get("Content-Security-Policy"), path)
		assert.Equal(t, "same-origin", h.Get("Cross-Origin-Resource-Policy"), path)
		assert.Equal(t, "no-referrer", h.Get("Referrer-Policy"), path)
		assert.Equal(t, "no-store", h.Get("Cache-Control"), path)
		assert.NotEmpty(t, h.Get("Content-Type"), path)
	}
}

// Ensure that bad requests are answered with a problem that says what is wrong and where, and take no lock.
func TestProblems(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		status             int
		code               code
		detail             string
	}{
		{"GET", "/nothing", "", 404, codeNotFound, "/nothing"},
		{"POST", "/v1/locks/", "{}", 404, codeNotFound, "%2F"},
		{"POST", "/v1/locks/a/b", "{}", 404, codeNotFound, "%2F"},
		{"POST", "/v1/locks/a//b", "{}", 404, codeNotFound, "%2F"},
		{"POST", "/v1/locks/../locks/a", "{}", 404, codeNotFound, "%2F"},
		{"PATCH", "/v1/locks/job", "{}", 405, codeMethod, "PATCH"},
		{"DELETE", "/v1/locks/job", "", 405, codeMethod, "DELETE"},
		{"POST", "/healthz", "{}", 405, codeMethod, "POST"},
		{"POST", "/v1/locks/job", `{"ttl":`, 400, codeMalformedBody, "JSON"},
		{"POST", "/v1/locks/job", `{} {}`, 400, codeMalformedBody, "after top-level value"},
		{"POST", "/v1/locks/job", `[]`, 422, codeInvalidArgument, "object"},
		{"POST", "/v1/locks/job", `null`, 422, codeInvalidArgument, "object"},
		{"POST", "/v1/locks/job", `{"ttl":15}`, 422, codeInvalidArgument, "body.ttl"},
		{"POST", "/v1/locks/job", `{"ttl":"15"}`, 422, codeInvalidArgument, "15s"},
		{"POST", "/v1/locks/job", `{"ttl":"-15s"}`, 422, codeInvalidArgument, "body.ttl"},
		{"POST", "/v1/locks/job", `{"ttl":"9999999999h"}`, 422, codeInvalidArgument, "body"},
		{"POST", "/v1/locks/job", `{"ttl":"0s"}`, 422, codeInvalidArgument, "shorter than 100ms"},
		{"POST", "/v1/locks/job", `{"ttl":"99ms"}`, 422, codeInvalidArgument, "shorter than 100ms"},
		{"POST", "/v1/locks/job", `{"ttl":"5m1s"}`, 422, codeInvalidArgument, "longer than 5m0s"},
		{"POST", "/v1/locks/job", `{"wait":"5m1s"}`, 422, codeInvalidArgument, "longer than 5m0s"},
		{"POST", "/v1/locks/job", `{"tll":"15s"}`, 422, codeInvalidArgument, "body.tll"},
		{"POST", "/v1/locks/job", `{"ttl":"1s","renew":false}`, 422, codeInvalidArgument, "body.renew"},
		{"POST", "/v1/locks/job", `{"owner":"` + strings.Repeat("x", 257) + `"}`, 422, codeInvalidArgument, "body.owner"},
		{"POST", "/v1/locks/job?hold=strem", `{}`, 422, codeInvalidArgument, "query.hold"},
		{"POST", "/v1/locks/job?ttl=15s", `{}`, 422, codeInvalidArgument, "query.ttl"},
		{"POST", "/v1/locks/job", `{"owner":"` + strings.Repeat("x", 17<<10) + `"}`, 413, codeBodyTooLarge, "16384"},
		{"PUT", "/v1/leases/x", `{"a":"` + strings.Repeat("x", 17<<10) + `"}`, 413, codeBodyTooLarge, "16384"},
		{"POST", "/v1/locks/%ff", `{}`, 422, codeInvalidArgument, "UTF-8"},
		{"GET", "/v1/locks/%ff", ``, 422, codeInvalidArgument, "UTF-8"},
		{"GET", "/v1/locks?prefix=%ff", ``, 422, codeInvalidArgument, "UTF-8"},
		{"POST", "/v1/locks/" + strings.Repeat("x", 513), `{}`, 422, codeInvalidArgument, "513"},
	} {
		t.Run(c.method+" "+c.path+" "+c.body[:min(len(c.body), 30)], func(t *testing.T) {
			s, b := newFakeServer(t, Config{})
			a := ask(s, request(context.Background(), c.method, c.path, c.body))
			assert.Equal(t, c.status, a.status, a.text)
			p := a.problem(t)
			assert.Equal(t, c.code, p.Code)
			assert.Contains(t, p.Detail, c.detail)
			if c.status == 405 {
				assert.NotEmpty(t, a.header.Get("Allow"))
			}
			assert.Empty(t, b.all())
			assertNothingLeft(t, s)
		})
	}
}

// Ensure that a fault that nobody foresaw is answered without its text, which may be a secret.
func TestProblems_Internal(t *testing.T) {
	s, b := newFakeServer(t, Config{})
	b.fail(io.ErrNoProgress)
	a := ask(s, request(context.Background(), "POST", "/v1/locks/job", "{}"))
	assert.Equal(t, 500, a.status)
	assert.Equal(t, codeInternal, a.problem(t).Code)
	assert.NotContains(t, a.text, io.ErrNoProgress.Error())
	b.fail(nil)
}

// Ensure that a body which does not arrive in time costs its connection and nothing else.
func TestReadBody_Slow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), Config{IOTimeout: 10 * time.Second})
		body, feed := io.Pipe()
		defer feed.Close()
		req := request(context.Background(), "POST", "/v1/locks/job", "{}")
		req.Body, req.ContentLength = body, 100
		began := time.Now()
		res, err := r.http.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		assert.Equal(t, codeBodyTimeout, answer{res.StatusCode, res.Header, string(text)}.problem(t).Code)
		assert.Equal(t, 408, res.StatusCode)
		assert.Equal(t, 10*time.Second, time.Since(began))
	})
}

// Ensure that no body causes a fault, and that one which is refused takes no lock.
func FuzzBody(f *testing.F) {
	for _, body := range []string{`{}`, `{"ttl":"15s","wait":"0s","owner":"w"}`, `{"ttl":null}`, `{"ttl":1e999}`, `[[[[`, `{"owner":"\ud800"}`, `{"ttl":"15s","ttl":"1ms"}`, "\xef\xbb\xbf{}", `""`} {
		f.Add(body)
	}
	s, b := newFakeServer(f, Config{MaxWait: time.Millisecond})
	f.Fuzz(func(t *testing.T, body string) {
		req := request(context.Background(), "POST", "/v1/locks/job", body)
		req.Header.Set("Content-Type", "application/json")
		a := ask(s, req)
		l := b.lease("job")
		if a.status != 200 {
			assert.Contains(t, []int{400, 413, 422}, a.status, a.text)
			a.problem(t)
			assert.Nil(t, l)
			return
		}
		require.NotNil(t, l)
		assert.GreaterOrEqual(t, l.ttl, 100*time.Millisecond)
		assert.LessOrEqual(t, l.ttl, 5*time.Minute)
		require.NoError(t, l.Unlock(t.Context()))
	})
}
