package client_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/holdfast-dev/holdfast/client"
)

func ExampleClient_LockAll() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	// A transfer needs both accounts, whichever of them the other transfers of the day take first.
	both, err := c.LockAll(ctx, []string{"account/7", "account/3"})
	if err != nil {
		log.Fatal(err)
	}
	tokens := both.Tokens()
	fmt.Println(both.Names(), tokens["account/3"] > 0, tokens["account/7"] > 0)
	fmt.Println(both.Unlock(ctx))
	// Output:
	// [account/3 account/7] true true
	// <nil>
}

// A lease is passed on to whatever works under it: there is no other reentrancy. Code that holds a lease and
// asks for the same lock again would wait for itself.
func ExampleLease_passedOn() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	pay := func(l *client.Lease) { fmt.Println("paid under", l.Name(), l.Err()) }
	ship := func(l *client.Lease) {
		pay(l) // not: c.Lock(ctx, "orders/42")
		fmt.Println("shipped under", l.Name(), l.Err())
	}
	err = c.Do(ctx, "orders/42", func(ctx context.Context, l *client.Lease) error {
		ship(l)
		return nil
	})
	fmt.Println(err)
	// Output:
	// paid under orders/42 <nil>
	// shipped under orders/42 <nil>
	// <nil>
}

func ExampleClient_Elect() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	leadership, err := c.Elect(ctx, "scheduler", "10.0.0.1:8080") // waits until it leads
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(leadership.Value(), leadership.Err())
	// ... schedule under leadership.Context(), with leadership.Token() ...
	fmt.Println(leadership.Resign(ctx))
	// Output:
	// 10.0.0.1:8080 <nil>
	// <nil>
}

func ExampleClient_Observe() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	leadership, err := c.Elect(ctx, "scheduler", "10.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	for leader, err := range c.Observe(ctx, "scheduler") {
		if err != nil {
			log.Fatal(err)
		}
		if leader.Vacant() {
			fmt.Println("nobody leads")
			break
		}
		fmt.Println(leader.Value, "leads")
		leadership.Resign(ctx)
	}
	// Output:
	// 10.0.0.1:8080 leads
	// nobody leads
}

func ExampleClient_RLock() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	first, err := c.RLock(ctx, "catalogue")
	if err != nil {
		log.Fatal(err)
	}
	second, err := c.RLock(ctx, "catalogue") // beside the first
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.TryLock(ctx, "catalogue")
	fmt.Println(err != nil)
	first.Unlock(ctx)
	second.Unlock(ctx)
	err = c.Do(ctx, "catalogue", func(ctx context.Context, l *client.Lease) error {
		fmt.Println("the only one, with a later token:", l.Token() > second.Token())
		return nil
	})
	fmt.Println(err)
	// Output:
	// true
	// the only one, with a later token: true
	// <nil>
}

func ExampleClient_Latch() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	warm := c.Latch("release 42 is warm")
	go func() {
		for _, machine := range []string{"a", "b", "c"} { // each counts itself
			if err := warm.CountDown(ctx, machine); err != nil {
				log.Fatal(err)
			}
		}
	}()
	fmt.Println(warm.Wait(ctx, 3))
	fmt.Println(warm.Members(ctx))
	// Output:
	// <nil>
	// [a b c] <nil>
}

func ExampleClient_Barrier() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	met := make(chan error)
	for _, worker := range []string{"a", "b"} {
		go func() {
			// ... its share of round 7 ...
			met <- c.Barrier("simulation", 2).Await(ctx, "round 7", worker)
		}()
	}
	fmt.Println(<-met, <-met)
	// Output: <nil> <nil>
}

func ExampleClient_Once() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	report := func(ctx context.Context, l *client.Lease) error {
		fmt.Println("the report of the day")
		return nil
	}
	for range 3 { // on however many machines, every minute
		if _, err := c.Once(ctx, "report", client.TickOf("2026-11-25", 48*time.Hour), report); err != nil {
			log.Fatal(err)
		}
	}
	// Output: the report of the day
}
