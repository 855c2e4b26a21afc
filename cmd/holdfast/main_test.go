package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Ensure that an error is one line that does nothing to a terminal, whatever others have written into it.
func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"a\nb":                          "a; b",
		"evicted: \x1b[2Jgone\r":        `evicted: \x1b[2Jgone\r`,
		"tab\tbell\a, \u202eright":      `tab\tbell\a, \u202eright`,
		"bytes \xff\xe9":                `bytes \xff\xe9`,
		`as it is: "ü日本" 'x' \n \ufffd`: `as it is: "ü日本" 'x' \n \ufffd`,
		"its own \ufffd":                "its own \ufffd",
	} {
		assert.Equal(t, want, oneLine(errors.New(text)), "%q", text)
	}
}

// Ensure that names are quoted if they could do something to the terminal or the table, or look like others.
func TestPrintable(t *testing.T) {
	for name, want := range map[string]string{
		"orders/42": "orders/42", "ü日本": "ü日本", "its own \ufffd": "\"its own \ufffd\"", "\ufffd": "\ufffd",
		"a b": `"a b"`, "a\nb": `"a\nb"`, "\x1b[31m": `"\x1b[31m"`, "\xff": `"\xff"`, "\xfe": `"\xfe"`,
	} {
		assert.Equal(t, want, printable(name), "%q", name)
	}
}
