// Package sketch has aggregates of windows that estimate: Distinct counts different values, and
// Quantiles finds medians and percentiles. They need little memory, however many values a window
// has. They are a package of their own because they bring libraries with them.
package sketch

import (
	"math"
	"math/rand/v2"

	"github.com/axiomhq/hyperloglog"
	"github.com/caio/go-tdigest/v4"
	"github.com/cespare/xxhash/v2"

	"github.com/streamerson/streamerson-go/operators/window"
)

// Distinct counts different strings by a HyperLogLog. The standard error is 0.8 %; small counts are
// nearly exact. A window needs up to 16 KiB.
func Distinct[T any](of func(T) string) window.Aggregate[T, *hyperloglog.Sketch, uint64] {
	return window.Aggregate[T, *hyperloglog.Sketch, uint64]{
		New: hyperloglog.New14,
		Add: func(s *hyperloglog.Sketch, v T) (*hyperloglog.Sketch, error) {
			s.InsertHash(xxhash.Sum64String(of(v)))
			return s, nil
		},
		Merge: func(a, b *hyperloglog.Sketch) *hyperloglog.Sketch {
			_ = a.Merge(b) // fails only for sketches of different precisions
			return a
		},
		Result: func(s *hyperloglog.Sketch) uint64 { return s.Clone().Estimate() }, // Estimate changes a sketch
	}
}

// Quantiles estimates quantiles by a t-digest: for Quantiles(of, 0.5, 0.95) the result of a window is
// its median and its 95th percentile. They are most exact at the ends: the error is well below 1 % of
// the ranks in the middle. It ignores NaN and infinities. The quantiles of no values are NaN. A
// quantile outside of 0 to 1 is taken as 0 or 1. A window needs about 10 KiB.
func Quantiles[T any](of func(T) float64, quantiles ...float64) window.Aggregate[T, *tdigest.TDigest, []float64] {
	return window.Aggregate[T, *tdigest.TDigest, []float64]{
		New: newDigest,
		Add: func(d *tdigest.TDigest, v T) (*tdigest.TDigest, error) {
			f := of(v)
			if math.IsNaN(f) || math.IsInf(f, 0) {
				return d, nil
			}
			return d, d.Add(f)
		},
		Merge: func(a, b *tdigest.TDigest) *tdigest.TDigest {
			if err := a.Merge(b); err != nil {
				panic(err) // only for weights that overflow
			}
			return a
		},
		Result: func(d *tdigest.TDigest) []float64 {
			all := make([]float64, len(quantiles))
			for i, q := range quantiles {
				all[i] = d.Quantile(min(max(q, 0), 1))
			}
			return all
		},
	}
}

// newDigest returns a digest with the same random choices each time.
func newDigest() *tdigest.TDigest {
	d, err := tdigest.New(tdigest.RandomNumberGenerator(random{rand.New(rand.NewPCG(1, 2))}))
	if err != nil {
		panic(err) // only for bad options
	}
	return d
}

// random has the methods that the library wants.
type random struct{ *rand.Rand }

// Intn returns a number from 0 to n-1.
func (r random) Intn(n int) int { return r.IntN(n) }
