package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/clock"
)

// revokeFlags are what evict and release have in common.
type revokeFlags struct {
	nodesFlag
	Reason string `required:"" placeholder:"TEXT" help:"Why, at most 256 bytes."`
	JSON   bool   `name:"json" help:"Print a JSON object."`
	Name   string `arg:"" complete:"lock" help:"Name of the lock."`
}

// Validate is called by the parser.
func (f *revokeFlags) Validate() error {
	if strings.TrimSpace(f.Reason) == "" {
		return errors.New("--reason: somebody will want to know why")
	}
	return nil
}

type locksEvictCommand struct{ revokeFlags }

// Help is shown below the summary.
func (*locksEvictCommand) Help() string {
	return `The holder can no longer renew, and the lock stays exclusive until the holder lets go of it or it ends by itself.
A command under holdfast lock is killed as soon as it is known there, mostly within a third of the ttl.`
}

func (cmd *locksEvictCommand) Run() error {
	c, err := cmd.open()
	if err != nil {
		return err
	}
	defer shutDown(c.Close)
	ctx, cancel := timeout(askTimeout)
	defer cancel()
	done, err := c.Evict(ctx, cmd.Name, cmd.Reason)
	if errors.Is(err, client.ErrForeign) {
		err = fmt.Errorf("%w: only release --force takes the lock from it", err)
	}
	if err != nil {
		return revokeError(err)
	}
	return cmd.print(os.Stdout, "evicted", done)
}

type locksReleaseCommand struct {
	revokeFlags
	Force bool `help:"Must be given: the holder is not asked, and may be at work."`
	Yes   bool `help:"Do not ask at a terminal whether it is meant."`
}

// Help is shown below the summary.
func (*locksReleaseCommand) Help() string {
	return `The next who waits gets the lock now, while its holder may still believe that it has it: this breaks exclusion. Only
what checks fencing tokens is safe until the time that is printed. Whoever can wait should use evict.

It is also the way to be rid of a key that is no lock of this protocol and has no ttl.`
}

// Validate is called by the parser.
func (cmd *locksReleaseCommand) Validate() error {
	if !cmd.Force {
		return errors.New("release takes the lock from somebody who may be at work: say --force, or evict it")
	}
	return cmd.revokeFlags.Validate()
}

func (cmd *locksReleaseCommand) Run() error {
	c, err := cmd.open()
	if err != nil {
		return err
	}
	defer shutDown(c.Close)
	var opts []client.RevokeOption
	if !cmd.Yes && term.IsTerminal(int(os.Stdin.Fd())) {
		if opts, err = cmd.confirm(c, os.Stdin, os.Stderr); err != nil {
			return revokeError(err)
		}
	}
	ctx, cancel := timeout(askTimeout)
	defer cancel()
	done, err := c.ForceUnlock(ctx, cmd.Name, cmd.Reason, opts...)
	if err != nil {
		return revokeError(err)
	}
	return cmd.print(os.Stdout, "released", done)
}

// confirm shows who has the lock and asks. Whoever has it by the time of the answer is not whom the answer was
// about: the options say so.
func (cmd *locksReleaseCommand) confirm(c *client.Client, in io.Reader, out io.Writer) ([]client.RevokeOption, error) {
	ctx, cancel := timeout(askTimeout)
	defer cancel()
	state, err := c.Inspect(ctx, cmd.Name)
	if err != nil {
		return nil, err
	}
	owners := ownersOf(state)
	fmt.Fprintf(out, "Release %s by force? ", printable(cmd.Name))
	for _, h := range owners {
		fmt.Fprintf(out, "%s (token %s) has it, for another %s unless it is renewed.\n", orDash(h.Label), tokenText(h.Token), remaining(h.Remaining))
	}
	switch len(owners) {
	case 0:
		fmt.Fprintln(out, "Nobody has it on a majority of the nodes.")
	default:
		fmt.Fprintln(out, "That may be at work, and would share the lock with whoever gets it next.")
	}
	fmt.Fprint(out, "[y/N] ")
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && answer == "" {
		fmt.Fprintln(out)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
	default:
		return nil, errors.New("nothing was done")
	}
	if len(owners) == 1 {
		return []client.RevokeOption{client.Only(owners[0].Digest)}, nil
	}
	return nil, nil
}

func revokeError(err error) error {
	if errors.Is(err, client.ErrInvalid) {
		return &exitError{exitUsage, err}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("not confirmed within %v, it may have been done nevertheless: %w", askTimeout, err)
	}
	return err
}

// A revocationInfo is what evict and release have done, as --json shows it.
type revocationInfo struct {
	Name      string      `json:"name"`
	Action    string      `json:"action"` // "evicted" or "released"
	Reason    string      `json:"reason"`
	Owners    []ownerInfo `json:"owners"`
	Over      string      `json:"over,omitempty"`      // when each of them has certainly ended; absent: nobody knows
	Remaining string      `json:"remaining,omitempty"` // until then
}

// An ownerInfo is one who holds, or held, a lock.
type ownerInfo struct {
	Owner string `json:"owner,omitempty"`
	Meta  any    `json:"meta,omitempty"`
	Token int64  `json:"token,omitempty"`
}

func (f *revokeFlags) print(out io.Writer, action string, done *client.Revocation) error {
	info := revocationInfo{Name: done.Name, Action: action, Reason: done.Reason, Owners: []ownerInfo{}}
	var who []string
	for _, h := range done.Owners {
		info.Owners = append(info.Owners, ownerInfo{Owner: h.Label, Meta: metaOf(h.Meta), Token: h.Token})
		who = append(who, fmt.Sprintf("%s (token %s)", orDash(h.Label), tokenText(h.Token)))
	}
	until := ""
	if !done.Over.IsZero() {
		left := max(done.Over.Sub(clock.Wall()), 0)
		info.Over, info.Remaining = done.Over.Format(time.RFC3339Nano), remaining(left)
		until = fmt.Sprintf("%s, in %v", done.Over.Format(time.TimeOnly), left.Round(100*time.Millisecond))
	}
	if f.JSON {
		return printJSON(info)
	}
	name, owners := printable(done.Name), strings.Join(who, ", ")
	switch {
	case action == "evicted":
		_, err := fmt.Fprintf(out, "evicted from %s: %s\nNothing can be renewed there; the lock stays exclusive, and is free by %s, at the latest.\n", name, owners, until)
		return err
	case until == "":
		_, err := fmt.Fprintf(out, "taken from %s: %s\nHow long it goes on nobody knows: it is no client of this protocol.\n", owners, name)
		return err
	}
	_, err := fmt.Fprintf(out, "taken from %s: %s\nUntil %s, it may still believe that it has the lock: only what checks tokens is safe.\n", owners, name, until)
	return err
}
