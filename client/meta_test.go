package client_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
)

// Ensure that owner and meta are shown to whoever meets the lock: to an attempt, to a wait that ends, to those
// who inspect or list, to the process that resumes the lease; also after renewals.
func TestMeta_Shown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 5)
		ctx := context.Background()
		meta := map[string]string{"job": "nightly; \"full\"", "request": "7f3a", "who": "Zoë <z@example.com>"}
		a, b := nodes.client(t), nodes.client(t)
		l, err := a.Lock(ctx, "x", client.Owner("w1"), client.Meta(meta))
		require.NoError(t, err)
		assert.Equal(t, meta, l.Meta())
		check := func() {
			t.Helper()
			shown := func(owner, text string, token int64) {
				t.Helper()
				got, err := client.ParseMeta(text)
				require.NoError(t, err)
				assert.Equal(t, meta, got)
				assert.Equal(t, "w1", owner)
				assert.GreaterOrEqual(t, token, l.Token(), "a node that granted late may have recorded a higher fence")
			}
			_, err := b.TryLock(ctx, "x")
			var held *client.HeldError
			require.ErrorAs(t, err, &held)
			shown(held.Label, held.Meta, held.Token)
			assert.Contains(t, err.Error(), "7f3a")

			wait, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err = b.Lock(wait, "x")
			var ended *client.WaitError
			require.ErrorAs(t, err, &ended)
			require.ErrorAs(t, err, &held)
			shown(held.Label, held.Meta, held.Token)
			assert.Contains(t, err.Error(), "7f3a")

			state, err := b.Inspect(ctx, "x")
			require.NoError(t, err)
			shown(state.Holder.Label, state.Holder.Meta, state.Holder.Token)
			states, err := b.List(ctx, "")
			require.NoError(t, err)
			require.Len(t, states, 1)
			shown(states[0].Holder.Label, states[0].Holder.Meta, states[0].Holder.Token)
		}
		check()
		time.Sleep(time.Minute)
		check()

		text, err := l.Handle().MarshalText()
		require.NoError(t, err)
		require.NoError(t, a.Detach(ctx))
		var h client.Handle
		require.NoError(t, h.UnmarshalText(text))
		l, err = nodes.client(t).Resume(ctx, h)
		require.NoError(t, err)
		assert.Equal(t, meta, l.Meta())
		assert.Equal(t, "w1", l.Owner())
		check()
		require.NoError(t, l.Unlock(ctx))

		plain, err := b.Lock(ctx, "x", client.Meta(nil))
		require.NoError(t, err)
		assert.Nil(t, plain.Meta())
		state, err := b.Inspect(ctx, "x")
		require.NoError(t, err)
		assert.Empty(t, state.Holder.Meta)
		require.NoError(t, plain.Unlock(ctx))
	})
}

// Ensure that meta of the greatest size is kept, and one byte more refused before anything is sent.
func TestMeta_Limit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 3)
		ctx := context.Background()
		c := nodes.client(t)
		fill := redlock.MaxMeta - len(`{"k":""}`)
		for _, n := range []int{fill - 1, fill} {
			meta := map[string]string{"k": strings.Repeat("v", n)}
			l, err := c.Lock(ctx, "x", client.Meta(meta))
			require.NoError(t, err)
			state, err := c.Inspect(ctx, "x")
			require.NoError(t, err)
			got, err := client.ParseMeta(state.Holder.Meta)
			require.NoError(t, err)
			assert.Equal(t, meta, got)
			_, err = c.TryLock(ctx, "x")
			require.ErrorIs(t, err, client.ErrHeld)
			assert.Less(t, len(err.Error()), 400, "a message shows the beginning")
			require.NoError(t, l.Unlock(ctx))
		}
		_, err := c.Lock(ctx, "x", client.Meta(map[string]string{"k": strings.Repeat("v", fill+1)}))
		require.ErrorIs(t, err, client.ErrInvalid)
	})
}

// Ensure that meta that is not UTF-8 is refused, rather than shown as something else.
func TestMeta_UTF8(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _ := memoryNodes(t, 1)
		ctx := context.Background()
		c := nodes.client(t)
		for _, meta := range []map[string]string{{"job": "\xff"}, {"\xff": "job"}, {"job": "caf\xc3"}} {
			_, err := c.TryLock(ctx, "x", client.Meta(meta))
			require.ErrorIs(t, err, client.ErrInvalid)
			nodes.assertClean(t, "x")
		}
		meta := map[string]string{"café": "\x00\n<\u2028>"}
		l, err := c.TryLock(ctx, "x", client.Meta(meta))
		require.NoError(t, err)
		assert.Equal(t, meta, l.Meta())
	})
}

// Ensure that what no Meta has written is refused.
func TestParseMeta(t *testing.T) {
	m, err := client.ParseMeta("")
	require.NoError(t, err)
	assert.Nil(t, m)
	for _, text := range []string{"null", "x", "[]", "{", `{"a":1}`, `{"a":{}}`, `{"a":"b"} `[:7], `"a"`} {
		_, err := client.ParseMeta(text)
		require.ErrorIs(t, err, client.ErrInvalid, text)
	}
}

// Ensure that any text of a node is read or refused.
func FuzzParseMeta(f *testing.F) {
	f.Add(`{"job":"nightly"}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := client.ParseMeta(text); err != nil {
			require.ErrorIs(t, err, client.ErrInvalid)
			require.Nil(t, m)
		}
	})
}

// Ensure that a process can hand its lease to another one by the text of its handle: the other goes on with the
// same token, and its Unlock frees the lock.
func TestHandle_AcrossProcesses(t *testing.T) {
	const helper = "HOLDFAST_TEST_HANDLE"
	if url := os.Getenv(helper); url != "" {
		lockAndPrintHandle(url)
		os.Exit(0)
	}
	onBoth(t, func(t *testing.T, nodes cluster) {
		ctx := context.Background()
		cmd := exec.Command(os.Args[0], "-test.run=^TestHandle_AcrossProcesses$")
		cmd.Env = append(os.Environ(), helper+"="+nodes.url())
		cmd.Stderr = t.Output()
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(stdout)
		require.True(t, lines.Scan())
		var h client.Handle
		require.NoError(t, h.UnmarshalText(lines.Bytes()), lines.Text())
		require.NoError(t, cmd.Wait())

		c := nodes.client(t)
		_, err = c.TryLock(ctx, "x")
		require.ErrorIs(t, err, client.ErrHeld, "the first process has gone, and left it")
		l, err := c.Resume(ctx, h)
		require.NoError(t, err)
		assert.Equal(t, h.Token, l.Token())
		assert.Equal(t, map[string]string{"job": "handed over"}, l.Meta())
		require.NoError(t, l.Unlock(ctx))
		next, err := c.TryLock(ctx, "x")
		require.NoError(t, err)
		assert.Greater(t, next.Token(), h.Token)
		require.NoError(t, next.Unlock(ctx))
		_, err = c.Resume(ctx, h)
		require.ErrorIs(t, err, client.ErrLost)
	})
}

// lockAndPrintHandle is the other process: it takes the lock, says how to go on with it, and goes.
func lockAndPrintHandle(url string) {
	ctx := context.Background()
	c, err := client.Open(url, client.WithTTL(time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := c.Lock(ctx, "x", client.Meta(map[string]string{"job": "handed over"}))
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := l.Handle().MarshalText()
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Detach(ctx)
	fmt.Println(string(text))
}
