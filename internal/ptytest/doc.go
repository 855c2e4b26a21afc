// Package ptytest runs programs on a pseudo-terminal for anybody's test, types for them, and says what the terminal
// shows. It is for Linux; elsewhere the package is empty.
package ptytest
