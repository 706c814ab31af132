package sink

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// trace begins the spans of a chunk, unless the sink is not traced.
func (s *streamWriter[T]) trace(ctx context.Context, chunk []flow.Message[T]) {
	for i, m := range chunk {
		span := flow.BeginWrite(ctx, m, s.cfg.Key, s.cfg.KeyFor != nil)
		if span == nil {
			return
		}
		if i == 0 {
			s.spans = make([]flow.Span, 0, len(chunk))
		}
		s.spans = append(s.spans, span)
	}
}

// inject puts the trace of a message's span into the envelope.
func (s *streamWriter[T]) inject(at int) {
	if s.spans == nil {
		return
	}
	s.env.Traced, s.env.Traceparent, s.env.Tracestate, s.env.Baggage = true, "", "", ""
	for _, h := range s.spans[at].Headers() {
		if to := traceField(&s.env, h.Name); to != nil {
			*to = h.Value
		}
	}
}

// endSpans ends the spans of a chunk after its outcome is known.
func (s *streamWriter[T]) endSpans() {
	for i, span := range s.spans {
		var err error
		if s.errs != nil {
			err = s.errs[i]
		}
		switch v, is := flow.Verdict(err); {
		case err == nil:
			span.End(flow.Acked, nil)
		case is && v.Do == flow.ActDrop:
			span.End(flow.Dropped, err)
		default:
			span.End(flow.Failed, err)
		}
	}
	s.spans = nil
}

// traceField returns the field that a header of a trace becomes, or nil for other headers.
func traceField(e *redisio.Envelope, name string) *string {
	switch name {
	case flow.HeaderTraceparent:
		return &e.Traceparent
	case flow.HeaderTracestate:
		return &e.Tracestate
	case flow.HeaderBaggage:
		return &e.Baggage
	}
	return nil
}
