package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/holdfast-dev/holdfast/client"
)

// The scripts only ask `holdfast __complete` and hand its answer to their shell.
//
//go:embed completion
var completionScripts embed.FS

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown below the summary.
func (*completionCommand) Help() string {
	return `To have completion in every new shell, put this into its start-up file:

    ~/.bashrc                     eval "$(holdfast completion bash)"
    ~/.zshrc (after compinit)     eval "$(holdfast completion zsh)"
    ~/.config/fish/config.fish    holdfast completion fish | source

Names of locks are asked of the nodes in HOLDFAST_NODES or --nodes, for a second at most.`
}

func (cmd *completionCommand) Run() error {
	script, err := completionScripts.ReadFile("completion/holdfast." + cmd.Shell)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(script)
	return err
}

// completeCommand is what the scripts ask. It is silent whatever goes wrong: nobody wants to read errors while
// typing.
type completeCommand struct {
	Shell string   `arg:"" enum:"bash,zsh,fish"`
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run prints what the scripts read: first what there is, ":words" or ":command N" (the words from N on, counted
// from 0, are another program's command line), then the words, each with a tab and what it is for.
//
// zsh and fish give the words; bash gives the line up to the cursor and its COMP_WORDBREAKS, and gets back what
// replaces the part of the word behind the last of these.
func (cmd *completeCommand) Run() error {
	words := cmd.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	c := completer{root: newParser(&commandLine{}).Model.Node, names: heldNames}
	if cmd.Shell != "bash" {
		c.complete(words).print(os.Stdout)
		return nil
	}
	if len(words) != 2 {
		return nil
	}
	line := readLine(words[0])
	found := c.complete(line.words)
	line.fit(&found, words[1])
	found.print(os.Stdout)
	return nil
}

func (c completion) print(out io.Writer) {
	if c.command >= 0 {
		fmt.Fprintf(out, ":command %d\n", c.command)
		return
	}
	fmt.Fprintln(out, ":words")
	for _, one := range c.candidates {
		// A name that could do something to the terminal cannot be typed there either.
		if strings.ContainsFunc(one.text, unicode.IsControl) {
			continue
		}
		help, _, _ := strings.Cut(one.help, ". ")
		fmt.Fprintf(out, "%s\t%s\n", one.text, strings.TrimSuffix(help, "."))
	}
}

// How long a completion may take, and how many names of locks it offers.
const (
	completionTimeout = time.Second
	mostNames         = 500
)

// heldNames returns the names of locks that are held and begin so.
func heldNames(nodes, prefix string) []string {
	if nodes == "" {
		nodes = os.Getenv("HOLDFAST_NODES")
	}
	c, err := client.Open(nodes, client.WithTimeout(completionTimeout/2))
	if err != nil {
		return nil
	}
	ctx, cancel := timeout(completionTimeout)
	defer cancel()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = c.Close(ctx)
	}()
	states, err := c.List(ctx, prefix)
	if err != nil {
		return nil
	}
	var names []string
	for _, state := range states[:min(len(states), mostNames)] {
		names = append(names, state.Name)
	}
	return names
}
