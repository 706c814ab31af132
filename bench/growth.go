package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// The growth cases show how the cost of a message grows with one number, all else at its default.
// Each implementation has another number, and the first is the reference.

func growths() []Case {
	transformed := transformGraph(sink.StreamConfig[order]{})
	waiting := growth("workers", "consume with workers that wait for a millisecond", 64_000, []int{1, 8, 64, 512},
		consume(), one, func(n int) runFunc { return handled(n, wait) })
	for i, slow := range []int{64, 8, 1, 1} {
		waiting.Implementations[i].Slow = slow
	}
	return []Case{
		growthOfStages(),
		growth("streams", "consume from n streams, a graph for each", 200_000, []int{1, 10, 100},
			consume(), streamsOf, func(int) runFunc { return consumeGraph }),
		growth("groups", "consume one stream by n groups, each of which gets all entries", 200_000, []int{1, 2, 4, 8},
			consume(), groupsOf, func(int) runFunc { return consumeGraph }),
		waiting,
		growth("computing", "consume with workers that compute for 20 µs", 50_000, []int{1, 2, 4},
			consume(), one, func(n int) runFunc { return handled(n, compute) }),
		growth("cores", "transform with GOMAXPROCS=n", 100_000, []int{1, 2},
			transform(), one, func(n int) runFunc { return onCores(n, transformed) }),
		growth("servers", "transform on n servers, a graph for each", 100_000, []int{1, 2, 4},
			transform(), serversOf, func(int) runFunc { return transformed }),
	}
}

// growth returns a case with an implementation for each number: the work of another case, divided into
// portions that run at the same time.
func growth(
	name, about string,
	n int,
	numbers []int,
	of Case,
	portions func(number int) []portion,
	run func(number int) runFunc,
) Case {
	c := Case{
		Name: "growth-" + name, About: about, Reference: strconv.Itoa(numbers[0]), N: n, Redis: true, Explicit: true,
		Check: func(context.Context, *Trial) error { return nil }, // runPortions checks each portion
	}
	for _, number := range numbers {
		c.Implementations = append(c.Implementations, Implementation{
			Name: strconv.Itoa(number), About: "n=" + strconv.Itoa(number), Ours: true,
			Run: func(ctx context.Context, t *Trial) error {
				return runPortions(ctx, t, of, portions(number), run(number))
			},
		})
	}
	return c
}

// growthOfStages is the only growth case without Redis.
func growthOfStages() Case {
	c := Case{
		Name: "growth-stages", About: "n maps in process, with acknowledgements",
		Reference: "1", N: 2e6, Payload: 8, Explicit: true,
	}
	for _, n := range []int{1, 2, 5, 10, 20} {
		chain := make([]Step, n)
		for i := range chain {
			chain[i] = threeMaps[i%len(threeMaps)]
			chain[i].Name += strconv.Itoa(i)
		}
		c.Implementations = append(c.Implementations, Implementation{
			Name: strconv.Itoa(n), About: "n=" + strconv.Itoa(n), Ours: true,
			Run: graphOf(chain), Check: checkChain(chain),
		})
	}
	c.Check = c.Implementations[0].Check
	return c
}

// portion is a part of a trial's messages, with its own streams, group or server.
type portion struct {
	stream, group, server int
}

func one(int) []portion { return make([]portion, 1) }
func streamsOf(n int) []portion {
	return portionsOf(n, func(i int) portion { return portion{stream: i} })
}
func groupsOf(n int) []portion {
	return portionsOf(n, func(i int) portion { return portion{group: i} })
}
func serversOf(n int) []portion {
	return portionsOf(n, func(i int) portion { return portion{server: 1 + i} })
}

func portionsOf(n int, at func(i int) portion) []portion {
	portions := make([]portion, n)
	for i := range portions {
		portions[i] = at(i)
	}
	return portions
}

// runPortions divides a trial's messages equally among portions, and measures from the start of all to
// the end of the last.
func runPortions(ctx context.Context, t *Trial, of Case, portions []portion, run runFunc) (err error) {
	var closers []func() error
	var left atomic.Int32
	left.Store(int32(len(portions)))
	trials := make([]*Trial, len(portions))
	defer func() {
		for _, part := range trials {
			if part != nil {
				err = errors.Join(err, part.clean(context.WithoutCancel(ctx)))
			}
		}
		for _, end := range closers {
			err = errors.Join(err, end())
		}
	}()
	tasks := make([]func(context.Context) error, len(portions))
	t.N = max(1, t.N/len(portions)) * len(portions)
	for i, s := range portions {
		rdb := t.Redis
		if s.server > 0 {
			if t.start == nil {
				return errors.New("bench: Options.Start is missing")
			}
			own, end, err := t.start(ctx)
			if err != nil {
				return err
			}
			closers, rdb = append(closers, end), own
		}
		part := newTrial(of, Implementation{}, t.N/len(portions), t.Payload, rdb, t.In)
		part.In += fmt.Sprintf(":%d", s.stream)
		part.Group += fmt.Sprintf("-%d", s.group)
		part.onStop = func() {
			if left.Add(-1) == 0 {
				t.Stop()
			}
		}
		trials[i], tasks[i] = part, func(ctx context.Context) error { return run(ctx, part) }
		if err := of.Setup(ctx, part); err != nil {
			return err
		}
	}
	if len(closers) > 0 {
		t.serverTime = func() (sum time.Duration) {
			for _, part := range trials {
				sum += part.serverCPU(ctx)
			}
			return sum
		}
	}
	t.Start()
	if err := all(ctx, tasks...); err != nil {
		return err
	}
	for _, part := range trials {
		err = errors.Join(err, of.Check(ctx, part))
	}
	return err
}

// handled is consumeGraph with workers that call f for each message.
func handled(workers int, f func()) runFunc {
	return func(ctx context.Context, t *Trial) error {
		src := source.Stream(t.Redis, source.StreamConfig[[]byte]{
			Key: t.In, Group: t.Group, Tuning: reader.Tuning{Block: blockFor},
		})
		busy := operators.Tap(src, func(context.Context, []byte) { f() }, flow.Workers(workers))
		return runSettled(ctx, t, flow.To(busy, sumPayloads(t)))
	}
}

func wait()    { time.Sleep(time.Millisecond) }
func compute() { ground.Store(int64(grindFor(40))) }

// ground keeps the compiler from leaving out the work.
var ground atomic.Int64

func grindFor(rounds int) (v int) {
	for range rounds {
		v = grind(v)
	}
	return v
}

// onCores limits this process to n cores. The server still has all.
func onCores(n int, run runFunc) runFunc {
	return func(ctx context.Context, t *Trial) error {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
		return run(ctx, t)
	}
}
