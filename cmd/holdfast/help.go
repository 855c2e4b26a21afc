package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// printHelp is kong's help with a first line that can be typed: flags stand before the arguments, since behind
// the name of a lock they are the command's own, and what an environment variable may say is not asked for.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	if node := ctx.Selected(); node != nil {
		options.NoAppSummary = true
		fmt.Fprintln(ctx.Stdout, "Usage:", usageOf(node))
	}
	return kong.DefaultHelpPrinter(options, ctx)
}

func usageOf(node *kong.Node) string {
	words := []string{node.FullPath()}
	if len(node.Children) > 0 {
		return strings.Join(append(words, "<command>"), " ")
	}
	flags := false
	for _, flag := range node.Flags {
		if flag.Required && len(flag.Envs) == 0 {
			words = append(words, flag.Summary())
		} else {
			flags = true
		}
	}
	if flags {
		words = append(words, "[flags]")
	}
	for _, arg := range node.Positional {
		if arg.PassthroughMode != kong.PassThroughModeNone {
			words = append(words, "--")
		}
		words = append(words, arg.Summary())
	}
	return strings.Join(words, " ")
}
