package gateways_test

import (
	"fmt"

	"github.com/streamerson/streamerson-go/gateways"
)

// Each client of a topic that is not to see the replies of others gets a user of its own:
// rdb.ACLSetUser(ctx, "shop", append(need.Rules(), "on", ">password")...).
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
