package flow_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/streamerson/streamerson-go/flow"
)

// countdown is a Reader. It counts down to 1 and is told how each number ended.
type countdown struct {
	next int
	from int
	sent map[uint64]int // by the number of the entry
}

// Open is called before the first Read, and again for each life: connect here, not in the constructor.
func (c *countdown) Open(context.Context) error {
	c.next, c.sent = c.from, make(map[uint64]int)
	return nil
}

// Read adds as many entries as there is room for. A Reader of a backend blocks here until it has
// entries or ctx is done.
func (c *countdown) Read(_ context.Context, in *flow.Intake[int]) error {
	for in.Room() > 0 {
		if c.next == 0 {
			return io.EOF // the end
		}
		c.sent[in.Seq()] = c.next
		in.Add(c.next, flow.Meta{ID: fmt.Sprint("t-", c.next)}, 0)
		c.next--
	}
	return nil
}

// Commit is called with the entries that have ended, in the order in which they were read. It may
// run concurrently with Read, so shared state needs a lock, unless Read has written it before, as
// here.
func (c *countdown) Commit(_ context.Context, settled []flow.Settlement) error {
	for _, s := range settled {
		fmt.Println(s.ID, s.Outcome)
	}
	return nil
}

// Close is called when all entries read are committed.
func (c *countdown) Close(context.Context) error {
	fmt.Println("closed")
	return nil
}

// A source is a Reader. A new Reader is made for each life. Open, Commit and Close are optional.
func ExampleNewSource() {
	numbers := flow.NewSource("countdown", func() flow.Reader[int] { return &countdown{from: 3} })
	if err := flow.New("launch", flow.To(numbers, discard[int]())).Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// t-3 acked
	// t-2 acked
	// t-1 acked
	// closed
}

// parcels is a source of one entry with a key.
type parcels struct{ countdown }

func (p *parcels) Read(_ context.Context, in *flow.Intake[int]) error {
	in.Add(1, flow.Meta{ID: "p-1", Key: "north"}, 0)
	return io.EOF
}

func (p *parcels) Commit(_ context.Context, settled []flow.Settlement) error {
	for _, s := range settled {
		fmt.Println(s.ID, s.Meta().Key, s.Outcome)
	}
	return nil
}

// ID and Attempt are fields of a Settlement. Meta has the rest.
func ExampleSettlement_Meta() {
	source := flow.NewSource("parcels", func() flow.Reader[int] { return &parcels{} })
	if err := flow.New("post", flow.To(source, discard[int]())).Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// p-1 north acked
	// closed
}
