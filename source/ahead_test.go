package source_test

import (
	"context"
	"testing"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/source"
)

// A backlog is read and acked in large pieces, without other commands per piece.
func TestStreamCommandsPerMessage(t *testing.T) {
	s := newPrivateStand(t)
	const n, perCommand = 20_000, 100
	s.fill(t, n)
	seen, done := 0, make(chan struct{})
	src := source.Stream(s.rdb, source.StreamConfig[string]{Key: s.key, Group: "g"})
	r := start(t, flow.To(src, discard[string]()), flow.OnEvent(flow.Hooks{
		Committed: func(_ string, settled []flow.Settlement) {
			if seen += len(settled); seen == n {
				close(done)
			}
		},
	}))
	<-done
	reads, acks, scripts := s.calls(t, "xreadgroup"), s.calls(t, "xack"), s.calls(t, "eval")
	drain(t, r)
	t.Logf("%d reads, %d acks, %d scripts for %d entries", reads, acks, scripts, n)
	if reads > n/perCommand || acks > n/perCommand || scripts > 20 {
		t.Errorf("%d reads, %d acks, %d scripts for %d entries", reads, acks, scripts, n)
	}
}

// A drain gives back at once what was read ahead, although a handler still works.
func TestStreamDrainGivesBackReadAhead(t *testing.T) {
	s := newStand(t)
	const n = 10_000
	s.fill(t, n)
	begun, release, seen := make(chan struct{}), make(chan struct{}), 0
	cfg := source.StreamConfig[string]{Key: s.key, Group: "g", Tuning: reader.Tuning{MaxCount: 100}}
	wait := flow.NewSink("wait", func() flow.Writer[string] {
		return flow.WriterFunc[string](func(context.Context, []flow.Message[string]) error {
			if seen++; seen == n/2 {
				close(begun)
				<-release
			}
			return nil
		})
	}, flow.ChunkSize(1))
	r := start(t, flow.To(source.Stream(s.rdb, cfg), wait))
	<-begun
	drained := make(chan error, 1)
	go func() {
		_, err := r.Drain(context.Background())
		drained <- err
	}()
	redistest.Soon(t, "all but the handler's given back", func() bool {
		p, err := s.rdb.XPending(t.Context(), s.key, "g").Result()
		if err != nil {
			return false
		}
		own := int64(0)
		for consumer, entries := range p.Consumers {
			if consumer != redisio.ReleasedConsumer {
				own += entries
			}
		}
		return own <= 100
	})
	close(release)
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
