package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

type locksCommand struct {
	Ls      locksLsCommand      `cmd:"" help:"List the locks that are held."`
	Inspect locksInspectCommand `cmd:"" help:"Show one lock and what each node says of it."`
}

// askTimeout bounds a question to the nodes.
const askTimeout = 30 * time.Second

type locksLsCommand struct {
	nodesFlag
	JSON   bool   `name:"json" help:"Print a JSON array."`
	Prefix string `arg:"" optional:"" complete:"lock" help:"Only names that begin with this."`
}

func (cmd *locksLsCommand) Run() error {
	c, err := cmd.open()
	if err != nil {
		return err
	}
	ctx, cancel := timeout(askTimeout)
	defer cancel()
	states, err := c.List(ctx, cmd.Prefix)
	if closeErr := shutDown(c.Close); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	locks := make([]lockInfo, 0, len(states))
	for _, state := range states {
		locks = append(locks, infoOf(state, state.Answered))
	}
	if cmd.JSON {
		return printJSON(locks)
	}
	return printTable(os.Stdout, locks)
}

type locksInspectCommand struct {
	nodesFlag
	JSON bool   `name:"json" help:"Print a JSON object."`
	Name string `arg:"" complete:"lock" help:"Name of the lock."`
}

func (cmd *locksInspectCommand) Run() error {
	c, err := cmd.open()
	if err != nil {
		return err
	}
	ctx, cancel := timeout(askTimeout)
	defer cancel()
	state, err := c.InspectAll(ctx, cmd.Name)
	if closeErr := shutDown(c.Close); err == nil {
		err = closeErr
	}
	if errors.Is(err, client.ErrInvalid) {
		return &exitError{exitUsage, err}
	}
	if err != nil {
		return err
	}
	info := infoOf(state, len(state.Nodes))
	info.Answers = answersOf(state)
	if cmd.JSON {
		return printJSON(info)
	}
	return printLock(os.Stdout, info)
}

// A lockInfo is a lock as --json shows it. Durations are written as Go writes them: "1.5s".
type lockInfo struct {
	Name      string   `json:"name"`
	Held      bool     `json:"held"`
	Owner     string   `json:"owner,omitempty"`     // the holder's label; empty if it left none
	Remaining string   `json:"remaining,omitempty"` // "none": the key has no ttl
	Fence     int64    `json:"fence"`               // no token was ever higher
	Waiting   int      `json:"waiting"`
	Nodes     string   `json:"nodes,omitempty"` // at how many of the nodes that answered the holder's lock is, "5/5"
	Answers   []answer `json:"answers,omitempty"`
}

// An answer is what one node says of a lock.
type answer struct {
	Node      string `json:"node"`
	Error     string `json:"error,omitempty"`
	Held      bool   `json:"held"`
	Owner     string `json:"owner,omitempty"`
	Remaining string `json:"remaining,omitempty"`
	Fence     int64  `json:"fence"`
	Waiting   int    `json:"waiting"`
}

// infoOf shows a lock as held at so many of the nodes that were asked. List does not wait for all of them.
func infoOf(state *redlock.State, asked int) lockInfo {
	info := lockInfo{Name: state.Name, Held: !state.Free(), Fence: state.Fence, Waiting: state.Waiting}
	if h := state.Holder; h != nil {
		info.Owner = h.Label
		info.Remaining = remaining(h.Remaining)
		info.Nodes = fmt.Sprintf("%d/%d", h.Nodes, asked)
	}
	return info
}

func answersOf(state *redlock.State) []answer {
	answers := make([]answer, 0, len(state.Nodes))
	for _, n := range state.Nodes {
		a := answer{Node: n.Node, Fence: n.Reply.Fence, Waiting: n.Reply.Waiting}
		switch {
		case errors.Is(n.Reply.Err, redlock.ErrNoAnswer):
			a.Error = "none in time"
		case n.Reply.Err != nil:
			a.Error = oneLine(n.Reply.Err)
		case n.Reply.Digest != "":
			a.Held, a.Owner, a.Remaining = true, n.Reply.Label, remaining(n.Reply.Remaining)
		}
		answers = append(answers, a)
	}
	return answers
}

func remaining(d time.Duration) string {
	if d < 0 {
		return "none"
	}
	return d.Round(time.Millisecond).String()
}

// printable shows a name that could do something to the terminal, or to the table, in quotes.
func printable(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) || unicode.IsSpace(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

func printTable(out io.Writer, locks []lockInfo) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tOWNER\tREMAINING\tFENCE\tWAITING\tNODES")
	for _, l := range locks {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", printable(l.Name), orDash(l.Owner), l.Remaining, l.Fence, l.Waiting, l.Nodes)
	}
	return w.Flush()
}

func printLock(out io.Writer, l lockInfo) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "name\t%s\n", printable(l.Name))
	if l.Held {
		fmt.Fprintf(w, "held by\t%s, for another %s, on %s nodes\n", orDash(l.Owner), l.Remaining, l.Nodes)
	} else {
		fmt.Fprintln(w, "held by\tnobody")
	}
	fmt.Fprintf(w, "fence\t%d\nwaiting\t%d\n", l.Fence, l.Waiting)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nNODE\tOWNER\tREMAINING\tFENCE\tWAITING")
	for _, a := range l.Answers {
		switch {
		case a.Error != "":
			fmt.Fprintf(w, "%s\tno answer\t\t\t\t%s\n", a.Node, a.Error)
		case a.Held:
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\n", a.Node, orDash(a.Owner), a.Remaining, a.Fence, a.Waiting)
		default:
			fmt.Fprintf(w, "%s\tfree\t\t%d\t%d\n", a.Node, a.Fence, a.Waiting)
		}
	}
	return w.Flush()
}

// orDash shows what others wrote, or that there is nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}
