package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The two things that the contenders write, in one directory.
//
// counter is a number in a plain file. Nothing protects it but the lock: read, add one, write. Every
// contender also appends what it did to journal, still under the lock: its kind, its token (0: it has none),
// the number it wrote. testdata/add.sh does the same for the kinds that are not Go.
//
// account is a file that protects itself: it knows the highest token that it has ever accepted and refuses lower ones,
// the check and the write being one step under flock(2). It appends what it accepted and refused to verdicts.
const (
	counterFile  = "counter"
	journalFile  = "journal"
	accountFile  = "account"
	verdictsFile = "verdicts"
)

// hold is for how long a Go contender dawdles between reading and writing, so that a second one inside would
// not go unnoticed.
const hold = time.Millisecond

// addOne is the work that the lock protects.
func addOne(dir, kind string, token int64) error {
	data, err := os.ReadFile(filepath.Join(dir, counterFile))
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return err
	}
	time.Sleep(hold)
	if err := os.WriteFile(filepath.Join(dir, counterFile), fmt.Appendf(nil, "%d\n", n+1), 0o644); err != nil {
		return err
	}
	return appendLine(filepath.Join(dir, journalFile), "%s %d %d\n", kind, token, n+1)
}

// errStale is the account's answer to a token lower than one that it has accepted.
var errStale = errors.New("stale token")

// guardedWrite writes to the account with a token.
func guardedWrite(dir, kind string, token int64) error {
	file, err := os.OpenFile(filepath.Join(dir, accountFile), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	var highest int64
	if _, err := fmt.Fscan(file, &highest); err != nil && err != io.EOF {
		return err
	}
	verdict := "accepted"
	if token < highest {
		verdict = "refused"
	}
	if err := appendLine(filepath.Join(dir, verdictsFile), "%s %d %s\n", kind, token, verdict); err != nil {
		return err
	}
	if verdict == "refused" {
		return fmt.Errorf("%w: %d, %d was accepted before", errStale, token, highest)
	}
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err = file.WriteAt(fmt.Appendf(nil, "%d written by %s\n", token, kind), 0)
	return err
}

// readCounter returns the number.
func readCounter(t *testing.T, dir string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, counterFile))
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	require.NoError(t, err, "the counter says %q", data)
	return n
}

// checkJournal checks the story that the contenders wrote under the lock: each number once, in order, and the
// tokens of all kinds that have one rising over the whole run.
func checkJournal(t *testing.T, dir string, total int) {
	t.Helper()
	lines := readLines(t, filepath.Join(dir, journalFile))
	assert.Len(t, lines, total)
	var last int64
	var lastLine string
	for i, line := range lines {
		var kind string
		var token, number int64
		_, err := fmt.Sscan(line, &kind, &token, &number)
		require.NoError(t, err, line)
		require.EqualValues(t, i+1, number, "line %d of the journal, after %q: %q", i+1, lastLine, line)
		if token != 0 {
			require.Greater(t, token, last, "line %d of the journal: the token has not risen", i+1)
			last = token
		} else {
			require.Equal(t, kindRedsync, kind, "no token: %q", line)
		}
		lastLine = line
	}
}

// checkVerdicts checks that accepted tokens have only ever risen, and counts the verdicts.
func checkVerdicts(t *testing.T, dir string) (accepted, refused int) {
	t.Helper()
	var last int64
	for _, line := range readLines(t, filepath.Join(dir, verdictsFile)) {
		var kind, verdict string
		var token int64
		_, err := fmt.Sscan(line, &kind, &token, &verdict)
		require.NoError(t, err, line)
		if verdict == "refused" {
			refused++
			continue
		}
		accepted++
		assert.Greater(t, token, last, "accepted: %q", line)
		last = token
	}
	return accepted, refused
}

func appendLine(path, format string, args ...any) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, format, args...)
	return errors.Join(err, file.Close())
}

func readLines(t *testing.T, path string) []string {
	t.Helper()
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	defer file.Close()
	var lines []string
	for s := bufio.NewScanner(file); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

// Ensure that the account refuses a token below the highest, takes the same one again, and keeps a record.
func TestAccount(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, accountFile), nil, 0o644))
	require.NoError(t, guardedWrite(dir, "a", 5))
	require.NoError(t, guardedWrite(dir, "a", 9_007_199_254_740_991))
	require.ErrorIs(t, guardedWrite(dir, "b", 9_007_199_254_740_990), errStale)
	accepted, refused := checkVerdicts(t, dir)
	assert.Equal(t, []int{2, 1}, []int{accepted, refused})
	text, err := os.ReadFile(filepath.Join(dir, accountFile))
	require.NoError(t, err)
	assert.Equal(t, "9007199254740991 written by a\n", string(text))
}
