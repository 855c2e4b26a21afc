package main

import (
	"fmt"

	"github.com/holdfast-dev/holdfast/server"
)

// memory is a number of bytes as redis.conf writes them: 512mb.
type memory int64

// UnmarshalText reads a flag's value.
func (m *memory) UnmarshalText(text []byte) error {
	n, ok := server.ParseMemory(string(text))
	if !ok {
		return fmt.Errorf("%q is not a number of bytes such as 1048576, 64kb or 512mb", text)
	}
	*m = memory(n)
	return nil
}
