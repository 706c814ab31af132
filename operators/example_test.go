package operators_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// printed is a function for sinks.
func printed[T any](_ context.Context, v T) error {
	fmt.Println(v)
	return nil
}

// as is a function for sinks that prints a prefix.
func as[T any](name string) func(context.Context, T) error {
	return func(_ context.Context, v T) error {
		fmt.Println(name, v)
		return nil
	}
}

func exec(parts ...flow.Part) {
	if err := flow.New("example", parts...).Run(context.Background()); err != nil {
		fmt.Println(err)
	}
}

func ExampleMap() {
	loud := operators.Map(source.Of("hello", "world"), flow.Pure(strings.ToUpper))
	exec(flow.To(loud, sink.Func(printed[string])))
	// Output:
	// HELLO
	// WORLD
}

// Up to four calls run at once, and the output keeps the order of the input.
func ExampleMap_workers() {
	slow := operators.Map(source.Of(3, 2, 1), func(ctx context.Context, n int) (string, error) {
		return strconv.Itoa(n), flow.Sleep(ctx, time.Duration(n)*time.Millisecond)
	}, flow.Workers(4), flow.Name("look up"))
	exec(flow.To(slow, sink.Func(printed[string])))
	// Output:
	// 3
	// 2
	// 1
}

func ExampleMapMessage() {
	named := operators.MapMessage(source.Of("a", "b"), func(_ context.Context, m flow.Message[string]) (string, error) {
		return cmp.Or(m.Key(), "no key") + ": " + m.Value, nil
	})
	exec(flow.To(named, sink.Func(printed[string])))
	// Output:
	// no key: a
	// no key: b
}

func ExampleFilter() {
	even := operators.Filter(
		source.Of(1, 2, 3, 4),
		func(_ context.Context, n int) (bool, error) { return n%2 == 0, nil },
	)
	exec(flow.To(even, sink.Func(printed[int])))
	// Output:
	// 2
	// 4
}

func ExampleFilterMap() {
	numbers := operators.FilterMap(source.Of("1", "two", "3"), func(_ context.Context, s string) (int, bool, error) {
		n, err := strconv.Atoi(s)
		return n, err == nil, nil
	})
	exec(flow.To(numbers, sink.Func(printed[int])))
	// Output:
	// 1
	// 3
}

func ExampleFlatMap() {
	words := operators.FlatMap(
		source.Of("to be", "or not"),
		func(_ context.Context, line string, emit func(string)) error {
			for word := range strings.FieldsSeq(line) {
				emit(word)
			}
			return nil
		},
	)
	exec(flow.To(words, sink.Func(printed[string])))
	// Output:
	// to
	// be
	// or
	// not
}

func ExampleTap() {
	seen := 0
	counted := operators.Tap(source.Of("a", "b"), func(context.Context, string) { seen++ })
	exec(flow.To(counted, sink.Func(printed[string])))
	fmt.Println("seen:", seen)
	// Output:
	// a
	// b
	// seen: 2
}

func ExampleTry() {
	numbers, failed := operators.Try(source.Of("1", "two"), func(_ context.Context, s string) (int, error) {
		n, err := strconv.Atoi(s)
		return n, errors.Unwrap(err)
	}, flow.Name("parse"), flow.Workers(8))
	exec(
		flow.To(numbers, sink.Func(as[int]("parsed"))),
		flow.To(failed, sink.Func(func(_ context.Context, f flow.Failure[string]) error {
			fmt.Printf("failed %q at %s: %s\n", f.Value, f.Stage, f.Error)
			return nil
		})),
	)
	// Unordered output:
	// parsed 1
	// failed "two" at parse: invalid syntax
}

func ExampleFanOut() {
	copies := operators.FanOut(source.Of("a", "b"), 2)
	exec(flow.To(copies[0], sink.Func(as[string]("left"))), flow.To(copies[1], sink.Func(as[string]("right"))))
	// Unordered output:
	// left a
	// left b
	// right a
	// right b
}

