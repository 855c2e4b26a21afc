package main

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// events as go test -json writes them: a test that passes, one that skips itself, one that fails, and one
// that was cut off.
const events = `
{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"chatter of a good test\n"}
{"Action":"pass","Package":"p","Test":"TestGood","Elapsed":0.1}
{"Action":"run","Package":"p","Test":"TestSkip"}
{"Action":"output","Package":"p","Test":"TestSkip","Output":"=== RUN   TestSkip\n"}
{"Action":"output","Package":"p","Test":"TestSkip","Output":"    x_test.go:7: redis-server: not installed\n"}
{"Action":"output","Package":"p","Test":"TestSkip","Output":"--- SKIP: TestSkip (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestSkip"}
{"Action":"run","Package":"p","Test":"TestBad"}
{"Action":"output","Package":"p","Test":"TestBad","Output":"    x_test.go:9: it broke\n"}
{"Action":"fail","Package":"p","Test":"TestBad"}
{"Action":"run","Package":"p","Test":"TestCutOff"}
{"Action":"output","Package":"p","Test":"TestCutOff","Output":"panic: here\n"}
{"Action":"output","Package":"p","Output":"a table of the package\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t1.5s\n"}
{"Action":"fail","Package":"p","Elapsed":1.5}
{"Action":"output","Package":"q","Output":"PASS\n"}
{"Action":"output","Package":"q","Output":"ok  \tq\t0.5s\n"}
{"Action":"pass","Package":"q","Elapsed":0.5}
`

// Ensure that the output is that of go test without -v, and that its last lines name each skipped test with its reason.
func TestSummary(t *testing.T) {
	var out strings.Builder
	sum := newSummary(&out)
	lines := bufio.NewScanner(strings.NewReader(strings.TrimSpace(events)))
	for lines.Scan() {
		var e event
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		sum.add(e)
	}
	sum.finish(61*time.Second, true)
	assert.Equal(t, `    x_test.go:9: it broke
a table of the package
FAIL	p	1.5s
panic: here
ok  	q	0.5s
slowest: p 1.5s, q 0.5s
2 packages, 1 tests passed, 1 failed, 1 skipped, 61s
skipped: p TestSkip: redis-server: not installed
CI=true: nothing may be skipped here
`, out.String())
}

// Ensure that -last is taken out of the arguments wherever it stands, and the rest kept in order.
func TestSplit(t *testing.T) {
	last, rest := split([]string{"-timeout", "5m", "-last", "./a", "./...", "-last", "./b"})
	assert.Equal(t, []string{"./a", "./b"}, last)
	assert.Equal(t, []string{"-timeout", "5m", "./..."}, rest)
	assert.Equal(t, []string{"-timeout", "5m"}, flags(rest))
}
