package flowtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// await calls look until it returns true, each time after the returned channel has been closed, for
// at most d.
func await(d time.Duration, look func() (bool, <-chan struct{})) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		ok, changed := look()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			ok, _ = look()
			return ok
		}
	}
}

// probe is the part of a Feeder and of a Collector that assertions wait for.
type probe struct {
	t       testing.TB
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
}

// set makes a change.
func (p *probe) set(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
	p.change()
}

// change wakes waiting assertions; mu is held.
func (p *probe) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// until waits until cond, called with mu held, is true, and reports whether it became so within d.
func (p *probe) until(d time.Duration, cond func() bool) bool {
	return await(d, func() (bool, <-chan struct{}) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return cond(), p.changed
	})
}

// around makes a call, through the Around if one is set.
func around(mu *sync.Mutex, a *Around, ctx context.Context, call func() error) error {
	mu.Lock()
	through := *a
	mu.Unlock()
	if through == nil {
		return call()
	}
	return through(ctx, call)
}

// wantList checks values, in order if that is kept.
func wantList[T any](t *testing.T, what string, o Order, want, got []T) {
	t.Helper()
	diff := bagDiff(want, got)
	if o == Kept {
		diff = listDiff(want, got)
	}
	if diff != "" {
		t.Errorf("%s (-want +got), order %s:\n%s", what, o, diff)
	}
}

// listDiff compares two lists by their printed elements; "" if they are equal.
func listDiff[T any](want, got []T) string {
	w, g := printed(want), printed(got)
	at := 0
	for at < len(w) && at < len(g) && w[at] == g[at] {
		at++
	}
	if at == len(w) && at == len(g) {
		return ""
	}
	return fmt.Sprintf("  %d equal\n- %s\n+ %s", at, short(w[at:]), short(g[at:]))
}

// bagDiff is listDiff regardless of order.
func bagDiff[T any](want, got []T) string {
	count := make(map[string]int)
	for _, v := range printed(want) {
		count[v]++
	}
	var more []string
	for _, v := range printed(got) {
		if count[v]--; count[v] < 0 {
			more = append(more, v)
		}
	}
	var less []string
	for _, v := range printed(want) {
		if count[v] > 0 {
			count[v]--
			less = append(less, v)
		}
	}
	if len(less)+len(more) == 0 {
		return ""
	}
	return fmt.Sprintf("- %s\n+ %s", short(less), short(more))
}

// setOf returns the set of the printed values.
func setOf[T any](values []T) map[string]bool {
	set := make(map[string]bool, len(values))
	for _, k := range printed(values) {
		set[k] = true
	}
	return set
}

func printed[T any](values []T) []string {
	s := make([]string, len(values))
	for i, v := range values {
		s[i] = fmt.Sprintf("%+v", v)
	}
	return s
}

// short prints the first elements of a list.
func short(s []string) string {
	const most = 20
	if len(s) > most {
		return fmt.Sprintf("%s … (%d in all)", strings.Join(s[:most], " "), len(s))
	}
	return strings.Join(s, " ")
}
