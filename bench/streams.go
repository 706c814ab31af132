package bench

import (
	"context"
	"io"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// The Redis cases as graphs.

// feed is a source of the first n payloads.
type feed struct {
	payloads *payloads
	next, n  int
}

func (f *feed) Read(_ context.Context, in *flow.Intake[[]byte]) error {
	for in.Room() > 0 {
		if f.next == f.n {
			return io.EOF
		}
		in.AddValue(f.payloads.at(f.next))
		f.next++
	}
	return nil
}

// produceGraph writes the payloads with sink.Stream.
func produceGraph(cfg sink.StreamConfig[[]byte], opts ...flow.StageOption) runFunc {
	return func(ctx context.Context, t *Trial) error {
		p := payloadsOf(t.Payload)
		src := flow.NewSource("feed", func() flow.Reader[[]byte] { return &feed{payloads: p, n: t.N} })
		cfg := cfg
		cfg.Key = t.Out
		return flow.New("produce", flow.To(src, sink.Stream(t.Redis, cfg, opts...))).Run(ctx)
	}
}

// blockFor is how long a read of a graph blocks on the server. It matters only at the end of a run,
// which is not timed.
const blockFor = 20 * time.Millisecond

// consumeGraph reads with source.Stream and sums the payloads.
func consumeGraph(ctx context.Context, t *Trial) error {
	src := source.Stream(
		t.Redis,
		source.StreamConfig[[]byte]{Key: t.In, Group: t.Group, Tuning: reader.Tuning{Block: blockFor}},
	)
	return runSettled(ctx, t, flow.To(src, sumPayloads(t)))
}

func sumPayloads(t *Trial) flow.Sink[[]byte] {
	return flow.NewSink("add", func() flow.Writer[[]byte] {
		return flow.WriterFunc[[]byte](func(_ context.Context, chunk []flow.Message[[]byte]) error {
			for i := range chunk {
				t.Got.AddPayload(chunk[i].Value)
			}
			return nil
		})
	})
}

// transformGraph reads with source.Stream, maps with operators.Map and writes with sink.Stream.
func transformGraph(cfg sink.StreamConfig[order], opts ...flow.StageOption) runFunc {
	return func(ctx context.Context, t *Trial) error {
		src := source.Stream(
			t.Redis,
			source.StreamConfig[order]{Key: t.In, Group: t.Group, Tuning: reader.Tuning{Block: blockFor}},
		)
		cfg := cfg
		cfg.Key = t.Out
		return runSettled(ctx, t, flow.To(operators.Map(src, flow.Pure(priced)), sink.Stream(t.Redis, cfg, opts...)))
	}
}

// transformBytes is transformGraph with the codec in the map: the source and the sink pass bytes
// through, and the map's workers do all the JSON work.
func transformBytes(ctx context.Context, t *Trial) error {
	src := source.Stream(
		t.Redis,
		source.StreamConfig[[]byte]{Key: t.In, Group: t.Group, Tuning: reader.Tuning{Block: blockFor}},
	)
	mapped := operators.Map(src, func(_ context.Context, b []byte) ([]byte, error) { return Price(b) }, flow.Workers(2))
	return runSettled(
		ctx,
		t,
		flow.To(
			mapped,
			sink.Stream(t.Redis, sink.StreamConfig[[]byte]{Key: t.Out, Tuning: writer.Tuning{Pipelines: 2}}),
		),
	)
}

// runSettled runs a graph until all entries of the trial are settled on the server, because a
// consumer group has no end. The clock stops there, so the drain is not measured.
func runSettled(ctx context.Context, t *Trial, parts ...flow.Part) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	settled := 0 // only the committing goroutine calls the hook
	parts = append(parts, flow.OnEvent(flow.Hooks{Committed: func(_ string, s []flow.Settlement) {
		if settled += len(s); settled >= t.N {
			t.Stop()
			cancel()
		}
	}}))
	return flow.New("bench", parts...).Run(ctx)
}
