package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const bashBreaks = " \t\n\"'><=;|&(:"

// completions returns the texts that stand for the last word, or which word begins another program's line.
func completions(t *testing.T, words ...string) ([]string, int) {
	t.Helper()
	c := completer{root: newParser(&commandLine{}).Model.Node, names: func(nodes, prefix string) []string {
		if nodes == "" {
			nodes = "default"
		}
		return []string{prefix + "1@" + nodes}
	}}
	found := c.complete(words)
	texts := []string{}
	for _, one := range found.candidates {
		texts = append(texts, one.text)
	}
	return texts, found.command
}

// Ensure that each kind of word is completed from the model.
func TestComplete_Words(t *testing.T) {
	for line, want := range map[string]string{
		"":                             "dev server lockd lock locks version completion",
		"lo":                           "lockd lock locks",
		"nonsense ":                    "dev server lockd lock locks version completion",
		"__":                           "",
		"completion ":                  "bash zsh fish",
		"completion z":                 "zsh",
		"completion zsh ":              "",
		"server --protected-mode ":     "yes no",
		"server --protected-mode=n":    "--protected-mode=no",
		"lock --on-lost ":              "term term:5s kill ignore",
		"lock --on-lost term":          "term term:5s",
		"lock --wait 1s --tr":          "", // excluded by --wait
		"lock --wait=1s --tr":          "",
		"lock --tr":                    "--try",
		"lock --shared --sl":           "", // excluded by --shared
		"lock --try --tr":              "", // given
		"lock --ttl 1s --tt":           "",
		"server --bind a --bin":        "--bind", // may be given again
		"lock --ttl ":                  "",
		"lock --no-such-flag --tr":     "--try",
		"lock x ":                      "--",
		"lock x --tr":                  "--try",
		"locks inspect o":              "o1@default",
		"lock o":                       "o1@default",
		"locks inspect --nodes a,b o":  "o1@a,b",
		"locks --nodes=c inspect o":    "o1@default", // locks has no --nodes
		"locks inspect --nodes=c -- o": "o1@c",
		"locks inspect x ":             "",
		"locks inspect -- --js":        "--js1@default",
		"locks ls --js":                "--json",
		"dev ":                         "",
	} {
		got, command := completions(t, strings.Split(line, " ")...)
		assert.Equal(t, strings.Fields(want), got, line)
		assert.Equal(t, -1, command, line)
	}
}

// Ensure that the command of lock is known for another program's line, whether -- announces it or not, and that
// nothing of it is taken for ours.
func TestComplete_Command(t *testing.T) {
	for line, want := range map[string]int{
		"lock x -- ":                 3,
		"lock x -- ls --tr":          3,
		"lock x l":                   2,
		"lock x ls --tr":             2,
		"lock --ttl 1s x ls -- a":    4,
		"lock --try --json x -- a b": 5,
	} {
		got, command := completions(t, strings.Split(line, " ")...)
		assert.Empty(t, got, line)
		assert.Equal(t, want, command, line)
	}
	got, _ := completions(t)
	assert.NotEmpty(t, got, "no word at all is an empty first one")
}

// Ensure that bash's line is taken apart as bash does.
func TestReadLine(t *testing.T) {
	for text, want := range map[string][]string{
		"holdfast":                         {"holdfast"},
		"holdfast ":                        {""},
		"holdfast  lock\tx ":               {"lock", "x", ""},
		`holdfast 'a b' "c d" e\ f`:        {"a b", "c d", "e f"},
		`holdfast 'a"b' "c'd" "e\"f" g'h`:  {"a\"b", "c'd", "e\"f", "gh"},
		"A=1 B= holdfast lock":             {"lock"},
		"holdfast lock --ttl=1s A=1 --":    {"lock", "--ttl=1s", "A=1", "--"},
		"holdfast lock ''":                 {"lock", ""},
		"./a=b/holdfast lock":              {"lock"},
		`holdfast locks inspect orders\:7`: {"locks", "inspect", "orders:7"},
	} {
		assert.Equal(t, want, readLine(text).words, text)
	}
}

// Ensure that bash is given what it puts in place of the part of the word that it replaces.
func TestBashLine_Fit(t *testing.T) {
	for _, tt := range []struct{ line, candidate, want string }{
		{"holdfast locks inspect o", "orders:7", "orders:7"},
		{"holdfast locks inspect orders:", "orders:7", "7"},
		{"holdfast locks inspect a:b:c", "a:b:cd", "cd"},
		{`holdfast locks inspect orders\:`, "orders:7", "orders:7"},
		{"holdfast locks inspect ", "a b$c", `a\ b\$c`},
		{"holdfast locks inspect 'a", "a b:c", "a b:c"},
		{"holdfast locks inspect 'a:", "a:b c", "a:b c"},
		{`holdfast locks inspect "a b`, "a b c", "a b c"},
		{"holdfast lock --on-lost=te", "--on-lost=term", "term"},
		{"holdfast lock --on-lost=term:", "--on-lost=term:5s", "5s"},
	} {
		line := readLine(tt.line)
		found := completion{candidates: []candidate{{text: tt.candidate}}}
		line.fit(&found, bashBreaks)
		assert.Equal(t, tt.want, found.candidates[0].text, tt.line)
	}
}

// Ensure that no line makes completion fail, and that there is always a last word to complete.
func FuzzReadLine(f *testing.F) {
	for _, s := range []string{"", "holdfast lock x -- ls", `holdfast 'a "b\`, "A=1 holdfast --ttl=", "holdfast\tlock \\", "=\"=:", "holdfast locks inspect 'a:b"} {
		f.Add(s)
	}
	c := completer{root: newParser(&commandLine{}).Model.Node, names: func(_, prefix string) []string { return []string{prefix + ":x y"} }}
	f.Fuzz(func(t *testing.T, text string) {
		line := readLine(text)
		assert.NotEmpty(t, line.words)
		found := c.complete(line.words)
		line.fit(&found, bashBreaks)
		assert.LessOrEqual(t, found.command, len(line.words))
	})
}
