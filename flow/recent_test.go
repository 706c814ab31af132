package flow

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// brief shows events without times.
func brief(events []Event) (lines []string) {
	for _, e := range events {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %d %s %.12s",
			e.Kind, e.Stage, e.ID, e.Tries, e.Do, e.Error)))
	}
	return lines
}

func failing(f func(int) error) Sink[int] { return (&bag[int]{fail: f}).sink() }

func TestRecentEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(100)
		src.every, src.perRead = time.Second, 1
		boom := errors.New("boom " + strings.Repeat("é", maxEventText))
		fails := failing(func(i int) error {
			if i >= 10 {
				return boom
			}
			return nil
		})
		r := start(t, New("g", To(src.source(), fails), Faults(Retry(2, time.Millisecond, DeadLetter))))
		time.Sleep(2500 * time.Millisecond)
		r.Pause()
		r.Pause() // changes nothing
		time.Sleep(time.Second)
		r.Resume()
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		got := r.Recent()
		var faults, changes []Event
		for i, e := range got {
			if i > 0 && e.Time.Before(got[i-1].Time) {
				t.Errorf("event %d is older than the one before", i)
			}
			if e.Kind == EventFault {
				faults = append(faults, e)
			} else {
				changes = append(changes, e)
			}
		}
		if d := cmp.Diff([]string{"started   0", "paused   0", "resumed   0", "ended   0"}, brief(changes)); d != "" {
			t.Errorf("changes (-want +got):\n%s", d)
		}
		if len(faults) != recentFaults { // one for each message, not one for each try
			t.Fatalf("%d faults", len(faults))
		}
		for i, e := range faults {
			if e.Tries != 3 || e.Do != "dead letter" || e.ID != fmt.Sprint(100-recentFaults+i) || e.Stage != "bag" {
				t.Errorf("fault %d: %+v", i, brief(faults[i:i+1]))
			}
			if n := len(e.Error); n > maxEventText+len("…") || !strings.HasSuffix(e.Error, "é…") {
				t.Fatalf("the error has %d bytes and ends with %q", n, e.Error[n-5:])
			}
		}
	})
}

func TestRecentRestartsAndFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(500)
		src.openErr = func() error { return errBoom }
		r := start(t, New("g", To(src.source(), (&bag[int]{}).sink()), Restarts(2, time.Minute, time.Second)))
		if err := r.Wait(); err == nil {
			t.Fatal("it ended cleanly")
		}
		want := []string{"started", "restart", "restart", "stopping", "ended"}
		for i, e := range r.Recent() {
			if i >= len(want) || string(e.Kind) != want[i] || (e.Error == "") != (e.Kind == EventStarted) {
				t.Errorf("event %d: %+v", i, e)
			}
		}
	})
}

// faulty is an error with a method Error that panics.
type faulty struct{}

func (faulty) Error() string { panic("no text") }

func TestRecentErrorWithoutText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(1)
		r := start(t, New("g", To(src.source(), failing(func(int) error { return faulty{} })), Faults(Drop)))
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Recent() {
			if e.Kind == EventFault && !strings.Contains(e.Error, "no text") {
				t.Errorf("%+v", e)
			}
		}
	})
}

// A message that succeeds adds no event and costs nothing more.
func TestRecentGoodMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, New("g", To(newScript(1000).source(), (&bag[int]{}).sink())))
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{"started   0", "ended   0"}, brief(r.Recent())); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}
