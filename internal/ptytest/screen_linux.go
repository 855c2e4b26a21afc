package ptytest

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Shown is what a terminal shows.
type Shown struct {
	Lines []string // one for each row, without blanks at their ends
	// Alternate tells that it is the alternate screen, behind which the regular one is kept.
	Alternate bool
	Cursor    bool // it is visible
	Wrap      bool // long lines go on in the next row
}

// A screen understands as much of what terminals do as our own programs ask of them. Each character is one cell wide.
type screen struct {
	rows, cols int
	cells      [][]rune
	row, col   int
	kept       [][]rune // the regular screen, while the alternate one is shown
	keptRow    int      // and where its cursor was
	keptCol    int
	alternate  bool
	hidden     bool // the cursor
	cut        bool // no wrapping
	rest       string
}

func newScreen(rows, cols int) *screen {
	return &screen{rows: rows, cols: cols, cells: blank(rows, cols)}
}

func blank(rows, cols int) [][]rune {
	cells := make([][]rune, rows)
	for i := range cells {
		cells[i] = []rune(strings.Repeat(" ", cols))
	}
	return cells
}

func (s *screen) resize(rows, cols int) {
	s.cells, s.rows, s.cols = fitted(s.cells, rows, cols), rows, cols
	if s.kept != nil {
		s.kept = fitted(s.kept, rows, cols)
	}
	s.row, s.col = min(s.row, rows-1), min(s.col, cols-1)
}

func fitted(old [][]rune, rows, cols int) [][]rune {
	cells := blank(rows, cols)
	for i := range min(rows, len(old)) {
		copy(cells[i], old[i])
	}
	return cells
}

func (s *screen) shown() Shown {
	shown := Shown{Alternate: s.alternate, Cursor: !s.hidden, Wrap: !s.cut}
	for _, line := range s.cells {
		shown.Lines = append(shown.Lines, strings.TrimRight(string(line), " "))
	}
	return shown
}

// sequence is what begins with escape: a control sequence, one with a string that ends with BEL, or two characters.
var sequence = regexp.MustCompile(`^\x1b(\[[?>]?[0-9;]*[a-zA-Z]|\][^\a]*\a|[^\[\]])`)

func (s *screen) write(text string) {
	s.rest += text
	for s.rest != "" {
		if s.rest[0] == '\x1b' {
			one := sequence.FindString(s.rest)
			if one == "" {
				return // the rest is still to come
			}
			s.control(one)
			s.rest = s.rest[len(one):]
			continue
		}
		if !utf8.FullRuneInString(s.rest) {
			return
		}
		r, n := utf8.DecodeRuneInString(s.rest)
		s.rest = s.rest[n:]
		s.put(r)
	}
}

func (s *screen) put(r rune) {
	switch {
	case r == '\r':
		s.col = 0
	case r == '\n':
		s.down()
	case r == '\b':
		s.col = max(s.col-1, 0)
	case r < ' ':
	default:
		if s.col == s.cols {
			if s.cut {
				s.col--
			} else {
				s.col = 0
				s.down()
			}
		}
		s.cells[s.row][s.col] = r
		s.col++
	}
}

// down goes to the next row; at the last one everything moves up.
func (s *screen) down() {
	if s.row < s.rows-1 {
		s.row++
		return
	}
	s.cells = append(s.cells[1:], blank(1, s.cols)...)
}

func (s *screen) control(one string) {
	if len(one) < 3 || one[1] != '[' {
		return
	}
	body, final := one[2:len(one)-1], one[len(one)-1]
	n, _ := strconv.Atoi(strings.TrimPrefix(body, "?"))
	switch {
	case final == 'H' && body == "":
		s.row, s.col = 0, 0
	case final == 'K' && n == 0:
		s.erase(s.row, s.col)
	case final == 'J' && n == 0:
		s.erase(s.row, s.col)
		for row := s.row + 1; row < s.rows; row++ {
			s.erase(row, 0)
		}
	case final == 'J' && n == 2:
		s.cells = blank(s.rows, s.cols)
	case final == 'h' || final == 'l':
		s.mode(body, final == 'h')
	}
}

func (s *screen) erase(row, col int) {
	for i := col; i < s.cols; i++ {
		s.cells[row][i] = ' '
	}
}

func (s *screen) mode(body string, on bool) {
	switch body {
	case "?25":
		s.hidden = !on
	case "?7":
		s.cut = !on
	case "?1049":
		if on && !s.alternate {
			s.kept, s.cells = s.cells, blank(s.rows, s.cols)
			s.keptRow, s.keptCol = s.row, s.col
		} else if !on && s.alternate {
			s.cells, s.kept = s.kept, nil
			s.row, s.col = min(s.keptRow, s.rows-1), min(s.keptCol, s.cols-1)
		}
		s.alternate = on
	}
}
