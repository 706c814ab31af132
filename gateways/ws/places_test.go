package ws

import (
	"net/http/httptest"
	"testing"

	"github.com/streamerson/streamerson-go/gateways"
)

// Stats shows room for a socket only when the hub has room.
func TestSocketsShownAreThoseLimited(t *testing.T) {
	h := NewHub(nil, "hub", HubConfig{Limits: Limits{MaxSockets: 1}})
	h.running = &hubRun{hub: h, ctx: t.Context(), accepts: true}
	r := httptest.NewRequest("GET", "/", nil)
	run, release, full := h.reserve(r)
	if run == nil {
		t.Fatal(full)
	}
	check := func(when string, want int) {
		t.Helper()
		if n := h.Stats().Sockets; n != want {
			t.Errorf("%s: %d sockets, want %d", when, n, want)
		}
	}
	check("during the handshake", 1)
	s := newSocket(h, run, gateways.Identity{}, func() {
		check("while the place is taken", 1)
		release()
	})
	h.admit(s)
	check("open", 1)
	if again, _, _ := h.reserve(r); again != nil {
		t.Error("a full hub takes a socket")
	}
	h.dismiss(s)
	check("after the end", 0)
	if again, _, full := h.reserve(r); again == nil {
		t.Error(full)
	}
}
