package main

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// What a watch says to a terminal: the alternate screen keeps what was there before, without a cursor and without
// wrapping nothing flickers or moves.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	homeCursor  = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
	bold        = "\x1b[1m"
	plain       = "\x1b[0m"
)

// watchTable shows a watch on a terminal: who has which lock, and what has happened lately.
type watchTable struct {
	out    *os.File
	prefix string
	sigs   chan os.Signal
	last   look  // the last one that succeeded
	failed error // of the last one
	lately []happened
	drawn  bool // the screen is ours
}

type happened struct {
	at    time.Time
	event watchEvent
}

// mostLately is how many events a table remembers.
const mostLately = 50

func newWatchTable(out *os.File, prefix string) *watchTable {
	v := &watchTable{out: out, prefix: prefix, sigs: make(chan os.Signal, 4)}
	if sigs := append(slices.Clone(resizeSignals), stopSignals...); len(sigs) > 0 {
		signal.Notify(v.sigs, sigs...)
	}
	return v
}

func (v *watchTable) signals() <-chan os.Signal { return v.sigs }

// signal draws anew for another size; before a stop it gives the terminal back, and takes it again after.
func (v *watchTable) signal(sig os.Signal) {
	if slices.Contains(stopSignals, sig) {
		v.leave()
		stopSelf()
	}
	v.leaveUndrawn()
	v.tick()
}

// leaveUndrawn makes the next drawing begin with an empty screen.
func (v *watchTable) leaveUndrawn() {
	if v.drawn {
		_, _ = v.out.WriteString("\x1b[2J")
	}
}

func (v *watchTable) show(l look, events []watchEvent) {
	if v.failed = l.err; l.err == nil {
		v.last = l
	}
	now := clock.Wall()
	for _, e := range events {
		v.lately = newest(append(v.lately, happened{now, e}), mostLately)
	}
	v.tick()
}

// tick draws: the time that is left to each lock runs.
func (v *watchTable) tick() {
	if v.last.at == 0 {
		return
	}
	width, height, err := term.GetSize(int(v.out.Fd()))
	if err != nil || width < 1 || height < 1 {
		width, height = 80, 24
	}
	var screen strings.Builder
	if !v.drawn {
		screen.WriteString(enterScreen)
		v.drawn = true
	}
	screen.WriteString(homeCursor)
	for i, line := range v.lines(width, height) {
		if i > 0 {
			screen.WriteString("\r\n")
		}
		screen.WriteString(clearLine + line) // not behind it: the last cell of a full line would be cleared
	}
	screen.WriteString(clearBelow)
	_, _ = v.out.WriteString(screen.String())
}

func (v *watchTable) leave() {
	if v.drawn {
		_, _ = v.out.WriteString(leaveScreen)
		v.drawn = false
	}
}

// close gives the terminal back and leaves the last table on it.
func (v *watchTable) close() {
	signal.Stop(v.sigs)
	if !v.drawn {
		return
	}
	v.leave()
	locks := make([]lockInfo, 0, len(v.last.locks))
	for _, state := range v.last.locks {
		locks = append(locks, infoOf(state, state.Answered))
	}
	_ = printTable(v.out, locks)
}

// lines returns what the screen shows: a title, the table, and what is left of the height for what has happened.
func (v *watchTable) lines(width, height int) []string {
	rows := v.rows()
	count := len(rows) - 1
	lines := []string{cut(v.title(count), width)}
	if room := height - 1; len(rows) > room && room > 1 {
		rows = append(rows[:room-1], []string{fmt.Sprintf("... and %d more", count-(room-2))})
	}
	for i, line := range layOut(rows, width) {
		if i == 0 {
			line = bold + line + plain
		}
		lines = append(lines, line)
	}
	lines = lines[:min(len(lines), height)]
	if room := height - len(lines) - 1; room > 0 && len(v.lately) > 0 {
		lines = append(lines, "")
		for _, h := range newest(v.lately, room) {
			lines = append(lines, cut(h.at.Format(time.TimeOnly)+" "+h.event.text(), width))
		}
	}
	return lines
}

func (v *watchTable) title(count int) string {
	what := "locks"
	if count == 1 {
		what = "lock"
	}
	title := fmt.Sprintf("%d %s", count, what)
	if v.prefix != "" {
		title += " in " + printable(v.prefix)
	}
	if v.failed != nil {
		return fmt.Sprintf("%s %v ago, NO ANSWER since: %s", title, clock.Since(v.last.at).Round(time.Second), oneLine(v.failed))
	}
	return title + "  " + clock.Wall().Format(time.TimeOnly) + "  Ctrl-C ends"
}

// rows are the table's cells, the headings first.
func (v *watchTable) rows() [][]string {
	rows := [][]string{{"NAME", "OWNER", "REMAINING", "WAITING", "TOKEN", "NODES"}}
	gone := clock.Since(v.last.at)
	for _, state := range v.last.locks {
		l := infoOf(state, state.Answered)
		left := l.Remaining
		if owners := ownersOf(state); owners[0].Remaining >= 0 {
			left = max(owners[0].Remaining-gone, 0).Round(100 * time.Millisecond).String()
		}
		rows = append(rows, []string{printable(l.Name), whose(l.Owner, l.Reading), left, fmt.Sprint(l.Waiting), tokenText(l.Token), l.Nodes})
	}
	return rows
}

// The narrowest that names and owners become before whole columns are left out, the last ones first.
const (
	narrowName  = 16
	narrowOwner = 8
)

// layOut makes a line of each row, none wider than width. A row of one cell is a remark.
func layOut(rows [][]string, width int) []string {
	columns := len(rows[0])
	widths := make([]int, columns)
	for _, row := range rows {
		for i, cell := range row {
			if len(row) > 1 {
				widths[i] = max(widths[i], cells(cell))
			}
		}
	}
	for ; columns > 1; columns-- {
		over := (columns-1)*2 - width
		for _, w := range widths[:columns] {
			over += w
		}
		if over <= 0 {
			break
		}
		fromOwner := min(over, max(widths[1]-narrowOwner, 0))
		fromName := min(over-fromOwner, max(widths[0]-narrowName, 0))
		if fromOwner+fromName == over {
			widths[0], widths[1] = widths[0]-fromName, widths[1]-fromOwner
			break
		}
	}
	lines := make([]string, 0, len(rows))
	for _, row := range rows {
		line := ""
		for i, cell := range row[:min(columns, len(row))] {
			if i > 0 {
				line += "  "
			}
			if len(row) > 1 {
				cell = cut(cell, widths[i])
				cell += strings.Repeat(" ", widths[i]-cells(cell))
			}
			line += cell
		}
		lines = append(lines, cut(strings.TrimRight(line, " "), width))
	}
	return lines
}

// cut cuts a text to a number of cells; the last one then says so.
func cut(text string, width int) string {
	if cells(text) <= width {
		return text
	}
	n := 0
	for i, r := range text {
		if n += cellsOf(r); n > width-1 {
			return text[:i] + "…"[:min(width, 1)*len("…")]
		}
	}
	return text
}

func cells(text string) int {
	n := 0
	for _, r := range text {
		n += cellsOf(r)
	}
	return n
}

// wide are the scripts whose characters take two cells of a terminal.
var wide = []*unicode.RangeTable{unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana, {
	R16: []unicode.Range16{{Lo: 0x3000, Hi: 0x303e, Stride: 1}, {Lo: 0xff01, Hi: 0xff60, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0x1f300, Hi: 0x1faff, Stride: 1}},
}}

// cellsOf is how many cells of a terminal a character takes.
func cellsOf(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.In(r, wide...):
		return 2
	}
	return 1
}
