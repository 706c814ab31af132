package gateways_test

import (
	"fmt"

	"github.com/streamerson/streamerson-go/gateways"
)

// A client that must not read the replies of other clients needs its own user: rdb.ACLSetUser(ctx,
// "shop", append(need.Rules(), "on", ">password")...).
func ExampleClientConfig_Access() {
	need := gateways.ClientConfig{User: "shop"}.Access("orders")
	for _, s := range need.Selectors {
		fmt.Println(s.Writes, s.Appends, s.Reads)
	}
	// Output:
	// [] [] [{orders}:events]
	// [] [orders {orders}:control] []
	// [orders] [] []
	// [{orders}:control] [] []
	// [{orders}:reply:shop:*] [] []
}
