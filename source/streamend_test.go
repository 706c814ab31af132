package source_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Two readers end when all producers have marked the end and everything is settled, although
// entries fail and one reader restarts in the middle.
func TestStreamEnds(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	key := redistest.Key(t)
	ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	defer cancel()
	end, err := gather.NewEnd(rdb, gather.EndConfig{Key: key, Producers: 2})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []string
	failed := make(map[string]bool)
	handled := make(chan struct{}, 1000)
	run := func(ctx context.Context) error {
		in := source.Stream(rdb, source.StreamConfig[string]{
			Key: key, Group: "g", Producers: 2, MaxInFlight: 7,
			Tuning: reader.Tuning{Block: 10 * time.Millisecond, DeleteSettled: true},
		})
		out := sink.Func(func(_ context.Context, v string) error {
			mu.Lock()
			defer mu.Unlock()
			if len(got)%5 == 0 && !failed[v] {
				failed[v] = true
				return flow.RetryAfter(20*time.Millisecond, errors.New("not yet"))
			}
			got = append(got, v)
			handled <- struct{}{}
			return nil
		})
		return flow.New("reader", unhurried(flow.To(in, out))...).Run(ctx)
	}
	var readers sync.WaitGroup
	first, stop := context.WithCancel(ctx)
	defer stop()
	for i := range 2 {
		readers.Go(func() {
			if i == 1 {
				if err := run(first); err != nil {
					t.Error(err)
				}
			}
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	var want []string
	write := func(n int) {
		for range n {
			v := fmt.Sprint(len(want))
			want = append(want, v)
			if err := rdb.XAdd(ctx, redistest.Entry(key, "data", v)).Err(); err != nil {
				t.Error(err)
			}
		}
	}
	mark := func(who string) {
		if _, err := end.Mark(ctx, who); err != nil {
			t.Error(err)
		}
	}
	mark("a") // it has nothing to write
	write(40)
	for range 20 {
		<-handled
	}
	stop()
	write(40)
	mark("b")
	readers.Wait()
	slices.Sort(got)
	got = slices.Compact(got) // a restarted reader may have repeated some
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("handled %v", got)
	}
	if n := rdb.XLen(ctx, key).Val(); n > 2 { // a reader may leave its last entry
		t.Errorf("%d entries are left", n)
	}
	if err := run(ctx); err != nil { // a reader that comes later ends, too
		t.Error(err)
	}
}

func TestStreamEndMistakes(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	in := source.Stream(rdb, source.StreamConfig[string]{Key: "k", Group: "g", Producers: -1})
	err := flow.New("g", flow.To(in, sink.Discard[string]())).Validate()
	if mistake := (*flow.BuildError)(nil); !errors.As(err, &mistake) {
		t.Errorf("a negative number of producers: %v", err)
	}
}

func ExampleStream_end() {
	ctx := context.Background()
	rdb, done := serverWith()
	defer done()
	end, err := gather.NewEnd(rdb, gather.EndConfig{Key: "chunks"})
	if err != nil {
		fmt.Println(err)
		return
	}
	load := flow.New(
		"load",
		flow.To(source.Of("one", "two"), sink.Stream(rdb, sink.StreamConfig[string]{Key: "chunks"})),
	)
	if err := load.Run(ctx); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := end.Mark(ctx, "loader"); err != nil { // nothing follows
		fmt.Println(err)
		return
	}
	chunks := source.Stream(rdb, source.StreamConfig[string]{
		Key: "chunks", Group: "sorters", Producers: 1, Tuning: reader.Tuning{Block: 10 * time.Millisecond}})
	print := sink.Func(func(_ context.Context, v string) error { fmt.Println(v); return nil })
	fmt.Println("end:", flow.New("sort", flow.To(chunks, print)).Run(ctx))
	// Output:
	// one
	// two
	// end: <nil>
}
