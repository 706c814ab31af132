package bench

import "context"

// The in-process cases send the numbers 0 to n-1 through a chain of steps and sum the output.

// Step is one stage of a chain: a map, or a filter.
type Step struct {
	Name  string
	Apply func(int) int  // nil in a filter
	Keep  func(int) bool // nil in a map
}

func plusOne(v int) int    { return v + 1 }
func timesThree(v int) int { return v * 3 }
func flipBits(v int) int   { return v ^ 0x5a5a }

func notTenth(v int) bool  { return v%10 != 0 }
func notEighth(v int) bool { return v&7 != 0 }

// grind burns about half a microsecond of CPU time.
func grind(v int) int {
	x := uint64(v) | 1
	for range 256 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return int(x >> 1)
}

var (
	threeMaps = []Step{
		{Name: "plus-one", Apply: plusOne},
		{Name: "times-three", Apply: timesThree},
		{Name: "flip-bits", Apply: flipBits},
	}
	fiveStages = []Step{
		{Name: "plus-one", Apply: plusOne},
		{Name: "not-tenth", Keep: notTenth},
		{Name: "times-three", Apply: timesThree},
		{Name: "not-eighth", Keep: notEighth},
		{Name: "flip-bits", Apply: flipBits},
	}
	heavyMap = []Step{{Name: "grind", Apply: grind}}
)

// chainCase returns a case that sends numbers through a chain.
func chainCase(name, about string, n int, chain []Step, reference string, impls ...Implementation) Case {
	return Case{
		Name: "inproc-" + name, About: about, Reference: reference, N: n, Payload: 8, Chain: chain,
		Check: checkChain(chain), Implementations: impls,
	}
}

// checkChain returns a check of the output of a chain.
func checkChain(chain []Step) runFunc {
	return func(_ context.Context, t *Trial) error {
		var want Tally
		for v := range t.N {
			if v, ok := through(chain, v); ok {
				want.AddInt(v)
			}
		}
		return compare("the chain's output", t.Got, want)
	}
}

func through(chain []Step, v int) (int, bool) {
	for i := range chain {
		s := &chain[i]
		switch {
		case s.Apply != nil:
			v = s.Apply(v)
		case !s.Keep(v):
			return 0, false
		}
	}
	return v, true
}

// AddInt adds a value of an in-process case.
func (y *Tally) AddInt(v int) { y.add(8, uint64(v)) }

func maps() Case {
	return chainCase(
		"maps",
		"three maps with acknowledgements, fused into one loop",
		4e6,
		threeMaps,
		"chan-chunks",
		Implementation{
			Name:  "default",
			Ours:  true,
			About: "source, operators.Map three times, sink",
			Run:   graphOf(threeMaps),
		},
		Implementation{
			Name:  "inline",
			Ours:  true,
			About: "the same on the source's goroutine, as with source.Of",
			Run:   graphInline(threeMaps),
		},
		Implementation{
			Name:  "loop",
			About: "a plain loop, inlined by the compiler",
			Run: func(_ context.Context, t *Trial) error {
				for v := range t.N {
					t.Got.AddInt(flipBits(timesThree(plusOne(v))))
				}
				return nil
			},
		},
		Implementation{Name: "closures", About: "each step is a closure that calls the next", Run: closures(threeMaps)},
		Implementation{
			Name:  "chan-unbuffered",
			About: "a goroutine for each step, unbuffered channels",
			Slow:  10,
			Run:   channels(threeMaps, 0),
		},
		Implementation{
			Name:  "chan-1024",
			About: "a goroutine for each step, channels of 1024",
			Slow:  4,
			Run:   channels(threeMaps, 1024),
		},
		Implementation{
			Name:  "chan-chunks",
			About: "a goroutine for each step, channels of chunks of 256, select with ctx",
			Run:   chunks(each(threeMaps)),
		},
	)
}

func stages() Case {
	return chainCase(
		"stages",
		"five stages, alternating maps and filters, with acknowledgements",
		4e6,
		fiveStages,
		"chan-chunks",
		Implementation{
			Name:  "default",
			Ours:  true,
			About: "source, operators.Map and Filter, sink",
			Run:   graphOf(fiveStages),
		},
		Implementation{
			Name:  "inline",
			Ours:  true,
			About: "the same on the source's goroutine, as with source.Of",
			Run:   graphInline(fiveStages),
		},
		Implementation{
			Name:  "loop",
			About: "a plain loop, inlined by the compiler",
			Run: func(_ context.Context, t *Trial) error {
				for v := range t.N {
					if v = plusOne(v); !notTenth(v) {
						continue
					}
					if v = timesThree(v); !notEighth(v) {
						continue
					}
					t.Got.AddInt(flipBits(v))
				}
				return nil
			},
		},
		Implementation{
			Name:  "closures",
			About: "each step is a closure that calls the next",
			Run:   closures(fiveStages),
		},
		Implementation{
			Name:  "chan-unbuffered",
			About: "a goroutine for each step, unbuffered channels",
			Slow:  10,
			Run:   channels(fiveStages, 0),
		},
		Implementation{
			Name:  "chan-1024",
			About: "a goroutine for each step, channels of 1024",
			Slow:  4,
			Run:   channels(fiveStages, 1024),
		},
		Implementation{
			Name:  "chan-chunks",
			About: "a goroutine for each step, channels of chunks of 256, select with ctx",
			Run:   chunks(each(fiveStages)),
		},
	)
}

func async() Case {
	return chainCase(
		"async",
		"three maps, the second on its own goroutine",
		4e6,
		threeMaps,
		"chan-chunks",
		Implementation{
			Name:  "default",
			Ours:  true,
			About: "operators.Map three times, the second with flow.Async",
			Run:   graphOf(threeMaps, 1),
		},
		Implementation{
			Name:  "chan-1024",
			About: "two goroutines, channels of 1024",
			Slow:  4,
			Run:   channels(threeMaps[:2], 1024, threeMaps[2]),
		},
		Implementation{
			Name:  "chan-chunks",
			About: "two goroutines, channels of chunks of 256, select with ctx",
			Run:   chunks([][]Step{threeMaps[:1], threeMaps[1:]}),
		},
	)
}

func workers() Case {
	return chainCase(
		"workers",
		"one map of about half a microsecond on four goroutines",
		1e6,
		heavyMap,
		"chan-chunks",
		Implementation{
			Name:  "default",
			Ours:  true,
			About: "operators.Map with flow.Workers(4)",
			Run:   graphWorkers("ordered"),
		},
		Implementation{
			Name:  "unordered",
			Ours:  true,
			About: "and flow.Unordered",
			Run:   graphWorkers("unordered"),
		},
		Implementation{
			Name:  "keyed",
			Ours:  true,
			About: "the same with flow.KeyedBy, 1000 keys",
			Run:   graphWorkers("keyed"),
		},
		Implementation{Name: "loop", About: "one goroutine", Run: closures(heavyMap)},
		Implementation{Name: "chan-1024", About: "four goroutines, channels of 1024, unordered", Run: pool},
		Implementation{
			Name:  "chan-chunks",
			About: "four goroutines, channels of chunks of 256, unordered, select with ctx",
			Run:   chunkPool,
		},
	)
}

func each(chain []Step) [][]Step {
	parts := make([][]Step, len(chain))
	for i := range chain {
		parts[i] = chain[i : i+1]
	}
	return parts
}
