package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/ptytest"
)

// value returns a variable of an environment.
func value(env []string, name string) (value string) {
	for _, v := range env {
		if rest, ok := strings.CutPrefix(v, name+"="); ok {
			value = rest
		}
	}
	return value
}

func has(pattern string) func(ptytest.Shown) bool {
	re := regexp.MustCompile(`(?m)` + pattern)
	return func(s ptytest.Shown) bool { return re.MatchString(strings.Join(s.Lines, "\n")) }
}

// Ensure that on a terminal the watch is a live table on a screen of its own, which fits every size, and that Ctrl-C
// gives the terminal back as it was.
func TestWatch_Terminal(t *testing.T) {
	env := here(t)
	cmd := exec.Command("sh", "-c", `trap : INT QUIT; echo kept; holdfast locks watch --every 100ms; echo "code $?"; cat`)
	cmd.Env = env
	w := ptytest.Start(t, 12, 100, cmd)
	w.Await("a table", func(s ptytest.Shown) bool {
		return s.Alternate && !s.Cursor && !s.Wrap && has(`^2 locks  .*Ctrl-C ends\nNAME +OWNER +REMAINING +WAITING +TOKEN +NODES\norders:7 +\S+ +1\d(\.\d)?s +0 +\d{16} +[23]/[23]\n"other one" .*\n\n.* held +orders:7 by `)(s)
	})

	// Somebody comes.
	c, err := client.Open(value(env, "HOLDFAST_NODES"))
	require.NoError(t, err)
	defer c.Close(t.Context())
	lease, err := c.TryLock(t.Context(), "a new one", client.Owner("newcomer"))
	require.NoError(t, err)
	w.Await("three", has(`^3 locks .*\n.*\n"a new one" +newcomer `))
	w.Await("an event", has(`^\d\d:\d\d:\d\d acquired +"a new one" by newcomer, token \d{16}$`))

	// A narrow terminal shows less, and nothing that was there before.
	w.Resize(4, 34)
	w.Await("a narrow table", has(`^3 locks  .*\nNAME +OWNER +REMAINING\n"a new one" .*\n\.\.\. and 2 more$`))
	w.Resize(1, 5)
	w.Await("a line", func(s ptytest.Shown) bool { return s.Lines[0] == "3 lo…" })
	w.Resize(20, 100)
	require.NoError(t, lease.Unlock(t.Context()))
	w.Await("two, and their end", has(`^2 locks  (.*\n)+.* released +"a new one" by newcomer`))

	w.Send("\x03\x03\x1c\x03") // in a hurry
	w.Await("the screen as it was", func(s ptytest.Shown) bool {
		return !s.Alternate && s.Cursor && s.Wrap && s.Lines[0] == "kept" && has(`^orders:7 (.*\n)+code 0$`)(s)
	})
}

// Ensure that Ctrl-Z gives the terminal to the shell, and fg shows the table again.
func TestWatch_Stopped(t *testing.T) {
	cmd := exec.Command("sh", "-i")
	cmd.Env = append(here(t), "ENV=")
	w := ptytest.Start(t, 12, 100, cmd)
	w.Expect(`prompt> `)
	w.Send("holdfast locks watch --every 100ms\n")
	w.Await("a table", has(`^2 locks`))
	w.Send("\x1a")
	w.Await("the shell", func(s ptytest.Shown) bool { return !s.Alternate && s.Cursor && s.Wrap && !has(`^2 locks`)(s) })
	w.Send("echo shell $((40 + 2))\n")
	w.Expect(`shell 42`)
	w.Send("fg\n")
	w.Await("a table", func(s ptytest.Shown) bool { return s.Alternate && !s.Cursor && has(`^2 locks`)(s) })
	w.Send("\x03")
	w.Await("the shell", func(s ptytest.Shown) bool { return !s.Alternate && s.Cursor })
}

// Ensure that a terminal that can do nothing is given lines.
func TestWatch_DumbTerminal(t *testing.T) {
	env := append(here(t), "TERM=dumb")
	cmd := exec.Command(filepath.Join(value(env, "HOME"), "holdfast"), "locks", "watch")
	cmd.Env = env
	w := ptytest.Start(t, 12, 100, cmd)
	w.Expect(`^\S+ held +"other one" by \S+, token \d+$`)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	assert.NoError(t, cmd.Wait())
}
