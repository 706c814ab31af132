package flow

import (
	"fmt"
	"time"
)

// Idea of nesting: the stages of a sub-pipeline are one blueprint, and each key gets a life of its
// own of their chain, as a restart makes one. All lives run on the lane of the nesting stage, one
// message after the other, and pass on to the same stage behind. So there is nothing between two
// keys that could block, and a key costs only the state of its stages. Each life has a small lane
// for its hooks and alarms. Its outer lane does everything that needs a goroutine, and measures the
// work.

// Nest makes a stage that runs a sub-pipeline for each key: messages of a key pass through stages
// with a state of their own, in order. sub is called once, with the messages of a key as its source,
// and returns the output. All messages run on one goroutine, so keys cannot block each other, but
// while a message waits for a retry or in Sleep, all wait. Stages of the sub-pipeline must have one input and one
// output and no workers, which Validate checks; an Async of theirs is ignored.
//
// A key's sub-pipeline ends when it had no message for idle, and when more than most keys are in use:
// then the key that was used least recently ends. At its end it passes on what it holds, as at the
// end of its input. The next message of the key begins a new one. An error or a panic of key is a
// fault of its message.
func Nest[T, U any, K comparable](
	in Source[T], name string, key func(T) K, most int, idle time.Duration,
	sub func(Source[T]) Source[U], opts ...StageOption,
) Source[U] {
	n := newVia(name, true, opts)
	n.OneWorker = "the sub-pipelines of all keys run on one goroutine"
	reads(n, in)
	n.needs(key != nil, "key")
	n.needs(sub != nil, "sub")
	if most < 1 {
		n.issue("most", fmt.Sprintf("%d keys", most), "give 1 or more")
	}
	n.positive("idle", idle, "")
	inner := newSource(n, 0, func(b *builder, to chain[T]) { b.heads[n] = to })
	broken := newSource(n, 0, func(*builder, chain[U]) {})
	if sub == nil {
		return broken
	}
	out := sub(inner)
	if out.out == nil || !n.nests(out.out.node, idle) {
		n.issue("sub", "it does not return a chain of stages with one input, one output and no workers",
			"build it of such stages only, from the source that sub receives")
		return broken
	}
	return newSource(out.out.node, out.out.port, func(b *builder, to chain[U]) {
		out.out.link(b, chain[U]{
			open: func(la *lane) func([]Message[U]) { return la.nest.exit.(func([]Message[U])) },
			done: func() {},
		})
		head := b.heads[n].(chain[T])
		own := chain[T]{
			open: func(la *lane) func([]Message[T]) {
				s := &nestStage[T, K]{key: key, most: most, idle: idle, head: head, keys: make(map[K]*nested[T, K])}
				s.exit = exits(la, to.open(la))
				s.start(la, b.run.stages[n])
				la.measures(head.nodes)
				return s.push
			},
			done:  to.done,
			nodes: append(append([]*node{n}, head.nodes...), to.nodes...),
		}
		linkTo(b, in, n, own)
	})
}

// nests reports whether the stages from n to last may be nested, and prepares them.
func (n *node) nests(last *node, idle time.Duration) bool {
	for at := last; at != n; at = at.ins[0].node {
		if at == nil || at.kind != kindVia || len(at.ins) != 1 || at.workers > 1 {
			return false
		}
		at.async = false
		if at.Holds > 0 && (at.HoldsFor <= 0 || at.HoldsFor > idle) {
			at.HoldsFor = idle // then its key ends
		}
	}
	return true
}
