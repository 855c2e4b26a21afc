package fencing

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// setIfCurrent keeps value and token in one hash, so that neither is there without the other. Tokens are below 2^53:
// exact as the doubles that Lua reckons with.
var setIfCurrent = redis.NewScript(`
local seen = tonumber(redis.call('HGET', KEYS[1], 'token') or 0)
if tonumber(ARGV[1]) < seen then
  return 0
end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'value', ARGV[2])
return 1`)

// SetKey writes the value of a Redis key: a script is one step. It works on Redis, Valkey and a Holdfast node.
//
// The key must not expire or be evicted while an old holder may still wake up: with it goes the memory of the
// token. A fail-over to a replica that has not got the last write forgets it as well.
func SetKey(ctx context.Context, rdb redis.Scripter, key, value string, token int64) error {
	current, err := setIfCurrent.Run(ctx, rdb, []string{key}, token, value).Bool()
	if err == nil && !current {
		err = ErrStale
	}
	return err
}
