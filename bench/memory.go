package bench

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/bench/internal/resident"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// memory is not a comparison. It sends many messages through a graph that copies, partitions,
// batches and joins them, and observes the memory.
func memory() Case {
	return Case{
		Name: "memory", About: "heap and resident memory of a graph with all kinds of edges; both must stay flat",
		Reference: "default", N: 10_000_000, Payload: 100, Explicit: true,
		Check: func(_ context.Context, t *Trial) error {
			if want := 2 * t.N; t.Got.Count != want {
				return fmt.Errorf("the graph returned %d messages, want %d", t.Got.Count, want)
			}
			return nil
		},
		Implementations: []Implementation{
			{
				Name:  "default",
				Ours:  true,
				About: "source, map, fan-out, partition, batch, unbatch, fan-in, workers, sink",
				Run:   memoryRun,
			},
		},
	}
}

// letters is a source of fresh payloads with metadata, like entries of a stream.
type letters struct {
	next, max int
	size      int
}

func (r *letters) Read(_ context.Context, in *flow.Intake[[]byte]) error {
	if r.next == r.max {
		return io.EOF
	}
	n := min(in.Room(), r.max-r.next)
	slab := make([]byte, n*r.size)
	for i := range n {
		in.Add(slab[i*r.size:(i+1)*r.size], flow.Meta{ID: "1732360000000-0", Key: "k"}, r.size)
		r.next++
	}
	return nil
}

func (r *letters) Commit(context.Context, []flow.Settlement) error { return nil }

func memoryRun(ctx context.Context, t *Trial) error {
	src := flow.NewSource("letters", func() flow.Reader[[]byte] { return &letters{max: t.N, size: t.Payload} })
	same := flow.Pure(func(b []byte) []byte { return b })
	copies := operators.FanOut(operators.Map(src, same), 2)
	shards := operators.Partition(copies[0], 2, func(b []byte) int { return int(b[0]) })
	for i := range shards {
		shards[i] = operators.Unbatch(operators.Batch(shards[i], 64, 10*time.Millisecond))
	}
	joined := operators.FanIn(shards[0], shards[1], operators.Map(copies[1], same, flow.Workers(2)))
	count := flow.NewSink("count", func() flow.Writer[[]byte] {
		return flow.WriterFunc[[]byte](func(_ context.Context, chunk []flow.Message[[]byte]) error {
			t.Got.Count += len(chunk)
			return nil
		})
	})
	r, err := flow.New("memory", flow.To(joined, count)).Start(ctx)
	if err != nil {
		return err
	}
	var w watch
	var wg sync.WaitGroup
	wg.Go(func() { w.run(t, r) })
	err = r.Wait()
	wg.Wait()
	if err != nil {
		return err
	}
	return w.flat(t)
}

// sample is the memory at one time, in bytes.
type sample struct{ heap, resident uint64 }

// watch samples the memory at intervals.
type watch struct{ samples []sample }

const (
	tenths    = 20      // number of samples that are logged
	leastFlat = 100_000 // messages that need more memory than the noise, if it grows with them
)

func (w *watch) run(t *Trial, r *flow.Running) {
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	told := 0
	done, cancel := context.WithCancel(context.Background())
	cancel() // snapshots do not query a server
	for {
		select {
		case <-r.Done():
			return
		case <-every.C:
		}
		w.samples = append(w.samples, memoryNow())
		settled := 0
		for _, s := range r.Snapshot(done).Sources {
			settled += int(s.Settled)
		}
		if settled >= told*t.N/tenths {
			s := w.samples[len(w.samples)-1]
			t.Logf("%12d messages: heap %6.1f MiB, resident %6.1f MiB, %d goroutines",
				settled, mib(s.heap), mib(s.resident), runtime.NumGoroutine())
			told = settled*tenths/t.N + 1
		}
	}
}

func mib(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

func memoryNow() sample {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return sample{heap: m.HeapAlloc, resident: resident.Set()}
}

// flat returns an error if the second half of a run needed more memory than the first. The first
// tenth, in which buffers fill, does not count.
func (w *watch) flat(t *Trial) error {
	if len(w.samples) < 20 || t.N < leastFlat {
		t.Logf("not judged: the run is too short, with only %d messages and %d samples", t.N, len(w.samples))
		return nil
	}
	rest := w.samples[len(w.samples)/10:]
	first, second := peak(rest[:len(rest)/2]), peak(rest[len(rest)/2:])
	t.Logf("peak of the first half: heap %.1f MiB, resident %.1f MiB; of the second: %.1f, %.1f",
		mib(first.heap), mib(first.resident), mib(second.heap), mib(second.resident))
	const slack = 8 << 20
	if second.heap > first.heap*5/4+slack || second.resident > first.resident*5/4+slack {
		return fmt.Errorf(
			"memory grows: %.1f MiB of heap in the first half, %.1f in the second; resident %.1f and %.1f",
			mib(first.heap),
			mib(second.heap),
			mib(first.resident),
			mib(second.resident),
		)
	}
	return nil
}

func peak(samples []sample) (most sample) {
	for _, s := range samples {
		most.heap, most.resident = max(most.heap, s.heap), max(most.resident, s.resident)
	}
	return most
}
