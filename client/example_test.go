package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/redlock"
	"github.com/holdfast-dev/holdfast/server"
)

// startNodes stands for the five machines of a real deployment: five nodes in this process.
func startNodes() (url string, stop func()) {
	var servers []*server.Server
	var done []chan error
	url = "redis://"
	for i := range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		s, err := server.New(server.Config{})
		if err != nil {
			log.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		servers, done = append(servers, s), append(done, served)
		if i > 0 {
			url += ","
		}
		url += l.Addr().String()
	}
	return url, func() {
		for i, s := range servers {
			s.Shutdown(context.Background())
			<-done[i]
		}
	}
}

func Example() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()

	c, err := client.Open(url, client.WithTTL(15*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	stock := 10
	err = c.Do(ctx, "orders/42", func(ctx context.Context, l *client.Lease) error {
		stock-- // under the lock, on however many machines this program runs
		return ctx.Err()
	})
	fmt.Println(stock, err)
	// Output: 9 <nil>
}

func ExampleClient_Lock() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	// The context bounds the wait, not the lease.
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	lease, err := c.Lock(wait, "orders/42")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("held:", lease.Err() == nil)
	fmt.Println("unlock:", lease.Unlock(ctx))
	fmt.Println(lease.Err())
	// Output:
	// held: true
	// unlock: <nil>
	// lease was released
}

func ExampleClient_TryLock() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url, client.WithOwner("worker 1"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	lease, err := c.TryLock(ctx, "nightly report")
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.TryLock(ctx, "nightly report")
	var held *client.HeldError
	if errors.As(err, &held) {
		fmt.Println("held by", held.Label)
	}
	fmt.Println(errors.Is(err, client.ErrHeld))
	lease.Unlock(ctx)
	// Output:
	// held by worker 1
	// true
}

// A resource that refuses a token lower than the highest it has seen is safe even from a holder that was
// stopped for longer than its lease and does not know it yet.
func ExampleLease_Token() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	var highest int64
	write := func(who string, token int64) { // check and write in one step
		if token < highest {
			fmt.Println(who, "refused")
			return
		}
		highest = token
		fmt.Println(who, "written")
	}
	first, err := c.Lock(ctx, "file")
	if err != nil {
		log.Fatal(err)
	}
	stale := first.Token()
	first.Unlock(ctx)
	second, err := c.Lock(ctx, "file")
	if err != nil {
		log.Fatal(err)
	}
	write("second", second.Token())
	write("first", stale)
	second.Unlock(ctx)
	// Output:
	// second written
	// first refused
}

func ExampleLease_Context() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	lease, err := c.Lock(ctx, "x", client.TTL(time.Second), client.WithoutRenew())
	if err != nil {
		log.Fatal(err)
	}
	<-lease.Context().Done() // nobody renews it
	cause := context.Cause(lease.Context())
	fmt.Println(errors.Is(cause, client.ErrExpired))
	fmt.Println(errors.Is(lease.Unlock(ctx), client.ErrExpired))
	// Output:
	// true
	// true
}

func ExampleLease_Renew() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	lease, err := c.Lock(ctx, "x", client.WithoutRenew())
	if err != nil {
		log.Fatal(err)
	}
	before := lease.Deadline()
	fmt.Println(lease.Renew(ctx))
	fmt.Println(lease.Deadline().After(before))
	lease.Unlock(ctx)
	// Output:
	// <nil>
	// true
}

func ExampleClient_Resume() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	before, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	lease, err := before.Lock(ctx, "x", client.WithoutRenew())
	if err != nil {
		log.Fatal(err)
	}
	handle := lease.Handle() // to a file that only this user can read

	// Later, in the process that was started in place of the first:
	after, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	resumed, err := after.Resume(ctx, handle)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resumed.Token() == lease.Token())
	after.Close(ctx)
	before.Close(ctx)
	// Output: true
}

func ExampleClient_Inspect() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	lease, err := c.Lock(ctx, "orders/42", client.Owner("packer 7"))
	if err != nil {
		log.Fatal(err)
	}
	state, err := c.Inspect(ctx, "orders/42")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(state.Free(), state.Holder.Label, state.Fence == lease.Token())
	lease.Unlock(ctx)
	// Output: false packer 7 true
}

func ExampleClient_List() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx) // releases what is held

	for _, name := range []string{"orders/42", "orders/7", "reports"} {
		if _, err := c.Lock(ctx, name, client.Owner("packer")); err != nil {
			log.Fatal(err)
		}
	}
	held, err := c.List(ctx, "orders/")
	if err != nil {
		log.Fatal(err)
	}
	for _, state := range held {
		fmt.Println(state.Name, state.Holder.Label)
	}
	// Output:
	// orders/42 packer
	// orders/7 packer
}

func ExampleClient_Health() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	health := c.Health(ctx)
	fmt.Println(health.Quorum, len(health.Nodes), health.Nodes[0].Err)
	// Output: true 5 <nil>
}

// A program that has go-redis clients already, with its own ideas of TLS and credentials, makes nodes of them.
func ExampleNodeOf() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	first, _, _ := strings.Cut(url, ",")
	options, err := redis.ParseURL(first)
	if err != nil {
		log.Fatal(err)
	}
	rdb := redis.NewClient(options)
	defer rdb.Close()

	c, err := client.New([]redlock.Node{client.NodeOf(rdb)}) // one node: no redundancy
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
	fmt.Println(c.Do(ctx, "x", func(ctx context.Context, l *client.Lease) error { return nil }))
	// Output: <nil>
}

func ExampleWithGuard() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	// Work has two seconds to stop between the end of its context and the end of its lock.
	c, err := client.Open(url, client.WithTTL(10*time.Second), client.WithGuard(2*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	l, err := c.Lock(ctx, "report", client.WithoutRenew())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("less than 8 s left:", l.Remaining() < 8*time.Second)
	fmt.Println(l.Unlock(ctx))
	// Output:
	// less than 8 s left: true
	// <nil>
}

func ExampleWithMaxHold() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	// Renewed or not, nobody holds this one for longer than 50 ms.
	l, err := c.Lock(ctx, "turnstile", client.WithMaxHold(50*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	<-l.Context().Done()
	fmt.Println(errors.Is(context.Cause(l.Context()), client.ErrMaxHold))
	next, err := c.Lock(ctx, "turnstile")
	fmt.Println(next.Token() > l.Token(), err)
	// Output:
	// true
	// true <nil>
}

func ExampleAsLocker() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	// ship does not care what keeps the locks.
	ship := func(locks client.Locker) error {
		return locks.Do(ctx, "orders/42", func(ctx context.Context, l client.Held) error {
			fmt.Println("shipping under", l.Name(), "for", l.Owner())
			return nil
		})
	}
	fmt.Println(ship(client.AsLocker(c, client.Owner("the warehouse"))))
	// Output:
	// shipping under orders/42 for the warehouse
	// <nil>
}
