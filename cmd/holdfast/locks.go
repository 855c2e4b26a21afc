package main

import (
	"errors"
	"os"
	"time"

	"github.com/holdfast-dev/holdfast/client"
)

type locksCommand struct {
	Ls      locksLsCommand      `cmd:"" help:"List the locks that are held."`
	Inspect locksInspectCommand `cmd:"" help:"Show one lock and what each node says of it."`
	Watch   locksWatchCommand   `cmd:"" help:"Show who gets and leaves which lock, until Ctrl-C."`
	Evict   locksEvictCommand   `cmd:"" help:"Take a lock from its holder when it ends: no more renewals."`
	Release locksReleaseCommand `cmd:"" help:"Take a lock from its holder now, which breaks exclusion."`
}

// askTimeout bounds a question to the nodes.
const askTimeout = 30 * time.Second

type locksLsCommand struct {
	nodesFlag
	JSON   bool   `name:"json" help:"Print a JSON array."`
	Prefix string `arg:"" optional:"" complete:"lock" help:"Only names that begin with this."`
}

func (cmd *locksLsCommand) Run() error {
	c, err := cmd.open()
	if err != nil {
		return err
	}
	ctx, cancel := timeout(askTimeout)
	defer cancel()
	states, err := c.List(ctx, cmd.Prefix)
	if closeErr := shutDown(c.Close); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	locks := make([]lockInfo, 0, len(states))
	for _, state := range states {
		locks = append(locks, infoOf(state, state.Answered))
	}
	if cmd.JSON {
		return printJSON(locks)
	}
	return printTable(os.Stdout, locks)
}

type locksInspectCommand struct {
	nodesFlag
	JSON bool   `name:"json" help:"Print a JSON object."`
	Name string `arg:"" complete:"lock" help:"Name of the lock."`
}

func (cmd *locksInspectCommand) Run() error {
	c, err := cmd.open()
	if err != nil {
		return err
	}
	ctx, cancel := timeout(askTimeout)
	defer cancel()
	state, err := c.InspectAll(ctx, cmd.Name)
	if closeErr := shutDown(c.Close); err == nil {
		err = closeErr
	}
	if errors.Is(err, client.ErrInvalid) {
		return &exitError{exitUsage, err}
	}
	if err != nil {
		return err
	}
	info := infoOf(state, len(state.Nodes))
	info.Answers = answersOf(state)
	if cmd.JSON {
		return printJSON(info)
	}
	return printLock(os.Stdout, info)
}
