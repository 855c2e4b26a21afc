package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/holdfast-dev/holdfast/client"
)

func ExampleClient_Semaphore() {
	url, stop := startNodes()
	defer stop()
	ctx := context.Background()
	c, err := client.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	downloads := c.Semaphore("downloads", 2) // on however many machines
	first, err := downloads.Acquire(ctx)
	if err != nil {
		log.Fatal(err)
	}
	second, err := downloads.Acquire(ctx)
	if err != nil {
		log.Fatal(err)
	}
	_, err = downloads.TryAcquire(ctx)
	fmt.Println(errors.Is(err, client.ErrHeld), first.Slot() != second.Slot())
	first.Unlock(ctx)
	err = downloads.Do(ctx, func(ctx context.Context, p *client.Permit) error {
		fmt.Println("downloading as", p.Semaphore(), p.Slot() == first.Slot())
		return nil
	})
	fmt.Println(err)
	second.Unlock(ctx)
	// Output:
	// true true
	// downloading as downloads true
	// <nil>
}
