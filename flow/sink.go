package flow

import "context"

// Writer is the running side of a sink: what NewSink makes afresh for each life of the sink, and for each of its
// workers. Optional interfaces: Opener, Flusher, Closer.
type Writer[T any] interface {
	// Write writes a chunk, in order. When it returns nil all of it is written, and each message is acknowledged as far
	// as this sink is concerned. A *WriteError tells which messages are not; any other error means none can be
	// vouched for. Those not written go by the fault policy, which by default makes Write be called again with just
	// those. The slice must not be kept.
	Write(ctx context.Context, chunk []Message[T]) error
}

// WriterFunc is a Writer that is a function.
type WriterFunc[T any] func(ctx context.Context, chunk []Message[T]) error

// Write calls f.
func (f WriterFunc[T]) Write(ctx context.Context, chunk []Message[T]) error { return f(ctx, chunk) }

// Flusher is a Writer with something left to do when its input has ended.
type Flusher interface {
	Flush(ctx context.Context) error
}

// Sink is a typed end for a Source. It is a description, and may end several branches.
type Sink[T any] struct {
	name string
	open func() Writer[T]
	opts []StageOption
	made bool
}

// NewSink makes a sink. open makes a Writer; it must do no I/O (see Opener). Options that apply: Name, ChunkSize,
// OnFault, Async, Timeout, Within, Workers with Unordered or KeyedBy (so many Writers, each writing
// chunks at the same time as the others), Invalid. To adds its options to these.
func NewSink[T any](name string, open func() Writer[T], opts ...StageOption) Sink[T] {
	return Sink[T]{name: name, open: open, opts: opts, made: true}
}

// To ends a source with a sink: a branch, to be given to New.
func To[T any](in Source[T], to Sink[T], opts ...StageOption) Branch {
	name := to.name
	if name == "" {
		name = "sink"
	}
	n := newNode(kindSink, name, 0, append(append([]StageOption{}, to.opts...), opts...))
	reads(n, in)
	if n.within > 0 && n.chunk > 0 {
		n.async = true
		n.holds, n.holdsFor = max(n.holds, n.chunk), n.within
	}
	switch {
	case !to.made:
		n.issue("", "its sink is the zero Sink", "give To a Sink that a constructor returned")
	default:
		n.needs(to.open != nil, "open")
	}
	key, ok := n.keyedBy.(keyer[T])
	n.checkKeyer(ok, "the sink's input type")
	if n.workers > 1 && !n.unordered && n.keyedBy == nil {
		n.issue("Workers", "a sink with several workers cannot keep the order", "add Unordered or KeyedBy")
	}
	return Branch{node: n, link: func(b *builder) {
		end := chain[T]{
			open:  func(la *lane) func(Message[T]) { return newSinkStage(la, la.run.stages[n], to.open).push },
			done:  func() {},
			nodes: []*node{n},
		}
		switch {
		case n.workers > 1 && key != nil:
			in.out.link(b, lanesByKey(b, n, key, end))
		case n.workers > 1:
			in.out.link(b, lanesShared(b, n, end))
		case n.async && !in.out.node.endsInEdge():
			in.out.link(b, edgeTo(b, n, end).sender())
		default:
			in.out.link(b, end)
		}
	}}
}
