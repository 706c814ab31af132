package relay_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
)

// A listener that polls when woken receives the same items as one that waits: existing and new
// ones.
func TestPoll(t *testing.T) {
	s := newStand(t)
	r := s.relay(t, s.config())
	var want []string
	add := func(n int) {
		for range n {
			want = append(want, fmt.Sprint(len(want)))
			s.add(t, "a", want[len(want)-1])
		}
	}
	add(600) // more than a page
	woken := make(chan struct{}, 1)
	l := listen(t, r, relay.Options{Topics: []string{"a"}, From: "0", Wake: func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}})
	var got []string
	poll := func(n int) {
		for len(got) < n {
			<-woken
			for more := true; more; {
				var b relay.Batch[string]
				var err error
				if b, more, err = l.Poll(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, it := range b.Items {
					got = append(got, it.Value)
				}
			}
		}
	}
	poll(600)
	if b, more, err := l.Poll(t.Context()); err != nil || more || len(b.Items) > 0 {
		t.Errorf("when nothing waits: %v, %v, %v", b, more, err)
	}
	for range 20 {
		add(10)
		poll(len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	l.Close()
	<-woken
	if _, _, err := l.Poll(t.Context()); err != relay.ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}
