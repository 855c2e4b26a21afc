package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// A lockInfo is a lock as --json shows it. Durations are written as Go writes them: "1.5s".
type lockInfo struct {
	Name      string   `json:"name"`
	Held      bool     `json:"held"`
	Owner     string   `json:"owner,omitempty"`     // the holder's label; empty if it left none
	Meta      any      `json:"meta,omitempty"`      // what the holder shows beside it, as JSON if it is JSON
	Token     int64    `json:"token,omitempty"`     // the holder's fencing token
	Remaining string   `json:"remaining,omitempty"` // "none": the key has no ttl
	Fence     int64    `json:"fence"`               // no token was ever higher
	Waiting   int      `json:"waiting"`
	Shared    bool     `json:"shared,omitempty"`  // then owner and so on are those of the first of the readers
	Reading   int      `json:"reading,omitempty"` // how many hold it shared
	Readers   []reader `json:"readers,omitempty"` // who holds for longest first; not all if there are very many
	Nodes     string   `json:"nodes,omitempty"`   // at how many of the nodes that answered the holder's lock is, "5/5"
	Answers   []answer `json:"answers,omitempty"`
}

// A reader is one who holds a lock shared.
type reader struct {
	Owner     string `json:"owner,omitempty"`
	Meta      any    `json:"meta,omitempty"`
	Token     int64  `json:"token,omitempty"`
	Remaining string `json:"remaining,omitempty"`
	Nodes     string `json:"nodes,omitempty"`
}

// An answer is what one node says of a lock.
type answer struct {
	Node      string `json:"node"`
	Error     string `json:"error,omitempty"`
	Held      bool   `json:"held"`
	Owner     string `json:"owner,omitempty"`
	Token     int64  `json:"token,omitempty"`
	Remaining string `json:"remaining,omitempty"`
	Readers   int    `json:"readers,omitempty"` // how many hold it shared there; owner and so on are those of the first
	Fence     int64  `json:"fence"`
	Waiting   int    `json:"waiting"`
}

// infoOf shows a lock as held at so many of the nodes that were asked. List does not wait for all of them.
func infoOf(state *redlock.State, asked int) lockInfo {
	info := lockInfo{Name: state.Name, Held: !state.Free(), Fence: state.Fence, Waiting: state.Waiting}
	for i, h := range ownersOf(state) {
		one := reader{h.Label, metaOf(h.Meta), h.Token, remaining(h.Remaining), fmt.Sprintf("%d/%d", h.Nodes, asked)}
		if i == 0 {
			info.Owner, info.Meta, info.Token, info.Remaining, info.Nodes = one.Owner, one.Meta, one.Token, one.Remaining, one.Nodes
		}
		if h.Shared {
			info.Shared, info.Readers = true, append(info.Readers, one)
			info.Reading = max(state.Reading, len(info.Readers))
		}
	}
	return info
}

// ownersOf returns those who hold a lock, who holds for longest first; of nil it is nobody.
func ownersOf(state *client.State) []client.Holder {
	switch {
	case state == nil:
		return nil
	case state.Holder == nil:
		return state.Readers
	}
	return []client.Holder{*state.Holder}
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
		case len(n.Reply.Readers) > 0:
			first := n.Reply.Readers[0]
			a.Held, a.Owner, a.Token, a.Remaining = true, first.Label, first.Token, remaining(first.Remaining)
			a.Readers = len(n.Reply.Readers)
		case n.Reply.Digest != "":
			a.Held, a.Owner, a.Token, a.Remaining = true, n.Reply.Label, n.Reply.Token, remaining(n.Reply.Remaining)
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

// printable shows a name that could do something to the terminal, or to the table, in quotes; and one that is not
// UTF-8, since a terminal shows the same of all of those.
func printable(s string) string {
	if !utf8.ValidString(s) {
		return strconv.Quote(s)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || unicode.IsSpace(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

func printTable(out io.Writer, locks []lockInfo) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tOWNER\tREMAINING\tTOKEN\tWAITING\tNODES")
	for _, l := range locks {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", printable(l.Name), whose(l.Owner, l.Reading), l.Remaining, tokenText(l.Token), l.Waiting, l.Nodes)
	}
	return w.Flush()
}

func printLock(out io.Writer, l lockInfo) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "name\t%s\n", printable(l.Name))
	switch {
	case l.Shared:
		for _, r := range l.Readers {
			fmt.Fprintf(w, "shared by\t%s, for another %s, on %s nodes, token %s", orDash(r.Owner), r.Remaining, r.Nodes, tokenText(r.Token))
			if r.Meta != nil {
				fmt.Fprintf(w, ", %s", metaText(r.Meta))
			}
			fmt.Fprintln(w)
		}
		if more := l.Reading - len(l.Readers); more > 0 {
			fmt.Fprintf(w, "\tand %d more\n", more)
		}
	case l.Held:
		fmt.Fprintf(w, "held by\t%s, for another %s, on %s nodes\n", orDash(l.Owner), l.Remaining, l.Nodes)
		fmt.Fprintf(w, "token\t%s\n", tokenText(l.Token))
		if l.Meta != nil {
			fmt.Fprintf(w, "meta\t%s\n", metaText(l.Meta))
		}
	default:
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
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\n", a.Node, whose(a.Owner, a.Readers), a.Remaining, a.Fence, a.Waiting)
		default:
			fmt.Fprintf(w, "%s\tfree\t\t%d\t%d\n", a.Node, a.Fence, a.Waiting)
		}
	}
	return w.Flush()
}

// metaOf is what a holder shows beside its label: what its JSON says if it is JSON, otherwise the text.
func metaOf(text string) any {
	if text == "" {
		return nil
	}
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return text
}

// metaText shows an object of texts, as --meta makes it, as pairs.
func metaText(meta any) string {
	raw, ok := meta.(json.RawMessage)
	if !ok {
		return printable(meta.(string))
	}
	var pairs map[string]string
	if json.Unmarshal(raw, &pairs) != nil {
		return printable(string(raw))
	}
	var words []string
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		words = append(words, printable(key+"="+pairs[key]))
	}
	return strings.Join(words, " ")
}

// tokenText shows a fencing token; holders that are not ours have none.
func tokenText(token int64) string {
	if token == 0 {
		return "-"
	}
	return strconv.FormatInt(token, 10)
}

// whose shows the owner of a lock, or the first of those who share it.
func whose(owner string, readers int) string {
	switch {
	case readers == 0:
		return orDash(owner)
	case readers == 1:
		return orDash(owner) + ", shared"
	}
	return fmt.Sprintf("%s and %d more, shared", orDash(owner), readers-1)
}

// orDash shows what others wrote, or that there is nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}
