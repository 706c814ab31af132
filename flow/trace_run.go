package flow

import "context"

// Idea of spans: the span of an entry lies beside its lease, so whoever has a message finds its
// span: the stages for the context of their calls, the fault policy, and the sinks. Without a
// tracer there is none, which is checked once per chunk or batch. Spans end without any lock held,
// because a tracer may export them at once.

// traced is the part of a stage about spans. The zero value is for a stage that is not traced.
type traced struct {
	on    bool   // its messages may have spans
	calls bool   // each call gets a span
	span  Span   // of the message being handled; nil if it has none
	links []Span // of the messages of the chunk being written; nil if it is one message
}

// trace returns the tracer of a run, and ctx with it.
func (c *graphConfig) trace(ctx context.Context) (context.Context, Tracer) {
	if c.tracer != nil {
		ctx = WithTracer(ctx, c.tracer)
	}
	return ctx, TracerOf(ctx)
}

// trace sets up the spans of a stage.
func (s *stageBase) trace() {
	t := s.la.run.tracer
	if t == nil || s.st.node.Untraced {
		return
	}
	s.traced.on, s.traced.calls = true, t.Stage(s.la.run.graph.name, s.st.name)
}

// spanned returns the context of a call, and the span of the call if it gets one. The call of an untraced
// message gets none.
func (s *stageBase) spanned(ctx context.Context) (context.Context, Span) {
	if s.traced.span != nil {
		ctx = s.traced.span.Context(ctx)
	}
	if !s.traced.calls || s.traced.span == nil && s.traced.links == nil {
		return ctx, nil
	}
	call := s.la.run.tracer.Begin(ctx, Work{
		Kind: WorkStage, Graph: s.la.run.graph.name, Stage: s.st.name, Links: s.traced.links,
	})
	return call.Context(ctx), call
}

// guardTraced is guard for a message with a span.
func (s *stageBase) guardTraced(f func(context.Context) error) error {
	ctx, call := s.spanned(s.ctx)
	err := s.guardIn(ctx, f)
	endCall(call, err)
	return err
}

// endCall ends the span of a call, if there is one.
func endCall(call Span, err error) {
	if call == nil {
		return
	}
	if v := verdictOf(err); v != nil {
		call.End(Decision{Do: v.do}.outcome(), err)
	} else if err != nil {
		call.End(Failed, err)
	} else {
		call.End(Acked, nil)
	}
}

// tryTraced is try for a stage that is traced: each message has a context of its own.
func (s *batchStage[T, U]) tryTraced(batch []Message[T], leased bool) (n int, err error) {
	if s.handled = 0; leased && s.lost(batch[0].lease) {
		return s.handled, nil
	}
	outer := s.ctx
	var call Span
	s.traced.span = batch[0].lease.span()
	s.ctx, call = s.spanned(outer)
	n, err = s.try(batch[:1], false)
	s.ctx = outer
	endCall(call, err)
	return n, err
}

// traceChunk sets the span or the links of a chunk that is to be written.
func (s *sinkStage[T]) traceChunk(chunk []Message[T]) {
	s.traced.span, s.traced.links = nil, nil
	if len(chunk) == 1 {
		s.traced.span = chunk[0].lease.span()
	} else if s.traced.calls {
		for i := range chunk {
			s.traced.links = appendSpan(s.traced.links, chunk[i].lease)
		}
	}
}

func appendSpan(spans []Span, l lease) []Span {
	if s := l.span(); s != nil {
		spans = append(spans, s)
	}
	return spans
}

// traceJoin begins the span of a join of several messages, unless none of them has a span.
func (s *stageBase) traceJoin(join *slab) {
	if s.la.run.tracer == nil || len(join.members) < 2 {
		return
	}
	var links []Span
	for _, l := range join.members {
		links = appendSpan(links, l)
	}
	if links == nil {
		return
	}
	w := Work{Kind: WorkJoin, Graph: s.la.run.graph.name, Stage: s.st.name, Links: links}
	join.spans = []Span{s.la.run.tracer.Begin(s.ctx, w)}
}

// trace begins the spans of the entries of a slab.
func (ses *session) trace(sl *slab) {
	s := ses.source
	t := s.run.tracer
	if t == nil || s.node.Untraced {
		return
	}
	sl.spans = make([]Span, len(sl.cells))
	w := Work{Kind: WorkEntry, Graph: s.run.graph.name, Stage: s.name}
	if o, ok := ses.reader.(Origin); ok {
		w.Stream, w.Group = o.Origin()
	}
	for i := range sl.spans {
		if w.Meta = (Meta{}); sl.records != nil {
			w.Meta = sl.records[i].meta()
		}
		sl.spans[i] = t.Begin(s.run.hard, w)
	}
}

// span returns the span of the entry or the join that the lease stands for, or nil.
func (l lease) span() Span {
	for !l.none() {
		s := l.slab
		if j := l.ofJoin(); j != nil {
			l = j.members[l.of-1]
			continue
		}
		if s.spans != nil {
			return s.spans[l.at]
		}
		if len(s.members) != 1 {
			return nil
		}
		l = s.members[0] // watched, or a join of one
	}
	return nil
}

// spanEnd is the end of a span that is due when no lock is held.
type spanEnd struct {
	span    Span
	outcome Outcome
	err     error
}

// endOf returns the end of the span of a lease. The slab has
// spans.
func (s *slab) endOf(at int, how ended) (e spanEnd) {
	e.span, e.outcome = s.spans[at], how.outcome
	switch {
	case s.cells[at].lost():
		e.err = ErrLeaseLost
	case how.fault != nil:
		e.err = how.fault.Err
	}
	return e
}

func endSpans(ends []spanEnd) {
	for _, e := range ends {
		e.span.End(e.outcome, e.err)
	}
}
