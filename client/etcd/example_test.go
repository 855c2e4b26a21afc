package etcd_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/etcd"
)

// A program whose configuration says where its locks are: on an etcd cluster, or on independent nodes.
func Example_either() {
	ctx := context.Background()
	var locks client.Locker
	if endpoints := os.Getenv("ETCD_ENDPOINTS"); endpoints != "" {
		cluster, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(endpoints, ",")})
		if err != nil {
			log.Fatal(err)
		}
		defer cluster.Close()
		c, err := etcd.New(cluster)
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close(ctx)
		locks = client.AsLocker(c, etcd.TTL(10*time.Second))
	} else {
		c, err := client.Open(os.Getenv("HOLDFAST_NODES"))
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close(ctx)
		locks = client.AsLocker(c, client.TTL(10*time.Second))
	}

	err := locks.Do(ctx, "orders/42", func(ctx context.Context, l client.Held) error {
		fmt.Println("shipping order 42 with token", l.Token())
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
}
