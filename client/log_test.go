package client_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/client"
)

// entries returns what was logged, without the time; tests log as JSON.
func (j *journal) entries(t *testing.T) (all []map[string]any) {
	for line := range strings.Lines(j.String()) {
		var e map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		delete(e, "time")
		all = append(all, e)
	}
	return all
}

func (j *journal) json() client.Option {
	return client.WithLogger(slog.New(slog.NewJSONHandler(j, nil)))
}

// shape returns the level, message and attributes' names of an entry.
func shape(e map[string]any) string {
	var attrs []string
	for k := range e {
		if k != "level" && k != "msg" {
			attrs = append(attrs, k)
		}
	}
	slices.Sort(attrs)
	return e["level"].(string) + " " + e["msg"].(string) + " " + strings.Join(attrs, ",")
}

// Ensure that a loss, a revocation on both sides, a node that goes and comes back, and an unconfirmed release are
// logged as WithLogger says, once each.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, started := memoryNodes(t, 3)
		ctx := context.Background()
		var ours, theirs journal
		c := nodes.client(t, ours.json())
		operator := nodes.client(t, theirs.json())

		l, err := c.Lock(ctx, "expires", client.WithoutRenew())
		require.NoError(t, err)
		<-l.Lost()
		synctest.Wait()
		entries := ours.entries(t)
		require.Len(t, entries, 1)
		assert.Equal(t, "WARN lease lost cause,lock,token", shape(entries[0]))
		assert.Equal(t, "expires", entries[0]["lock"])
		assert.EqualValues(t, l.Token(), entries[0]["token"])
		assert.Equal(t, "lease expired", entries[0]["cause"])

		l, err = c.Lock(ctx, "forced", client.Owner("w1"))
		require.NoError(t, err)
		_, err = operator.ForceUnlock(ctx, "forced", "maintenance")
		require.NoError(t, err)
		entries = theirs.entries(t)
		require.Len(t, entries, 1)
		assert.Equal(t, "WARN lock revoked how,lock,owner,reason,token", shape(entries[0]))
		assert.Equal(t, "maintenance", entries[0]["reason"])
		assert.Equal(t, "force", entries[0]["how"])
		assert.Equal(t, "w1", entries[0]["owner"])
		<-l.Lost()
		synctest.Wait()
		entries = ours.entries(t)
		require.Len(t, entries, 2)
		assert.Equal(t, "forced", entries[1]["lock"])
		assert.Contains(t, entries[1]["cause"], "owner was revoked")

		started[2].Stop()
		for range 10 {
			require.NoError(t, c.Do(ctx, "x", func(context.Context, *client.Lease) error {
				time.Sleep(time.Second)
				return nil
			}))
		}
		started[2].Restart()
		for range 10 {
			require.NoError(t, c.Do(ctx, "x", func(context.Context, *client.Lease) error {
				time.Sleep(time.Second)
				return nil
			}))
		}
		entries = ours.entries(t)
		require.Len(t, entries, 4)
		assert.Equal(t, "WARN node is down err,node", shape(entries[2]))
		assert.Equal(t, nodes[2].addr, entries[2]["node"])
		assert.Equal(t, "INFO node is back node", shape(entries[3]))
		assert.Equal(t, nodes[2].addr, entries[3]["node"])

		require.NoError(t, c.Do(ctx, "x", func(_ context.Context, l *client.Lease) error {
			started[0].Stop()
			started[1].Stop()
			return nil
		}), "the work was done under the lock")
		var shapes []string
		for _, e := range ours.entries(t)[4:] {
			shapes = append(shapes, shape(e))
		}
		assert.Contains(t, shapes, "WARN release was not confirmed err,lock,token")
		_, err = operator.Evict(ctx, "x", "r")
		require.ErrorIs(t, err, client.ErrQuorum)
	})
}

// Ensure that the table at WithLogger has every message that the package's code logs, with its level, and no other.
func TestLog_Documented(t *testing.T) {
	logs := regexp.MustCompile(`\.(Error|Warn|Info|Debug)\("([^"]+)"`)
	row := regexp.MustCompile(`(?m)^//\t(ERROR|WARN|INFO|DEBUG) +(.+?)  `)
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	said := map[string]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		code, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		for _, m := range logs.FindAllStringSubmatch(string(code), -1) {
			said[strings.ToUpper(m[1])+" "+m[2]] = true
		}
	}
	options, err := os.ReadFile("options.go")
	require.NoError(t, err)
	documented := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(options), -1) {
		documented[m[1]+" "+m[2]] = true
	}
	assert.Equal(t, documented, said)
	assert.GreaterOrEqual(t, len(said), 8)
}
