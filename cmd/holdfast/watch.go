package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/clock"
)

type locksWatchCommand struct {
	nodesFlag
	JSON   bool          `name:"json" help:"Print a JSON object for each event, one per line."`
	Every  time.Duration `default:"1s" help:"How often to look, 100ms or more. It is less often if a look takes long: at most a tenth of the time is spent looking."`
	Prefix string        `arg:"" optional:"" complete:"lock" help:"Only names that begin with this."`
}

// Help is shown below the summary.
func (*locksWatchCommand) Help() string {
	return `On a terminal it shows a table of the locks that are held, and what has happened lately. Elsewhere, and with
--json, it prints a line for each event:

    held          held by somebody when the watch began
    acquired      somebody has it who had not
    released      gone before its time: released, or taken away
    expired       gone when its time was over
    waiting       the number of those who wait has changed
    unreachable   too few nodes answer; the watch goes on
    reachable     they answer again

It looks at the nodes again and again: what begins and ends between two looks is not seen.`
}

// shortestLook bounds what a watch may cost the nodes.
const shortestLook = 100 * time.Millisecond

// Validate is called by the parser.
func (cmd *locksWatchCommand) Validate() error {
	if cmd.Every < shortestLook {
		return fmt.Errorf("--every %v: at least %v", cmd.Every, shortestLook)
	}
	return nil
}

func (cmd *locksWatchCommand) Run() error {
	c, err := cmd.open()
	if err != nil {
		return err
	}
	defer shutDown(c.Close)
	// Unlike elsewhere the second signal does not end the process either, before the terminal is as it was.
	ctx, stop := signal.NotifyContext(context.Background(), endSignals...)
	defer stop()
	var view watchView = &watchLines{out: os.Stdout, json: cmd.JSON}
	if !cmd.JSON && term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("TERM") != "dumb" {
		view = newWatchTable(os.Stdout, cmd.Prefix)
	}
	defer view.close()
	return cmd.watch(ctx, c, view)
}

// A watchView shows a watch to somebody. Its methods are called by one goroutine.
type watchView interface {
	show(l look, events []watchEvent)
	// signals delivers those that concern the view; nil: none does.
	signals() <-chan os.Signal
	signal(os.Signal)
	tick() // a second has passed
	close()
}

// A look is what was seen of the locks at one moment.
type look struct {
	at    clock.Instant
	locks []*client.State // in the order of their names
	err   error
	took  time.Duration
}

// watch looks and shows until ctx ends. It fails only if the first look does.
func (cmd *locksWatchCommand) watch(ctx context.Context, c *client.Client, view watchView) error {
	ctx, cancel := context.WithCancel(ctx)
	looks := make(chan look)
	var looking sync.WaitGroup
	looking.Go(func() { cmd.look(ctx, c, looks) })
	defer looking.Wait()
	defer cancel()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var last *look
	for {
		select {
		case l := <-looks:
			if last == nil && l.err != nil {
				return l.err
			}
			view.show(l, changes(last, &l))
			if l.err != nil { // what was seen before is what the next look is compared with
				l.locks, l.at = last.locks, last.at
			}
			last = &l
		case sig := <-view.signals():
			view.signal(sig)
		case <-ticker.C:
			view.tick()
		case <-ctx.Done():
			return nil
		}
	}
}

func (cmd *locksWatchCommand) look(ctx context.Context, c *client.Client, looks chan<- look) {
	for {
		began := clock.Now()
		bounded, cancel := context.WithTimeout(ctx, askTimeout)
		locks, err := c.List(bounded, cmd.Prefix)
		cancel()
		took := clock.Since(began)
		select {
		case looks <- look{at: clock.Now(), locks: locks, err: err, took: took}:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(max(cmd.Every-took, 9*took)):
		case <-ctx.Done():
			return
		}
	}
}

// A watchEvent is a change between two looks, as --json shows it. docs/cli.md lists the events.
type watchEvent struct {
	Time      string `json:"time"`
	Event     string `json:"event"`
	Name      string `json:"name,omitempty"`
	Owner     string `json:"owner,omitempty"`
	Meta      any    `json:"meta,omitempty"`
	Token     int64  `json:"token,omitempty"`
	Shared    bool   `json:"shared,omitempty"`
	Remaining string `json:"remaining,omitempty"`
	Waiting   int    `json:"waiting"`
	Error     string `json:"error,omitempty"`
}

