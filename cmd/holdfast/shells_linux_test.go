package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/ptytest"
	"github.com/holdfast-dev/holdfast/server/servertest"
)

// here makes an environment in which holdfast is this program, and nodes on which orders:7 and "other one" are held.
func here(t *testing.T) (env []string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Symlink(self, filepath.Join(dir, "holdfast")))
	var addrs []string
	for _, n := range servertest.StartCluster(t, 3) {
		addrs = append(addrs, n.Addr())
	}
	nodes := strings.Join(addrs, ",")
	c, err := client.Open(nodes)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) }) // the test may have taken its locks
	for _, name := range []string{"orders:7", "other one"} {
		_, err := c.TryLock(t.Context(), name)
		require.NoError(t, err)
	}
	return append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOLDFAST_NODES="+nodes, "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir,
		"TERM=xterm", "PS1=prompt> ", "PROMPT=prompt> ", "INPUTRC=/dev/null")
}

// shell finds a shell or skips.
func shell(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return exec.Command(path, args...)
}

// Ensure that in bash the tab key completes commands, flags, values, and names of locks, whose colons bash takes for
// ends of words and whose blanks it wants quoted; and the command of lock as that command's own line.
func TestCompletion_Bash(t *testing.T) {
	cmd := shell(t, "bash", "--norc", "--noprofile", "-i")
	cmd.Env = here(t)
	b := ptytest.Start(t, 50, 120, cmd)
	b.Expect(`prompt> `)
	b.Send("eval \"$(holdfast completion bash)\"; bind 'set bell-style none' 'set enable-bracketed-paste off' 'set show-all-if-ambiguous on'\n")
	b.Expect(`prompt> `)
	list := func(typed, pattern string) {
		t.Helper()
		b.Send(typed + "\t")
		b.Expect(pattern)
		b.Send("\x15\n") // throw the line away
		b.Expect(`prompt> $`)
	}
	list("holdfast lo", `^lock +lockd +locks`)
	list("holdfast locks ", `^.*inspect.*ls`)
	list("holdfast lock --on", `--on-lost $`)
	list("holdfast lock --on-lost ", `^ignore +kill +term +term:5s`)
	list("holdfast lock --on-lost=ki", `--on-lost=kill $`)
	list("holdfast locks inspect ", `^orders:7 +other(\\ | )one`)
	list("holdfast locks inspect ord", `inspect orders:7 $`)
	list("holdfast locks inspect orders:", `inspect orders:7 $`)
	list("holdfast locks inspect ot", `inspect other\\ one $`)
	list("holdfast locks inspect 'ot", `inspect 'other one' $`)
	list("holdfast lock x -- uniq --vers", `uniq --vers`)
	list("HOLDFAST_NODES=127.0.0.1:1 holdfast lock --try --t", `--ttl $`)
}

// Ensure that zsh completes the same.
func TestCompletion_Zsh(t *testing.T) {
	cmd := shell(t, "zsh", "-f", "-i")
	cmd.Env = here(t)
	z := ptytest.Start(t, 50, 120, cmd)
	z.Expect(`prompt> `)
	z.Send("unsetopt beep prompt_sp prompt_cr list_ambiguous auto_menu; autoload -U compinit; compinit -u -D; eval \"$(holdfast completion zsh)\"; echo loa''ded\n")
	z.Expect(`^loaded$`)
	z.Expect(`prompt> `)
	list := func(typed, pattern string) {
		t.Helper()
		z.Send(typed + "\t")
		z.Expect(pattern)
		z.Send("\x15\n") // throw the line away
		z.Expect(`prompt> `)
	}
	list("holdfast lo", `lockd +-- Run the HTTP API`)
	list("holdfast locks ", `inspect +-- Show one lock`)
	list("holdfast lock --on", `--on-lost`)
	list("holdfast lock --on-lost ", `ignore +kill +term`)
	list("holdfast lock --on-lost=ki", `--on-lost=kill`)
	list("holdfast locks inspect ord", `orders:7`)
	list("holdfast locks inspect ot", `other\\ one`)
	list("holdfast lock x -- holdfast vers", `holdfast version`)
}

// Ensure that fish completes the same.
func TestCompletion_Fish(t *testing.T) {
	const script = `holdfast completion fish | source
		for line in "holdfast lo" "holdfast locks " "holdfast lock --on" "holdfast lock --on-lost " "holdfast locks inspect o" "holdfast lock x -- holdfast vers"
			echo "== $line"
			complete -C "$line"
		end`
	cmd := shell(t, "fish", "--no-config", "-c", script)
	cmd.Env = here(t)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	got := make(map[string]string)
	for _, part := range strings.Split(string(out), "== ")[1:] {
		line, answer, _ := strings.Cut(part, "\n")
		got[line] = answer
	}
	assert.Regexp(t, `(?m)^lockd\tRun the HTTP API`, got["holdfast lo"])
	assert.NotContains(t, got["holdfast lo"], "server")
	assert.Regexp(t, `(?m)^inspect\tShow one lock`, got["holdfast locks "])
	assert.Regexp(t, `(?m)^--on-lost\t`, got["holdfast lock --on"])
	assert.Regexp(t, `(?m)^term:5s`, got["holdfast lock --on-lost "])
	assert.Regexp(t, `(?m)^orders:7$`, got["holdfast locks inspect o"])
	assert.Regexp(t, `(?m)^other one$`, got["holdfast locks inspect o"])
	assert.Regexp(t, `(?m)^version`, got["holdfast lock x -- holdfast vers"])
}
