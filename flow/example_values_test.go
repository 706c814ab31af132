package flow_test

import (
	"context"
	"fmt"
	"log"

	"github.com/streamerson/streamerson-go/flow"
)

// A loop over a source. Each value is acknowledged when the loop asks for the next one.
func ExampleValues() {
	orders := queueOf("tea", "milk", "jam")
	for order, err := range flow.Values(context.Background(), orders.source()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("packed", order)
	}
	fmt.Println("acked:", orders.acked)
	// Output:
	// packed tea
	// packed milk
	// packed jam
	// acked: [tea milk jam]
}

// If the loop breaks, its current value and all later ones stay in the source.
func ExampleValues_break() {
	orders := queueOf("tea", "stone", "jam")
	for order, err := range flow.Values(context.Background(), orders.source()) {
		if err != nil {
			log.Fatal(err)
		}
		if order == "stone" {
			break
		}
		fmt.Println("packed", order)
	}
	fmt.Println("acked:", orders.acked, "left:", orders.left())
	// Output:
	// packed tea
	// acked: [tea] left: 2
}
