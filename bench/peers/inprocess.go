package main

import (
	"context"

	"github.com/destel/rill"
	"github.com/reugn/go-streams"
	"github.com/reugn/go-streams/extension"
	"github.com/reugn/go-streams/flow"
	"github.com/samber/ro"

	"github.com/streamerson/streamerson-go/bench"
)

// inProcessOf returns the frameworks without Redis. They acknowledge nothing.
func inProcessOf(c bench.Case) []bench.Implementation {
	all := []bench.Implementation{
		{
			Name:  "go-streams",
			Slow:  10,
			About: "reugn/go-streams: Map and Filter between channels",
			Run:   goStreams(c.Chain, 1),
		},
		{Name: "rill", Slow: 10, About: "destel/rill: Map and Filter with one goroutine each", Run: rillOf(c.Chain, 1)},
		{Name: "ro", Slow: 4, About: "samber/ro: Map and Filter on one goroutine", Run: roOf(c.Chain)},
	}
	switch c.Name {
	case "inproc-maps", "inproc-stages":
		return all
	case "inproc-workers":
		all[0].About, all[0].Run = "reugn/go-streams: Map with a parallelism of four, unordered", goStreams(c.Chain, 4)
		all[1].About, all[1].Run = "destel/rill: Map with four goroutines, unordered", rillOf(c.Chain, 4)
		return all[:2]
	}
	return operatorOf(c)
}

func goStreams(chain []bench.Step, parallel int) func(context.Context, *bench.Trial) error {
	return goStreamsThrough(func(src streams.Source) streams.Flow {
		var last streams.Flow
		for _, s := range chain {
			if s.Apply != nil {
				last = src.Via(flow.NewMap(s.Apply, parallel))
			} else {
				last = src.Via(flow.NewFilter(s.Keep, parallel))
			}
			src = last
		}
		return last
	})
}

// goStreamsThrough sends the numbers through flows.
func goStreamsThrough(flows func(streams.Source) streams.Flow) func(context.Context, *bench.Trial) error {
	return func(_ context.Context, t *bench.Trial) error {
		in, out := make(chan any), make(chan any)
		go func() { // ends when all numbers are read
			defer close(in)
			for v := range t.N {
				in <- v
			}
		}()
		last := flows(extension.NewChanSource(in))
		go last.To(extension.NewChanSink(out)) // closes out
		for v := range out {
			t.Got.AddInt(v.(int))
		}
		return nil
	}
}

type tries = <-chan rill.Try[int]

func rillOf(chain []bench.Step, parallel int) func(context.Context, *bench.Trial) error {
	return rillThrough(func(in tries) tries {
		for _, s := range chain {
			if s.Apply != nil {
				in = rill.Map(in, parallel, func(v int) (int, error) { return s.Apply(v), nil })
			} else {
				in = rill.Filter(in, parallel, func(v int) (bool, error) { return s.Keep(v), nil })
			}
		}
		return in
	})
}

// rillThrough sends the numbers through a pipeline of channels.
func rillThrough(pipeline func(tries) tries) func(context.Context, *bench.Trial) error {
	return func(_ context.Context, t *bench.Trial) error {
		in := rill.Generate(func(send func(int), _ func(error)) {
			for v := range t.N {
				send(v)
			}
		})
		return rill.ForEach(pipeline(in), 1, func(v int) error {
			t.Got.AddInt(v)
			return nil
		})
	}
}

type ints = ro.Observable[int]

func roOf(chain []bench.Step) func(context.Context, *bench.Trial) error {
	return roThrough(func(src ints) ints {
		for _, s := range chain {
			if s.Apply != nil {
				src = ro.Map(s.Apply)(src)
			} else {
				src = ro.Filter(s.Keep)(src)
			}
		}
		return src
	})
}

// roThrough sends the numbers through observables.
func roThrough(observe func(ints) ints) func(context.Context, *bench.Trial) error {
	return func(_ context.Context, t *bench.Trial) error {
		numbers := ro.NewUnsafeObservable(func(to ro.Observer[int]) ro.Teardown {
			for v := range t.N {
				to.Next(v)
			}
			to.Complete()
			return nil
		})
		var failed error
		observe(numbers).Subscribe(ro.NewObserver(t.Got.AddInt, func(err error) { failed = err }, func() {})).Wait()
		return failed
	}
}
