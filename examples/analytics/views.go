package main

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// View is one page view.
type View struct {
	User string    `json:"user"`
	Page string    `json:"page"`
	Ms   float64   `json:"ms"` // how long the page took to load
	At   time.Time `json:"at"`
}

var pages = []string{
	"/",
	"/pricing",
	"/docs",
	"/docs/start",
	"/blog",
	"/login",
	"/about",
	"/jobs",
	"/status",
	"/imprint",
}

const (
	slack = 20 * time.Second // by how much a view may be older than the newest
	gap   = 2 * time.Minute  // without a view, after which a session ends
)

// generate makes n views within a number of minutes that begin at a time. They are in the order in
// which they arrive: most up to 15 seconds after they happened, and some up to two minutes.
func generate(n, minutes int, begin time.Time, seed uint64) []View {
	rng := rand.New(rand.NewPCG(seed, 1))
	span := time.Duration(minutes) * time.Minute
	type arriving struct {
		View
		arrives time.Time
	}
	all := make([]arriving, 0, n)
	for len(all) < n {
		// A visit is a few pages by one user. Visits come in waves, and the site is slow at their peaks.
		user := fmt.Sprintf("user-%03d", int(math.Abs(rng.NormFloat64())*150))
		at := time.Duration(rng.Int64N(int64(span)))
		wave := 0.5 + 0.5*math.Sin(2*math.Pi*8*float64(at)/float64(span))
		if rng.Float64() > 0.3+0.7*wave {
			continue
		}
		for range 1 + rng.IntN(6) {
			if len(all) == n || at >= span {
				break
			}
			v := View{User: user, At: begin.Add(at).Truncate(time.Millisecond),
				Page: pages[min(int(rng.ExpFloat64()*2), len(pages)-1)],
				Ms:   math.Round(80 + 40*rng.ExpFloat64()*(1+3*wave)),
			}
			delay := time.Duration(rng.Int64N(int64(15 * time.Second)))
			if rng.IntN(50) == 0 {
				delay = time.Duration(rng.Int64N(int64(2 * time.Minute)))
			}
			all = append(all, arriving{v, v.At.Add(delay)})
			at += time.Duration(rng.Int64N(int64(30 * time.Second)))
		}
	}
	slices.SortStableFunc(all, func(a, b arriving) int { return a.arrives.Compare(b.arrives) })
	views := make([]View, n)
	for i := range all {
		views[i] = all[i].View
	}
	return views
}

// byTime sorts minutes.
func byTime(a, b Minute) int { return cmp.Compare(a.Start.UnixNano(), b.Start.UnixNano()) }
