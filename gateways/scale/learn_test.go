package scale

import (
	"math"
	"testing"
	"time"
)

var start = time.Unix(1_700_000_000, 0)

// at is the progress after some seconds.
func at(seconds float64, settled int64, waits bool) progress {
	return progress{at: start.Add(time.Duration(seconds * float64(time.Second))), settled: settled, waits: waits}
}

func TestLearn(t *testing.T) {
	for _, c := range []struct {
		name   string
		points []progress
		want   float64
	}{
		{"one question teaches nothing", []progress{at(0, 100, true)}, 0},
		{"two do", []progress{at(0, 100, true), at(10, 300, true)}, 20},
		{"the rate follows while entries wait",
			[]progress{at(0, 0, true), at(40, 4000, true), at(80, 4000+400, true)}, 55},
		{"an idle group could do more", []progress{at(0, 0, true), at(10, 1000, false), at(1000, 1010, false)}, 100},
		{"nothing runs: the rate stays", []progress{at(0, 0, true), at(10, 100, true), at(5000, 100, true)}, 10},
		{"questions too close", []progress{at(0, 0, true), at(10, 100, true), at(10.5, 4000, true)}, 10},
		{"a stream that was replaced", []progress{at(0, 5000, true), at(10, 6000, true), at(20, 3, true)}, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before progress
			for _, p := range c.points {
				p.rate = before.rate
				p.learn(before)
				before = p
			}
			if math.Abs(before.rate-c.want) > 1e-9 {
				t.Errorf("rate %v, want %v", before.rate, c.want)
			}
		})
	}
}

func TestBacklog(t *testing.T) {
	for _, c := range []struct {
		name      string
		age       float64
		unsettled int64
		rate      float64
		want      float64
	}{
		{"nothing to do", 0, 0, 5, 0},
		{"the age counts", 90, 10, 5, 90},
		{"the work counts", 90, 1000, 5, 200},
		{"no rate: the age", 90, 1000, 0, 90},
		{"no rate and no age: enough for a replica", 0, 1, 0, 1},
		{"one poisoned entry", 0, 1, 5, 0.2},
		{"never 0 while there is work", 0, 1, 1e6, 0.001},
		{"bounded", 0, 1e9, 1, 3600},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := backlog(c.age, c.unsettled, c.rate, time.Hour); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestAgeOf(t *testing.T) {
	now := time.UnixMilli(1_700_000_010_000)
	for id, want := range map[string]float64{"": 0, "1700000000000-0": 10, "1-0": 0, "1700000020000-0": 0, "x": 0} {
		if got := ageOf(id, now); got != want {
			t.Errorf("the age of %q is %v, want %v", id, got, want)
		}
	}
}
