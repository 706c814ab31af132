package reader

import (
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// If a connection breaks while a reader opens, at whatever step, the reader retries until Wait has
// passed.
func TestOpenWaitsAtEachStep(t *testing.T) {
	for _, step := range []string{"xgroup", "xinfo"} {
		t.Run(step, func(t *testing.T) {
			p := rig.NewProxy(t, redistest.Shared(t).Addr())
			r, err := NewGroup(p.Client(t), GroupConfig{Key: redistest.Key(t), Group: "g", Wait: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			p.LoseReplies(step, 2)
			if err := r.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			if p.Lost() != 2 {
				t.Errorf("%d connections cut, want 2", p.Lost())
			}
			if err := r.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
