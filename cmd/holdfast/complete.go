package main

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// A completion is what may stand for the last word of a command line.
type completion struct {
	candidates []candidate
	// command is where the command of `holdfast lock` begins, counted in words: from there on the line is
	// another program's. -1: nowhere yet.
	command int
}

type candidate struct{ text, help string }

// A completer finds completions in the model of the command line, so that a new flag needs nothing done for it.
// Where the model does not know the values, a tag says what they are: complete:"a,b" lists some, complete:"lock" are the
// names of locks, complete:"command" is another program's command line.
type completer struct {
	root *kong.Node
	// names returns names of locks that begin so, given what the line says of the nodes ("": nothing).
	names func(nodes, prefix string) []string
}

// A position is what the words before the last one come to.
type position struct {
	node    *kong.Node
	given   []*kong.Flag // flags that were given
	pending *kong.Flag   // the flag whose value comes next
	literal bool         // after --: no more flags
	args    int          // positional arguments seen
	command int
	nodes   string // the value of --nodes
}

// complete returns what may stand for the last of the words, which are those behind the program's name. The
// last one may be empty.
func (c *completer) complete(words []string) completion {
	if len(words) == 0 {
		words = []string{""}
	}
	cur := words[len(words)-1]
	p := position{node: c.root, command: -1}
	for i, word := range words[:len(words)-1] {
		if p.step(i, word); p.command >= 0 {
			return completion{command: p.command}
		}
	}
	none := completion{command: -1}
	name, value, assigned := strings.Cut(cur, "=")
	switch {
	case p.pending != nil:
		none.candidates = c.values(&p, p.pending.Value, cur, "")
	case !p.literal && strings.HasPrefix(cur, "--") && assigned:
		if flag := p.flag(name); flag != nil {
			none.candidates = c.values(&p, flag.Value, value, name+"=")
		}
	case !p.literal && strings.HasPrefix(cur, "-"):
		none.candidates = p.flags(cur)
	case len(p.node.Children) > 0:
		for _, child := range p.node.Children {
			if !child.Hidden {
				none.add(cur, candidate{child.Name, child.Help})
			}
		}
	case p.args < len(p.node.Positional):
		arg := p.node.Positional[p.args]
		if arg.Tag.Get("complete") != "command" {
			none.candidates = c.values(&p, arg, cur, "")
		} else if cur == "" && !p.literal {
			none.add(cur, candidate{"--", "the command follows"})
		} else {
			none.command = len(words) - 1
		}
	}
	return none
}

func (c *completion) add(prefix string, one candidate) {
	if strings.HasPrefix(one.text, prefix) {
		c.candidates = append(c.candidates, one)
	}
}

// step takes one word.
func (p *position) step(i int, word string) {
	switch {
	case p.pending != nil:
		p.give(p.pending, word)
		p.pending = nil
	case word == "--" && !p.literal:
		p.literal = true
		if arg := p.next(); arg != nil && arg.Tag.Get("complete") == "command" {
			p.command = i + 1
		}
	case strings.HasPrefix(word, "-") && !p.literal:
		name, value, assigned := strings.Cut(word, "=")
		flag := p.flag(name)
		switch {
		case flag == nil:
		case assigned || flag.IsBool():
			p.give(flag, value)
		default:
			p.pending = flag
		}
	case len(p.node.Children) > 0:
		for _, child := range p.node.Children {
			if child.Name == word {
				p.node, p.args = child, 0
				return
			}
		}
	default:
		if arg := p.next(); arg != nil && arg.Tag.Get("complete") == "command" {
			p.command = i
		}
		p.args++
	}
}

func (p *position) next() *kong.Positional {
	if p.args < len(p.node.Positional) {
		return p.node.Positional[p.args]
	}
	return nil
}

func (p *position) give(flag *kong.Flag, value string) {
	p.given = append(p.given, flag)
	if flag.Name == "nodes" {
		p.nodes = value
	}
}

func (p *position) flag(word string) *kong.Flag {
	for _, group := range p.node.AllFlags(true) {
		for _, flag := range group {
			if word == "--"+flag.Name || flag.Short != 0 && word == "-"+string(flag.Short) {
				return flag
			}
		}
	}
	return nil
}

// flags returns the flags that begin so and can still be given.
func (p *position) flags(prefix string) []candidate {
	var c completion
	for _, group := range p.node.AllFlags(true) {
		for _, flag := range group {
			if !slices.ContainsFunc(p.given, func(other *kong.Flag) bool { return excludes(flag, other) }) {
				c.add(prefix, candidate{"--" + flag.Name, flag.Help})
			}
		}
	}
	return c.candidates
}

// excludes tells that a flag cannot be given beside another one, which may be itself.
func excludes(flag, other *kong.Flag) bool {
	if flag == other {
		return !flag.IsCumulative()
	}
	return slices.ContainsFunc(flag.Xor, func(group string) bool { return slices.Contains(other.Xor, group) })
}

// values returns the values of a flag or an argument that begin so, each behind the lead.
func (c *completer) values(p *position, v *kong.Value, prefix, lead string) []candidate {
	var texts []string
	switch known := v.Tag.Get("complete"); {
	case known == "lock":
		nodes := p.nodes
		texts = c.names(nodes, prefix)
	case known != "":
		texts = strings.Split(known, ",")
	case v.Enum != "":
		texts = v.EnumSlice()
	}
	var list completion
	for _, text := range texts {
		list.add(lead+prefix, candidate{text: lead + text})
	}
	return list.candidates
}
