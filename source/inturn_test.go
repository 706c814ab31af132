package source_test

import (
	"context"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// A stream that is a later input of a Concat is open, but no entry of it is leased before its turn, so
// other consumers of its group can have them.
func TestConcatLeasesNothingBeforeItsTurn(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.fill(t, 5)
	first, got := make(chan string), make(chan string)
	take := func() {
		t.Helper()
		select {
		case <-got:
		case <-time.After(redistest.Patience):
			t.Fatal("nothing comes")
		}
	}
	all := operators.Concat(source.Chan(first), source.Stream(s.rdb, config[string](s)))
	r := start(t, flow.To(all, sink.Func(func(ctx context.Context, v string) error {
		select {
		case got <- v:
		case <-ctx.Done():
		}
		return nil
	})))
	redistest.Soon(t, "it is open", func() bool { return r.Ready() == nil })
	for range 3 {
		first <- "history"
		take()
		if n := len(s.deliveries(t)); n != 0 {
			t.Fatalf("%d entries are leased", n)
		}
	}
	close(first)
	for range 5 {
		take()
	}
}
