package main

import "strings"

// A bashLine is a command line up to the cursor, as bash sees it.
type bashLine struct {
	words []string // without the program's name; the last one is the one at the cursor
	// The last word as it was typed, and which of its bytes were quoted or escaped, so that they end no word.
	raw    string
	plain  []bool // by byte of the last word's value: neither quoted nor escaped
	quoted byte   // the quote that is still open, or 0
}

// readLine takes a line apart: blanks between words, quotes, backslashes. It does not expand anything.
func readLine(text string) bashLine {
	var line bashLine
	var word []byte
	begun, escaped := false, false
	end := func() {
		if begun {
			line.words = append(line.words, string(word))
		}
		word, line.plain, begun = nil, nil, false
	}
	put := func(b byte, plain bool) {
		word, line.plain, begun = append(word, b), append(line.plain, plain), true
	}
	for i := range len(text) {
		switch b := text[i]; {
		case escaped:
			put(b, false)
			escaped = false
		case line.quoted == '\'' && b != '\'', line.quoted == '"' && b != '"' && b != '\\':
			put(b, false)
		case line.quoted != 0 && b == line.quoted:
			line.quoted = 0
		case b == '\\':
			escaped, begun = true, true
		case b == '\'' || b == '"':
			line.quoted, begun = b, true
		case b == ' ' || b == '\t' || b == '\n':
			end()
		default:
			put(b, true)
		}
	}
	line.words = append(line.words, string(word))
	// What stands before the program's name are assignments.
	for len(line.words) > 1 && isAssignment(line.words[0]) {
		line.words = line.words[1:]
	}
	if len(line.words) > 1 {
		line.words = line.words[1:]
	}
	return line
}

func isAssignment(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && name != "" && !strings.ContainsAny(name, "/-.")
}

// special are the characters that mean something to bash in the middle of a word.
const special = " \t\"'`$\\|&;()<>*?[]{}!#~"

// fit makes of the candidates what bash puts in place of the end of the last word: behind the last character
// at which bash breaks words, and written so that bash reads it as it is.
func (line *bashLine) fit(c *completion, breaks string) {
	cur := line.words[len(line.words)-1]
	keep := 0
	for i := range len(line.plain) {
		if i < len(cur) && line.plain[i] && strings.IndexByte(breaks, cur[i]) >= 0 {
			keep = i + 1
		}
	}
	if line.quoted != 0 {
		// Readline's word begins behind the quote, which is where bytes begin to be quoted for good.
		for keep = len(line.plain); keep > 0 && !line.plain[keep-1]; keep-- {
		}
	}
	for i, one := range c.candidates {
		text := one.text[min(keep, len(one.text)):]
		if line.quoted == 0 {
			text = escape(text)
		}
		c.candidates[i].text = text
	}
}

func escape(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if strings.IndexByte(special, text[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
