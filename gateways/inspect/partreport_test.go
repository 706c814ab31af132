package inspect

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways"
)

func TestClientFigures(t *testing.T) {
	var s gateways.ClientStats
	s.Waiting = 2
	s.Sends[gateways.CallAnswered].Count = 1
	s.Streams[gateways.CallTimedOut].Count = 3
	l := &s.Calls[gateways.CallAnswered]
	for i, bound := range append(gateways.CallBounds(), time.Hour) {
		l.Buckets[i] = 1
		if bound == 10*time.Millisecond {
			l.Buckets[i] = 5
		}
		l.Count += l.Buckets[i]
	}
	got := make(map[string]int64)
	bad := 0
	for _, f := range clientFigures(s) {
		got[f.Name] = f.Value
		if f.Bad {
			bad++
		}
	}
	want := map[string]int64{
		"waiting": 2, "answered": 21, "failed": 0, "timed out": 3, "overloaded": 0, "unavailable": 0,
		"cancelled": 0, "invalid": 0,
		"answered within 10ms": 10, "answered within 100ms": 13, "answered within 1s": 16, "answered later": 4,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if bad != 6 {
		t.Errorf("%d figures are bad, want 6", bad)
	}
}
