//go:build unix

package flow_test

import (
	"context"
	"fmt"
	"os"

	"github.com/streamerson/streamerson-go/flow"
)

// A program that drains at the first Ctrl-C and stops at the second.
func ExampleOnInterrupt() {
	ctx, cancel := context.WithCancel(context.Background())
	stop := flow.OnInterrupt(
		func(s os.Signal) {
			fmt.Println("finishing:", s)
			cancel()
		},
		func(os.Signal) { os.Exit(1) },
	)
	defer stop()
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Signal(os.Interrupt) // as Ctrl-C does
	}
	<-ctx.Done() // work until then
	// Output: finishing: interrupt
}
