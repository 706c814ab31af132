package source_test

import (
	"errors"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/source"
)

// If Redis hangs, the graph is not ready. When Redis answers again, the graph is ready again.
func TestStreamReady(t *testing.T) {
	s := newPrivateStand(t)
	cfg := config[string](s)
	cfg.ReadyWithin = 300 * time.Millisecond
	cfg.Lease = 300 * time.Millisecond // so that a reader without entries makes round trips as well
	r := start(t, flow.To(source.Stream(s.rdb, cfg), new(inbox[string]).sink()))
	redistest.Soon(t, "ready", func() bool { return r.Ready() == nil })
	s.Pause(t)
	redistest.Soon(t, "not ready", func() bool { return errors.Is(r.Ready(), flow.ErrNotReady) })
	s.Resume(t)
	redistest.Soon(t, "ready again", func() bool { return r.Ready() == nil })
	drain(t, r)
}
