package bench

import (
	"testing"
)

// opAllocs has the allocations per message that an operator needs for its result, with the reason.
var opAllocs = map[string]float64{
	"op-zip":            0.2, // a join of each pair, made for several at once
	"op-debounce":       1.1, // each value that waits
	"op-delay":          1.1, // each value that waits
	"op-merge-sequence": 0.2,
	"op-balance":        3,   // chunks of one message
	"op-group-by":       0.7, // the sub-pipelines of 1000 keys
	"op-window":         0.2, // the values of each window
	"op-window-time":    0.2,
	"op-window-keys":    0.6,
}

// TestOperatorAllocations runs each operator, and checks that it allocates per message no more than its
// result needs.
func TestOperatorAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, c := range operatorCases() {
		t.Run(c.Name, func(t *testing.T) {
			c.Implementations = c.Implementations[:1]
			c.Reference = ""
			want := opAllocs[c.Name]
			if want == 0 {
				want = 0.1
			}
			allocs := want + 1
			for try := 0; allocs > want && try < tries; try++ {
				err := Run(t.Context(), Options{Cases: []Case{c}, N: 50_000, Reps: 1, Each: func(results []Result) {
					for _, r := range results {
						allocs = r.Allocs
						t.Logf("%.3f allocations, %.0f bytes, %.0f ns", r.Allocs, r.Bytes, 1e9/r.PerSecond)
					}
				}})
				if err != nil {
					t.Fatal(err)
				}
			}
			if allocs > want {
				t.Errorf("%.2f allocations per message, want at most %.2f", allocs, want)
			}
		})
	}
}
