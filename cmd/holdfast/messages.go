package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// A lockEvent is something that `holdfast lock` tells of itself, as --json shows it. docs/cli.md lists the events.
type lockEvent struct {
	Time      string `json:"time"`
	Event     string `json:"event"`
	Name      string `json:"name"`
	Token     int64  `json:"token,omitempty"`
	Slot      *int   `json:"slot,omitempty"`      // of --slots
	Deadline  string `json:"deadline,omitempty"`  // when the lock ends unless it is renewed
	Owner     string `json:"owner,omitempty"`     // waiting: who has the lock
	Remaining string `json:"remaining,omitempty"` // until the lock ends unless it is renewed
	Waiting   *int   `json:"waiting,omitempty"`   // waiting: how many wait, this process included
	Code      *int   `json:"code,omitempty"`      // ended: the exit code
	Error     string `json:"error,omitempty"`
}

// messages takes what is to be said on standard error while a command runs under a lock. A reader who does not
// read must not keep anybody from looking after the command, so the lines are written by a goroutine, and what
// it cannot get rid of is left out.
type messages struct {
	json  bool
	lines chan string
	done  chan struct{}
	once  sync.Once
}

// unsaid is how many lines may wait for a reader.
const unsaid = 64

func newMessages(out io.Writer, json bool) *messages {
	m := &messages{json: json, lines: make(chan string, unsaid), done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for line := range m.lines {
			_, _ = io.WriteString(out, line)
		}
	}()
	return m
}

// say says the event, or the text, whichever was asked for; an empty text is for those who asked for events.
func (m *messages) say(e lockEvent, format string, args ...any) {
	line := ""
	switch {
	case m.json:
		e.Time = clock.Wall().Format(time.RFC3339Nano)
		line = toJSON(e)
	case format != "":
		line = "holdfast: " + fmt.Sprintf(format, args...) + "\n"
	}
	if line == "" {
		return
	}
	select {
	case m.lines <- line:
	default:
	}
}

// end waits until all was said. Nothing may be said after it.
func (m *messages) end() {
	m.once.Do(func() { close(m.lines) })
	<-m.done
}

// toJSON returns one line with a newline.
func toJSON(v any) string {
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // a type of ours that has no JSON
	}
	return text.String()
}

// printJSON prints for people and programs.
func printJSON(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
