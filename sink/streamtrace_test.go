package sink_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
)

// numbered is a tracer that numbers its spans, and records the ends of writes.
type numbered struct {
	mu    sync.Mutex
	n     int
	wrote []string
}

type numberedSpan struct {
	of   *numbered
	n    int
	work flow.Work
}

func (t *numbered) Stage(_, _ string) bool { return false }

func (t *numbered) Begin(_ context.Context, w flow.Work) flow.Span {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	return numberedSpan{t, t.n, w}
}

func (s numberedSpan) Context(ctx context.Context) context.Context { return ctx }
func (s numberedSpan) Fault(*flow.Fault, flow.Decision)            {}
func (s numberedSpan) Status(int)                                  {}
func (s numberedSpan) Error(error)                                 {}
func (s numberedSpan) Headers() flow.Headers {
	return flow.Headers{{Name: "traceparent", Value: fmt.Sprint("00-", s.n)}, {Name: "baggage", Value: "a=b"}}
}

func (s numberedSpan) End(o flow.Outcome, err error) {
	if s.work.Kind != flow.WorkWrite {
		return
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.wrote = append(s.of.wrote, fmt.Sprint(s.work.Stage, " ", o, " ", err != nil))
}

// A traced sink writes the trace of its own span, whatever trace the message has.
func TestStreamTrace(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	meta := flow.Meta{ID: "5-0", Headers: flow.Headers{
		{Name: "traceparent", Value: "old"}, {Name: "tracestate", Value: "old"}, {Name: "baggage", Value: "old"}}}
	tracer := &numbered{}
	write := func(cfg sink.StreamConfig[string], values ...string) {
		t.Helper()
		l := &ledger[string]{ends: map[int]flow.Settlement{}}
		for _, v := range values {
			l.msgs = append(l.msgs, flow.NewMessage(v, meta))
		}
		cfg.Key = key
		in := flow.To(l.source(), sink.Stream(rdb, cfg), flow.OnFault(flow.Drop))
		quiet := flow.Log(slog.New(slog.DiscardHandler))
		if err := flow.New("g", in, flow.Trace(tracer), quiet).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	large := sink.StreamConfig[string]{Tuning: writer.Tuning{MaxPayload: 500}}
	write(large, "x", strings.Repeat("y", 1000))
	got := rdb.XRange(t.Context(), key, "-", "+").Val()
	if len(got) != 1 {
		t.Fatalf("entries: %v", got)
	}
	want := map[string]any{"data": "x", "traceparent": "00-3", "baggage": "a=b"}
	if diff := cmp.Diff(want, got[0].Values); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"stream acked false", "stream failed true"}, tracer.wrote); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	t.Run("dedupe", func(t *testing.T) { // each try has a span of its own
		meta.MessageID = "m-1"
		for range 2 {
			write(sink.StreamConfig[string]{DedupeWindow: time.Minute}, "z")
		}
		if n := rdb.XLen(t.Context(), key).Val(); n != 2 {
			t.Errorf("%d entries, want the first and one of the copies", n)
		}
	})
	t.Run("bare", func(t *testing.T) {
		write(sink.StreamConfig[string]{OmitMeta: true}, "bare")
		last := rdb.XRevRangeN(t.Context(), key, "+", "-", 1).Val()
		if diff := cmp.Diff(map[string]any{"data": "bare"}, last[0].Values); diff != "" {
			t.Errorf("entry (-want +got):\n%s", diff)
		}
	})
	t.Run("a chunk of Func", func(t *testing.T) {
		seen := 0
		f := sink.Func(func(ctx context.Context, v string) error {
			if seen++; flow.TracerOf(ctx) != tracer {
				return flow.Permanent(errors.New("no tracer"))
			}
			return nil
		}, flow.ChunkSize(10))
		l := &ledger[string]{ends: map[int]flow.Settlement{}}
		l.msgs = append(l.msgs, flow.NewMessage("a", meta), flow.NewMessage("b", meta))
		if err := flow.New("g", flow.To(l.source(), f), flow.Trace(tracer)).Run(t.Context()); err != nil || seen != 2 {
			t.Error(seen, err)
		}
	})
}
