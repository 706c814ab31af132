package gateways_test

import (
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
)

func ExampleCallBounds() {
	took := gateways.Latency{Count: 3, Sum: 12 * time.Millisecond}
	took.Buckets[4] = 3
	for i, bound := range gateways.CallBounds() {
		if took.Buckets[i] > 0 {
			fmt.Println(took.Buckets[i], "calls took up to", bound)
		}
	}
	// Output: 3 calls took up to 5ms
}
