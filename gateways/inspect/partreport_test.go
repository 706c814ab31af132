package inspect

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways"
)

func TestClientFigures(t *testing.T) {
	var s gateways.ClientStats
	s.Waiting = 2
	s.Sends[gateways.CallAnswered].Count = 1
	s.Streams[gateways.CallTimedOut].Count = 3
	s.Calls[gateways.CallAnswered].Count = 20
	s.Calls[gateways.CallAnswered].Buckets[3] = 20
	part := clientPart("orders", s)
	got := make(map[string]int64)
	bad := 0
	for _, f := range part.Figures {
		got[f.Name] = f.Value
		if f.Bad {
			bad++
		}
	}
	want := map[string]int64{
		"waiting": 2, "answered": 21, "failed": 0, "timed out": 3, "overloaded": 0, "unavailable": 0,
		"cancelled": 0, "invalid": 0,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if bad != 5 {
		t.Errorf("%d figures are bad, want 5", bad)
	}
}

func TestLatencyOfParts(t *testing.T) {
	buckets := func(at ...int) []uint64 {
		var all [len(gateways.Latency{}.Buckets)]uint64
		for _, i := range at {
			all[i]++
		}
		return all[:]
	}
	for name, c := range map[string]struct {
		now, was []uint64
		p50, p99 string
	}{
		"no calls":    {buckets(), buckets(), "", ""},
		"one":         {buckets(5), nil, "≤ 10ms", "≤ 10ms"},
		"quick":       {buckets(0, 0, 0), buckets(), "≤ 250µs", "≤ 250µs"},
		"a slow one":  {buckets(1, 1, 1, 15), buckets(), "≤ 500µs", "> 10s"},
		"recent only": {buckets(15, 15, 15, 8), buckets(15, 15, 15), "≤ 100ms", "≤ 100ms"},
		"quiet now":   {buckets(8), buckets(8), "≤ 100ms", "≤ 100ms"},
		"restarted":   {buckets(8), buckets(15, 15, 15), "≤ 100ms", "≤ 100ms"},
	} {
		var v partView
		was := &PartReport{Took: c.was}
		if c.was == nil {
			was = nil
		}
		v.add(&PartReport{Took: c.now}, was, 2)
		v.latency()
		if v.Median != c.p50 || v.Slowest != c.p99 {
			t.Errorf("%s: p50 %q, p99 %q, want %q, %q", name, v.Median, v.Slowest, c.p50, c.p99)
		}
	}
}
