package gostreams_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	streams "github.com/reugn/go-streams"
	"github.com/reugn/go-streams/extension"
	goflow "github.com/reugn/go-streams/flow"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/gostreams"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// A flow of go-streams between a source and a sink of one graph: nothing is lost.
func ExampleFlow() {
	words := source.Of("one", "two", "three") // or source.Stream
	long := gostreams.Flow[string, string](words, 256, 50*time.Millisecond, func(in streams.Source) streams.Source {
		return in.Via(goflow.NewFilter(func(s string) bool { return len(s) > 3 }, 1)).
			Via(goflow.NewMap(strings.ToUpper, 1))
	})
	out, got := sink.Collect[string]()
	err := flow.New("long", flow.To(long, out)).Run(context.Background())
	fmt.Println(got.Values(), err)
	// Output: [THREE] <nil>
}

func ExampleFunc() {
	words := source.Of("one", "two", "three") // or source.Stream
	batches := operators.Batch(words, 256, 50*time.Millisecond)
	shouted := operators.Map(batches, gostreams.Func[string, string](func(in streams.Source) streams.Source {
		return in.Via(goflow.NewMap(strings.ToUpper, 1))
	}))
	out, got := sink.Collect[string]()
	err := flow.New("shout", flow.To(operators.Unbatch(shouted), out)).Run(context.Background())
	fmt.Println(got.Values(), err)
	// Output: [ONE TWO THREE] <nil>
}

func ExampleSource() {
	out, got := sink.Collect[string]()
	c := make(chan any, 2)
	c <- "one"
	c <- "two"
	close(c)
	lent := gostreams.Source[string](extension.NewChanSource(c))
	fmt.Println(flow.New("lent", flow.To(lent, out)).Run(context.Background()), got.Values())
	// Output: <nil> [one two]
}

func ExampleSink() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "lines")
	file := gostreams.Sink[string](extension.NewFileSink(name))
	err = flow.New("file", flow.To(source.Of("one\n", "two\n"), file)).Run(context.Background())
	text, readErr := os.ReadFile(name)
	fmt.Printf("%s%v %v\n", text, err, readErr)
	// Output:
	// one
	// two
	// <nil> <nil>
}

func ExampleNewOutlet() {
	words := gostreams.NewOutlet(context.Background(), source.Of("one", "two"))
	for v := range words.Via(goflow.NewMap(strings.ToUpper, 1)).Out() {
		fmt.Println(v)
	}
	fmt.Println(words.Wait())
	// Output:
	// ONE
	// TWO
	// <nil>
}

func ExampleNewInlet() {
	c := make(chan any, 2)
	c <- "one"
	c <- "two"
	close(c)
	out, got := sink.Collect[string]()
	in := gostreams.NewInlet(context.Background(), out)
	extension.NewChanSource(c).Via(goflow.NewMap(strings.ToUpper, 1)).To(in)
	fmt.Println(got.Values(), in.Wait())
	// Output: [ONE TWO] <nil>
}

func ExampleEnds() {
	out, got := sink.Collect[string]()
	from, to := gostreams.Ends(context.Background(), source.Of("one", "two"), out)
	from.Via(goflow.NewMap(strings.ToUpper, 1)).To(to)
	fmt.Println(to.Wait(), got.Values())
	// Output: <nil> [ONE TWO]
}
