// Command holdfast is everything that Holdfast is, in one binary: a node, the HTTP sidecar lockd, both of them
// five times over for a first look (dev), and the ways to take and to see locks from a shell.
//
// Each subcommand has a file of its own, which turns flags into the configuration of a package and waits.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"
)

// Exit codes that are ours. They are those of sysexits.h, which shell scripts know from flock(1) and others,
// and far from the small numbers that programs use for themselves.
const (
	exitFailed      = 1
	exitUsage       = 64 // EX_USAGE: the command line makes no sense
	exitNotAcquired = 75 // EX_TEMPFAIL: lock: somebody else has it, or too few nodes answered
	exitLost        = 76 // lock: the lock was lost while the command ran, which was told to end or killed
)

type commandLine struct {
	Dev     devCommand     `cmd:"" help:"Run five nodes and lockd in this process, to try things out."`
	Server  serverCommand  `cmd:"" help:"Run one node, which any Redis client can talk to."`
	Lockd   lockdCommand   `cmd:"" help:"Run the HTTP API for programs in any language."`
	Lock    lockCommand    `cmd:"" help:"Run a command while holding a lock."`
	Locks   locksCommand   `cmd:"" help:"Look at locks, and take them away."`
	Version versionCommand `cmd:"" help:"Print the version."`

	Completion completionCommand `cmd:"" help:"Print a script that makes a shell complete command lines."`
	Complete   completeCommand   `cmd:"" name:"__complete" hidden:""`
}

func main() { os.Exit(run(os.Args[1:])) }

// silence takes go-redis's own log messages, which would go to standard error by themselves. What there is
// to say of a connection, package client says.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// newParser returns the parser of a command line.
func newParser(line *commandLine) *kong.Kong {
	parser, err := kong.New(line, kong.Name("holdfast"),
		kong.Description("Locks over independent nodes, with fencing tokens."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}), kong.Help(printHelp),
		kong.KindMapper(reflect.String, verbatim{}))
	if err != nil {
		panic(err) // a mistake in the tags
	}
	forgetEmpty(parser.Model.Node)
	return parser
}

// verbatim takes texts as they were given. kong's own mapper passes them through JSON, which puts U+FFFD for what is
// not UTF-8; but names of files and of locks are bytes, and the command of lock must get those that were typed.
type verbatim struct{}

func (verbatim) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("string")
	if err != nil {
		return err
	}
	target.SetString(token.String())
	return nil
}

func run(args []string) int {
	redis.SetLogger(silence{})
	var line commandLine
	parser := newParser(&line)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		err = &exitError{exitUsage, fmt.Errorf("%w (see %s --help)", err, misunderstood(err))}
	} else {
		err = ctx.Run()
	}
	if err == nil {
		return 0
	}
	code := exitFailed
	if exit := (*exitError)(nil); errors.As(err, &exit) {
		code, err = exit.code, exit.err
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "holdfast:", oneLine(err))
	}
	return code
}

// misunderstood returns the command whose help tells what is wrong with the command line.
func misunderstood(err error) string {
	if parse := (*kong.ParseError)(nil); errors.As(err, &parse) {
		if command := parse.Context.Selected(); command != nil {
			return command.FullPath()
		}
	}
	return "holdfast"
}

// forgetEmpty makes an environment variable that is empty count as one that is not set, where an empty text could
// only be a mistake.
func forgetEmpty(node *kong.Node) {
	for _, flag := range node.Flags {
		if flag.Target.Kind() != reflect.String {
			flag.Tag.Envs = slices.DeleteFunc(slices.Clone(flag.Tag.Envs), func(name string) bool { return os.Getenv(name) == "" })
		}
	}
	for _, child := range node.Children {
		forgetEmpty(child)
	}
}

// An exitError ends the process with a code of its own.
type exitError struct {
	code int
	err  error // what to say on standard error; nil: nothing
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// oneLine makes one line of an error that joins several. An error may repeat what others wrote, the reason of an
// eviction or a node's words: what could do something to the terminal is shown as Go would quote it.
func oneLine(err error) string {
	var line strings.Builder
	text := err.Error()
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == '\n':
			line.WriteString("; ")
		case r == utf8.RuneError && size == 1, !unicode.IsPrint(r):
			quoted := strconv.Quote(text[:size])
			line.WriteString(quoted[1 : len(quoted)-1])
		default:
			line.WriteString(text[:size])
		}
		text = text[size:]
	}
	return line.String()
}
