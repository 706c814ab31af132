package gateways

import (
	"strconv"
	"testing"
)

// The set of early cancellations keeps the newest ones, up to its limit.
func TestFault_S9_RecentForgetsTheOldest(t *testing.T) {
	r := recent{most: 4}
	has := func(want ...int) {
		t.Helper()
		if len(r.slots) != len(want) || len(r.ring) > r.most {
			t.Errorf("%d members in %d slots, want %v", len(r.slots), len(r.ring), want)
		}
		for _, n := range want {
			if _, is := r.slots[strconv.Itoa(n)]; !is {
				t.Errorf("%d is no member", n)
			}
		}
	}
	if r.remove("1") {
		t.Error("an empty set has a member")
	}
	for n := range 6 {
		r.Add(strconv.Itoa(n))
		r.Add(strconv.Itoa(n))
	}
	has(2, 3, 4, 5)
	if !r.remove("3") || r.remove("3") {
		t.Error("3 is not removed once")
	}
	has(2, 4, 5)
	r.Add("6") // replaces 2
	has(4, 5, 6)
	r.Add("3") // in its old place
	r.Add("7")
	has(3, 5, 6, 7)
	if r.remove("") {
		t.Error("the slot of what was removed is a member")
	}
}
