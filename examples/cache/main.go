// Cache uses a node as a cache, through a client that knows nothing of Holdfast: go-redis.
//
//	go run ./cmd/holdfast dev                  # in another terminal
//	go run ./examples/cache
//
// It is the usual cache-aside: look into the cache, compute what is missing, put it there for a while.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/redis/go-redis/v9"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:7001", "a node")
	flag.Parse()
	cache := redis.NewClient(&redis.Options{Addr: *addr})
	defer cache.Close()
	ctx := context.Background()
	for range 2 {
		price, from, err := lookUp(ctx, cache, "prices/bolt")
		if err != nil {
			log.Fatal(err)
		}
		ttl, err := cache.TTL(ctx, "prices/bolt").Result()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("bolt costs %s (%s), cached for %s at most\n", price, from, ttl.Round(time.Minute))
	}
}

// lookUp returns the value of a key and whether it came from the cache or from the source.
func lookUp(ctx context.Context, cache *redis.Client, key string) (value, from string, err error) {
	value, err = cache.Get(ctx, key).Result()
	if err == nil {
		return value, "from the cache", nil
	}
	if !errors.Is(err, redis.Nil) {
		return "", "", err
	}
	value = "0.42 EUR" // this would be the slow query
	return value, "from the source", cache.Set(ctx, key, value, 10*time.Minute).Err()
}
