package flowtest

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow/internal/run"
)

// Idea of the watchdog: a conformance test runs on a goroutine of its own, in a bubble if its time is
// virtual. The test's goroutine is outside of the bubble and measures real time. When the time is over
// it fails the test, prints the goroutines that the test has started, and leaves them behind.

const (
	defaultLimit = time.Minute
	patiences    = 6                // that a test in real time may use up
	reserve      = 5 * time.Second  // between the watchdog and the -timeout of go test
	cleanUp      = 15 * time.Second // for the cleanups of a test that hangs: a stop may take KillGrace
)

// limitOf returns the limit of a suite; 0 for none. patience is how long one wait of a test may take in real time.
func limitOf(limit, patience time.Duration, realTime bool) time.Duration {
	switch {
	case limit < 0:
		return 0
	case limit == 0 && realTime:
		return max(defaultLimit, patiences*patience)
	}
	return cmp.Or(limit, defaultLimit)
}

// runIn runs a subtest, in a bubble unless it needs real time, and fails it when it hangs. It reports whether the
// subtest passed.
func runIn(t *testing.T, name string, realTime bool, limit time.Duration, f func(t *testing.T)) bool {
	return t.Run(name, func(t *testing.T) {
		if end, ok := t.Deadline(); ok && limit > 0 {
			if left := time.Until(end) - reserve; left > 0 {
				limit = min(limit, left)
			}
		}
		watched(t, limit, func() {
			if realTime {
				f(t)
				return
			}
			synctest.Test(t, f)
		})
	})
}

// watched calls f, and fails the test if f panics, or has not returned within the limit.
func watched(t *testing.T, limit time.Duration, f func()) {
	before := goroutines()
	done := make(chan struct{})
	hung, cleaned := false, make(chan struct{})
	t.Cleanup(func() { // registered first, so it runs last
		close(cleaned)
		if hung {
			soon(done, min(limit, time.Second)) // later reports would arrive after the end of its test
		}
	})
	run.Aside(func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil { // a deadlocked bubble panics
				t.Errorf("flowtest: %s panicked: %v\n\n%s\n%s", t.Name(), v, debug.Stack(), started(before))
			}
		}()
		f()
	})
	if limit <= 0 {
		<-done
		return
	}
	if soon(done, limit) {
		return
	}
	hung = true
	report := fmt.Sprintf("flowtest: %s hangs: it has not ended after %v; its goroutines are:\n\n%s",
		t.Name(), limit, started(before))
	t.Error(report)
	run.Aside(func() {
		if !soon(cleaned, cleanUp) { // nothing else can end this test
			panic(report + "\nflowtest: and its cleanups hang, too")
		}
	})
}

// soon waits for c to be closed, for at most d, and reports whether it was.
func soon(c <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
		return false
	}
}

// mostStack is the most that is read of all stacks, and mostShown the most goroutines that are shown.
const (
	mostStack = 4 << 20
	mostShown = 40
)

// goroutines returns the stacks of all goroutines, each with the text that identifies it.
func goroutines() (all []stack) {
	buf := make([]byte, 64<<10)
	n := runtime.Stack(buf, true)
	for n == len(buf) && n < mostStack {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	for text := range strings.SplitSeq(string(buf[:n]), "\n\n") {
		id, _, _ := strings.Cut(text, " [")
		all = append(all, stack{id: id, text: text})
	}
	return all
}

type stack struct{ id, text string }

// started returns the stacks of the goroutines that were not there before.
func started(before []stack) string {
	known := make(map[string]bool, len(before))
	for _, g := range before {
		known[g.id] = true
	}
	var text strings.Builder
	shown, more := 0, 0
	for _, g := range goroutines() {
		switch {
		case known[g.id]:
		case shown == mostShown:
			more++
		default:
			shown++
			fmt.Fprintf(&text, "%s\n\n", g.text)
		}
	}
	if more > 0 {
		fmt.Fprintf(&text, "and %d more\n", more)
	}
	return text.String()
}
