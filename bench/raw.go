package bench

import (
	"context"
	"sync"
)

// Hand-written pipelines, without acknowledgements, supervision or inspection.

type runFunc = func(ctx context.Context, t *Trial) error

// closures returns a chain in which each step calls the next.
func closures(chain []Step) runFunc {
	return func(_ context.Context, t *Trial) error {
		next := func(v int) { t.Got.AddInt(v) }
		for i := len(chain) - 1; i >= 0; i-- {
			s, to := chain[i], next
			if s.Apply != nil {
				next = func(v int) { to(s.Apply(v)) }
			} else {
				next = func(v int) {
					if s.Keep(v) {
						to(v)
					}
				}
			}
		}
		for v := range t.N {
			next(v)
		}
		return nil
	}
}

// channels gives each step a goroutine, and sends each value separately. The steps in last run
// where the values are summed.
func channels(chain []Step, buffer int, last ...Step) runFunc {
	return func(_ context.Context, t *Trial) error {
		var wg sync.WaitGroup
		defer wg.Wait()
		in := make(chan int, buffer)
		first := in
		wg.Go(func() {
			defer close(first)
			for v := range t.N {
				first <- v
			}
		})
		for i := range chain {
			from, to, s := in, make(chan int, buffer), chain[i:i+1]
			wg.Go(func() {
				defer close(to)
				for v := range from {
					if v, ok := through(s, v); ok {
						to <- v
					}
				}
			})
			in = to
		}
		for v := range in {
			if v, ok := through(last, v); ok {
				t.Got.AddInt(v)
			}
		}
		return nil
	}
}

const chunkSize = 256

// feedChunks splits the numbers up to n into chunks, and reuses the chunks that return in free.
func feedChunks(ctx context.Context, n int, free <-chan []int, out chan<- []int) {
	defer close(out)
	for v := 0; v < n; {
		var chunk []int
		select {
		case chunk = <-free:
			chunk = chunk[:0]
		default:
			chunk = make([]int, 0, chunkSize)
		}
		for range min(chunkSize, n-v) {
			chunk = append(chunk, v)
			v++
		}
		if !sendChunk(ctx, out, chunk) {
			return
		}
	}
}

func sendChunk(ctx context.Context, out chan<- []int, chunk []int) bool {
	select {
	case out <- chunk:
		return true
	case <-ctx.Done():
		return false
	}
}

// work applies a part of a chain to chunks, in place, one step at a time.
func work(ctx context.Context, part []Step, in <-chan []int, out chan<- []int) {
	for chunk := range in {
		for _, s := range part {
			chunk = s.run(chunk)
		}
		if !sendChunk(ctx, out, chunk) {
			return
		}
	}
}

func (s Step) run(chunk []int) []int {
	if s.Apply != nil {
		for i, v := range chunk {
			chunk[i] = s.Apply(v)
		}
		return chunk
	}
	kept := chunk[:0]
	for _, v := range chunk {
		if s.Keep(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// collect sums the values that arrive and returns the chunks for reuse.
func collect(t *Trial, in <-chan []int, free chan<- []int) {
	for chunk := range in {
		for _, v := range chunk {
			t.Got.AddInt(v)
		}
		select {
		case free <- chunk:
		default:
		}
	}
}

// chunks gives each part of a chain a goroutine, and sends chunks between them.
func chunks(parts [][]Step) runFunc {
	return func(ctx context.Context, t *Trial) error {
		var wg sync.WaitGroup
		defer wg.Wait()
		free := make(chan []int, 64)
		in := make(chan []int, 4)
		first := in
		wg.Go(func() { feedChunks(ctx, t.N, free, first) })
		for _, part := range parts {
			from, to := in, make(chan []int, 4)
			wg.Go(func() {
				defer close(to)
				work(ctx, part, from, to)
			})
			in = to
		}
		collect(t, in, free)
		return nil
	}
}

const poolSize = 4

// pool runs the heavy map on several goroutines, value by value.
func pool(_ context.Context, t *Trial) error {
	var feeder, workers sync.WaitGroup
	in, out := make(chan int, 1024), make(chan int, 1024)
	feeder.Go(func() {
		defer close(in)
		for v := range t.N {
			in <- v
		}
	})
	for range poolSize {
		workers.Go(func() {
			for v := range in {
				out <- grind(v)
			}
		})
	}
	feeder.Go(func() {
		workers.Wait()
		close(out)
	})
	for v := range out {
		t.Got.AddInt(v)
	}
	feeder.Wait()
	return nil
}

// chunkPool runs the heavy map on several goroutines, chunk by chunk.
func chunkPool(ctx context.Context, t *Trial) error {
	var feeder, workers sync.WaitGroup
	free, in, out := make(chan []int, 64), make(chan []int, 4), make(chan []int, 4)
	feeder.Go(func() { feedChunks(ctx, t.N, free, in) })
	for range poolSize {
		workers.Go(func() { work(ctx, heavyMap, in, out) })
	}
	feeder.Go(func() {
		workers.Wait()
		close(out)
	})
	collect(t, out, free)
	feeder.Wait()
	return nil
}