func ExampleFanIn() {
	all := operators.FanIn(source.Of("a", "b"), source.Of("c"))
	exec(flow.To(all, sink.Func(printed[string])))
	// Unordered output:
	// a
	// b
	// c
}

func ExamplePartition() {
	type order struct{ customer, item string }
	orders := source.Of(order{"alice", "tea"}, order{"carol", "milk"}, order{"alice", "cake"})
	shards := operators.Partition(orders, 2, func(o order) string { return o.customer })
	exec(flow.To(shards[0], sink.Func(as[order]("shard 0"))), flow.To(shards[1], sink.Func(as[order]("shard 1"))))
	// Unordered output:
	// shard 0 {carol milk}
	// shard 1 {alice tea}
	// shard 1 {alice cake}
}

func ExampleBalance() {
	done := make(chan string, 4)
	work := func(_ context.Context, job string) error { done <- job; return nil }
	var parts []flow.Part
	for _, out := range operators.Balance(source.Of("a", "b", "c", "d"), 2) {
		parts = append(parts, flow.To(out, sink.Func(work)))
	}
	exec(parts...)
	fmt.Println(len(done), "jobs done")
	// Output:
	// 4 jobs done
}

func ExampleSplit() {
	even, odd := operators.Split(source.Of(1, 2, 3), func(n int) bool { return n%2 == 0 })
	exec(flow.To(even, sink.Func(as[int]("even"))), flow.To(odd, sink.Func(as[int]("odd"))))
	// Unordered output:
	// even 2
	// odd 1
	// odd 3
}

// Each shard counts words. All occurrences of a word are sent to the same shard.
func ExampleByKey() {
	type count = operators.Pair[string, int] // a word, and how often it came
	words := source.Of("a", "b", "a", "c", "a")
	counts := operators.ByKey(words, 4, func(w string) string { return w },
		func(shard flow.Source[string]) flow.Source[count] {
			have := make(map[string]int)
			return operators.Map(shard, func(_ context.Context, w string) (count, error) {
				have[w]++
				return count{First: w, Second: have[w]}, nil
			})
		})
	exec(flow.To(counts, sink.Func(printed[count])))
	// Unordered output:
	// {a 1}
	// {b 1}
	// {a 2}
	// {c 1}
	// {a 3}
}

func ExampleBatch() {
	batches := operators.Batch(source.Of(1, 2, 3, 4, 5), 2, time.Minute)
	exec(flow.To(batches, sink.Func(printed[[]int])))
	// Output:
	// [1 2]
	// [3 4]
	// [5]
}

func ExampleUnbatch() {
	values := operators.Unbatch(source.Of([]int{1, 2}, nil, []int{3}))
	exec(flow.To(values, sink.Func(printed[int])))
	// Output:
	// 1
	// 2
	// 3
}

func ExampleThrottle() {
	began := time.Now()
	paced := operators.Throttle(source.Of(1, 2, 3), 100, time.Second, 1)
	exec(flow.To(paced, sink.Func(printed[int])))
	fmt.Println("took 20 ms or more:", time.Since(began) >= 20*time.Millisecond)
	// Output:
	// 1
	// 2
	// 3
	// took 20 ms or more: true
}

// Distinct drops values with a key that has occurred before.
func Distinct[T any, K comparable](in flow.Source[T], key func(T) K, opts ...flow.StageOption) flow.Source[T] {
	return flow.Via(in, "distinct", func() flow.Handler[T, T] {
		seen := make(map[K]struct{})
		return flow.HandlerFunc[T, T](func(_ context.Context, m flow.Message[T], emit flow.Emit[T]) error {
			k := key(m.Value)
			if _, dup := seen[k]; !dup {
				seen[k] = struct{}{}
				emit(m)
			}
			return nil // neither emitted nor held: done
		})
	}, opts...)
}

// User-defined operators are functions like those of this package.
func Example_ownOperator() {
	unique := Distinct(source.Of("Tea", "milk", "TEA"), strings.ToLower)
	exec(flow.To(unique, sink.Func(printed[string])))
	// Output:
	// Tea
	// milk
}
