package main

import (
	"os/exec"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/ptytest"
)

// Ensure that at a terminal release shows who has the lock and does nothing unless that is confirmed, and does not
// ask with --yes.
func TestRelease_Confirm(t *testing.T) {
	cmd := exec.Command("sh", "-i")
	cmd.Env = append(here(t), "ENV=")
	s := ptytest.Start(t, 24, 120, cmd)
	s.Expect(`prompt> `)
	const release = "holdfast locks release orders:7 --force --reason test"
	for _, no := range []string{"\n", "n\n", "yess\n", "\x04"} {
		s.Send(release + "\n")
		s.Expect(`^Release orders:7 by force\? \S+ \(token \d{16}\) has it, for another [0-9.]+s unless it is renewed\.\n` +
			`That may be at work, and would share the lock with whoever gets it next\.\n\[y/N\] `)
		s.Send(no)
		s.Expect(`^holdfast: nothing was done$`)
		s.Expect(`prompt> `)
	}
	s.Send(release + "\n")
	s.Expect(`\[y/N\] `)
	s.Send("y\n")
	s.Expect(`^taken from \S+ \(token \d{16}\): orders:7$`)
	s.Expect(`prompt> `)
	s.Send(release + "\n")
	s.Expect(`^Release orders:7 by force\? Nobody has it on a majority of the nodes\.\n\[y/N\] `)
	s.Send("y\n")
	s.Expect(`lock is not held$`)
	s.Expect(`prompt> `)
	s.Send("holdfast locks release 'other one' --force --yes --reason test\n")
	s.Expect(`^taken from \S+ \(token \d{16}\): "other one"$`)
}
