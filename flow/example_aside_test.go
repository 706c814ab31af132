package flow_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/streamerson/streamerson-go/flow"
)

// keyboard reads lines from a reader that knows no context, such as standard input.
type keyboard struct {
	lines *bufio.Scanner
	next  <-chan error // of the scan in progress
}

func (k *keyboard) Read(ctx context.Context, in *flow.Intake[string]) error {
	if k.next == nil {
		k.next = flow.Aside(func() error {
			if !k.lines.Scan() {
				return io.EOF
			}
			return nil
		})
	}
	select {
	case err := <-k.next:
		if err != nil {
			return err
		}
		k.next = nil
		in.AddValue(k.lines.Text())
		return nil
	case <-ctx.Done(): // the graph drains: it does not wait for a key
		return ctx.Err()
	}
}

// Aside runs a call that cannot be interrupted, so that the call does not delay the end.
func ExampleAside() {
	input := strings.NewReader("tea\njam\n") // or os.Stdin
	typed := flow.NewSource("keyboard", func() flow.Reader[string] { return &keyboard{lines: bufio.NewScanner(input)} })
	fmt.Println(flow.New("list", flow.To(typed, printing[string]())).Run(context.Background()))
	// Output:
	// tea
	// jam
	// <nil>
}
