package flow

import "context"

// Writer is the running part of a sink. NewSink makes a new one for each life of the sink and for
// each of its workers. Optional interfaces: Opener, Flusher, Closer.
type Writer[T any] interface {
	// Write writes a chunk, in order. If it returns nil, all messages are written, and this sink
	// acknowledges each of them. A *WriteError tells which messages are not written. Any other
	// error means that none may be assumed to be written. The fault policy decides about messages
	// that are not written. By default, Write is called again with only these messages. Write must
	// not keep the slice.
	Write(ctx context.Context, chunk []Message[T]) error
}

// WriterFunc is a Writer that is a function.
type WriterFunc[T any] func(ctx context.Context, chunk []Message[T]) error

// Write calls f.
func (f WriterFunc[T]) Write(ctx context.Context, chunk []Message[T]) error { return f(ctx, chunk) }

// Flusher is a Writer with work to do when its input has ended.
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

// NewSink makes a sink. open returns a Writer. It must do no I/O (see Opener). Options that apply:
// Name, ChunkSize, OnFault, Async, Timeout, Within, Workers with Unordered or KeyedBy (one Writer
// per worker, all writing chunks concurrently). To adds its options to these.
func NewSink[T any](name string, open func() Writer[T], opts ...StageOption) Sink[T] {
	return Sink[T]{name: name, open: open, opts: opts, made: true}
}

// To ends a source with a sink and returns the branch, which is an argument of New.
func To[T any](in Source[T], to Sink[T], opts ...StageOption) Branch {
	name := to.name
	if name == "" {
		name = "sink"
	}
	n := newNode(kindSink, name, 0, append(append([]StageOption{}, to.opts...), opts...))
	reads(n, in)
	if n.within > 0 && n.chunk > 0 {
		n.async = true
		n.Holds, n.HoldsFor = max(n.Holds, n.chunk), n.within
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
			in.out.link(b, keyedLanes(b, n, key, end))
		case n.workers > 1:
			in.out.link(b, sharedLanes(b, n, end))
		case n.async && !in.out.node.endsInEdge():
			in.out.link(b, edgeTo(b, n, end).sender())
		default:
			in.out.link(b, end)
		}
	}}
}
