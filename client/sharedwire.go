package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-dev/holdfast/redlock"
)

// A sharedWire is the wire of a node that is more than one server: a Cluster or a Ring. It goes through the
// user's own client, whose routing it needs and whose timeouts apply; nothing of it is closed.
type sharedWire struct {
	rdb    redis.UniversalClient
	loaded bool
}

func (w *sharedWire) run(batch []pending, how scriptForm) (answers []answer, certain bool, err error) {
	ctx := context.Background()
	if !w.loaded {
		if err := w.loadScripts(ctx); err != nil {
			return failed(batch, nil, err), true, err
		}
		w.loaded = true
	}
	pipe := w.rdb.Pipeline()
	cmds := make([]scriptCall, len(batch))
	_, slots := w.rdb.(*redis.ClusterClient)
	for i, p := range batch {
		cmds[i] = newScriptCall(ctx, p, how)
		if slots && p.reply != nil && !redlock.ClusterSafe(p.req.Name) {
			cmds[i].SetErr(refusedName(p.req.Name))
			continue
		}
		if err := pipe.Process(ctx, cmds[i]); err != nil {
			return failed(batch, nil, err), true, err
		}
	}
	_, err = pipe.Exec(ctx)
	all := true // have a reply of their own, be it an error
	for _, cmd := range cmds {
		v, own := cmd.Result()
		switch {
		case own == redis.Nil:
			own = nil
		case own == nil && v == nil && err != nil: // go-redis leaves it as it is if there was no connection at all
			own = err
		}
		all = all && (own == nil || isReply(own) || errors.As(own, new(refusedName)))
		answers = append(answers, answer{v, own})
	}
	if all {
		err = nil
	}
	return answers, false, err
}

// A refusedName is why a Cluster cannot have a lock, whose keys would be in several slots: its braces defeat
// the hash tag (redlock.ClusterSafe).
type refusedName string

func (e refusedName) Error() string {
	return fmt.Sprintf("a Redis Cluster cannot have a lock named %q: its keys would be in several slots", string(e))
}

// Is makes it an ErrInvalid.
func (refusedName) Is(target error) bool { return target == ErrInvalid }

// A scriptCall is a command that go-redis must not send twice, whatever its client's options say.
type scriptCall struct{ *redis.Cmd }

// NoRetry implements redis.Cmder.
func (scriptCall) NoRetry() bool { return true }

func newScriptCall(ctx context.Context, p pending, how scriptForm) scriptCall {
	if p.reply == nil {
		return scriptCall{redis.NewCmd(ctx, "ping")}
	}
	call := p.req.Call()
	args := make([]any, 0, 3+len(call.Keys)+len(call.Args))
	if how == bySource {
		args = append(args, "eval", call.Script.Source, len(call.Keys))
	} else {
		args = append(args, "evalsha", call.Script.SHA1, len(call.Keys))
	}
	for _, k := range call.Keys {
		args = append(args, k)
	}
	for _, a := range call.Args {
		args = append(args, a)
	}
	return scriptCall{redis.NewCmd(ctx, args...)}
}

func (w *sharedWire) loadScripts(ctx context.Context) error {
	load := func(ctx context.Context, rdb *redis.Client) error { return loadScripts(ctx, rdb) }
	switch rdb := w.rdb.(type) {
	case *redis.ClusterClient:
		return rdb.ForEachMaster(ctx, load)
	case *redis.Ring:
		return rdb.ForEachShard(ctx, load)
	}
	return loadScripts(ctx, w.rdb)
}

func loadScripts(ctx context.Context, rdb redis.Cmdable) error {
	pipe := rdb.Pipeline()
	for _, s := range redlock.Scripts() {
		pipe.ScriptLoad(ctx, s.Source)
	}
	_, err := pipe.Exec(ctx)
	return err
}

func (w *sharedWire) poster() poster { return nil }
func (w *sharedWire) hangUp()        {}
func (w *sharedWire) closeSide()     {}
func (w *sharedWire) close() error   { return nil }