// changes returns what has happened between two looks; before the first there was none.
func changes(before, now *look) []watchEvent {
	switch {
	case now.err != nil && before != nil && before.err != nil:
		return nil
	case now.err != nil:
		return []watchEvent{{Event: "unreachable", Error: oneLine(now.err)}}
	}
	var events []watchEvent
	old, appears := map[string]*client.State{}, "held"
	if before != nil {
		old, appears = byName(before.locks), "acquired"
		if before.err != nil {
			events = append(events, watchEvent{Event: "reachable"})
		}
	}
	current := byName(now.locks)
	names := maps.Clone(old)
	maps.Copy(names, current)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := old[name], current[name]
		if was != nil && is != nil && (partial(was) || partial(is)) {
			// So many share it that nobody can tell who has come and gone.
			if was.Waiting != is.Waiting {
				events = append(events, eventOf("waiting", is, ownersOf(is)[0]))
			}
			continue
		}
		stays := false
		for _, h := range ownersOf(was) {
			if hasOwner(is, h) {
				stays = true
				continue
			}
			gone := "expired"
			if h.Remaining < 0 || now.at.Sub(before.at) < h.Remaining {
				gone = "released"
			}
			events = append(events, eventOf(gone, was, h))
		}
		for _, h := range ownersOf(is) {
			if !hasOwner(was, h) {
				events = append(events, eventOf(appears, is, h))
			}
		}
		if stays && was.Waiting != is.Waiting {
			events = append(events, eventOf("waiting", is, ownersOf(is)[0]))
		}
	}
	return events
}

// partial tells that more hold a lock shared than the nodes tell of.
func partial(s *client.State) bool { return s.Reading > len(s.Readers) }

func byName(locks []*client.State) map[string]*client.State {
	names := make(map[string]*client.State, len(locks))
	for _, s := range locks {
		names[s.Name] = s
	}
	return names
}

func hasOwner(s *client.State, owner client.Holder) bool {
	return slices.ContainsFunc(ownersOf(s), func(h client.Holder) bool { return h.Digest == owner.Digest })
}

func eventOf(event string, s *client.State, h client.Holder) watchEvent {
	e := watchEvent{Event: event, Name: s.Name, Owner: h.Label, Meta: metaOf(h.Meta), Token: h.Token, Shared: h.Shared, Waiting: s.Waiting}
	if event != "released" && event != "expired" {
		e.Remaining = remaining(h.Remaining)
	}
	return e
}

// text is the event for people, without its time.
func (e *watchEvent) text() string {
	words := fmt.Sprintf("%-12s", e.Event)
	if e.Error != "" {
		words += e.Error
	}
	if e.Name != "" {
		words += fmt.Sprintf("%s by %s, token %s", printable(e.Name), orDash(e.Owner), tokenText(e.Token))
		if e.Shared {
			words += ", shared"
		}
		if e.Waiting > 0 || e.Event == "waiting" {
			words += fmt.Sprintf(", %d waiting", e.Waiting)
		}
	}
	return strings.TrimRight(words, " ")
}

// watchLines shows a watch as lines.
type watchLines struct {
	out  io.Writer
	json bool
}

func (v *watchLines) show(_ look, events []watchEvent) {
	for _, e := range events {
		now := clock.Wall()
		if v.json {
			e.Time = now.Format(time.RFC3339Nano)
			_, _ = io.WriteString(v.out, toJSON(e))
			continue
		}
		fmt.Fprintf(v.out, "%s %s\n", now.Format(time.RFC3339), e.text())
	}
}

func (v *watchLines) signals() <-chan os.Signal { return nil }
func (v *watchLines) signal(os.Signal)          {}
func (v *watchLines) tick()                     {}
func (v *watchLines) close()                    {}

// newest returns the last n of the events, oldest first.
func newest[T any](events []T, n int) []T { return slices.Clone(events[max(len(events)-n, 0):]) }
