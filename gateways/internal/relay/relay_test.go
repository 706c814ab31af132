package relay_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
)

func TestLive(t *testing.T) {
	s := newStand(t)
	r := s.relay(t, s.config())
	first := listen(t, r, relay.Options{All: true})
	s.add(t, "a", "before")
	texts(t, first, 1)
	all := listen(t, r, relay.Options{All: true, From: "0"})
	a := listen(t, r, relay.Options{Topics: []string{"a", "b"}, From: "0"})
	if diff := cmp.Diff([]string{"before"}, texts(t, all, 1)); diff != "" {
		t.Error(diff)
	}
	now := listen(t, r, relay.Options{Topics: []string{"a"}})
	var want, wantA []string
	for i := range 100 {
		topic, text := "c", fmt.Sprint(i)
		if i%3 == 0 {
			topic = "a,b"
			wantA = append(wantA, text)
		}
		s.add(t, topic, text)
		want = append(want, text)
	}
	if diff := cmp.Diff(want, texts(t, all, len(want))); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(append([]string{"before"}, wantA...), texts(t, a, len(wantA)+1)); diff != "" {
		t.Errorf("a (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantA, texts(t, now, len(wantA))); diff != "" {
		t.Errorf("now (-want +got):\n%s", diff)
	}
}
