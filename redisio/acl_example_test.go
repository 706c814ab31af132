package redisio_test

import (
	"fmt"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// A program that reads orders and writes invoices gets a user that may do just that: rdb.ACLSetUser(ctx, "billing",
// append(need.Rules(), "on", ">password")...).
func ExampleAccess() {
	orders := reader.GroupConfig{
		Key:    "orders",
		Group:  "billing",
		Tuning: reader.Tuning{DelayedEvery: -1},
	} // nothing is scheduled for orders
	invoices := writer.Config{Key: "invoices"}
	need := orders.Access("orders:dead").And(invoices.Access())
	fmt.Println("keys:", need.Writes, "and to write only:", need.Appends)
	fmt.Println("to write alone:", invoices.Access())
	// Output:
	// keys: [orders orders:dead] and to write only: [invoices]
	// to write alone: clearselectors resetkeys resetchannels -@all %W~invoices +ping +xadd +xlen
}

// Some commands are for some keys only: this user may delete its own boxes, and not the orders.
func ExampleAccess_Apart() {
	boxes := redisio.Access{Commands: []string{"del", "xadd"}, Writes: []string{redisio.KeyPattern("box:shop:") + "*"}}
	fmt.Println(writer.Config{Key: "orders"}.Access().And(boxes.Apart()))
	// Output: clearselectors resetkeys resetchannels -@all %W~orders +ping +xadd +xlen (~box:shop:* +del +xadd)
}
