package flow

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Source is a typed output of a stage in a blueprint: a future stream of T. It is a value to pass
// once to an operator or a sink. Nothing runs until the graph does.
type Source[T any] struct{ out *outlet[T] }

// outlet is one output port of a node. When a run starts, link receives the chain downstream of the
// port and builds everything upstream of it.
type outlet[T any] struct {
	node *node
	port int
	link func(b *builder, to chain[T])
}

// node is a stage in a blueprint. It is immutable once its constructor has returned, so a graph can
// run many times, also concurrently.
type node struct {
	kind kind
	stageConfig
	ins   []input
	ports int   // number of outputs
	emits bool  // whether one message may become many
	pairs bool  // the handling of one input depends on the others
	room  int   // of the entrance of a loop: the most messages that may be on their way back
	loop  *node // of the exit of a loop: its entrance, which its second input leads back to
}

// input names an output port that feeds a node.
type input struct {
	node *node
	port int
}

type kind uint8

const (
	kindSource kind = iota
	kindVia
	kindRoute
	kindMerge
	kindSink
	kindTask
)

func (k kind) String() string {
	return [...]string{"source", "stage", "route", "merge", "sink", "task"}[k]
}

func newNode(k kind, name string, ports int, opts []StageOption) *node {
	n := &node{kind: k, ports: ports}
	n.name, n.workers, n.chunk = name, 1, defaultChunk
	n.maxInFlight, n.maxBytes = defaultMaxInFlight, defaultMaxBytes
	n.apply(opts)
	n.checkAround()
	return n
}

// reads records that the node reads src. It reports a source that no constructor made.
func reads[T any](n *node, src Source[T]) {
	if src.out == nil {
		n.issue("", "its input is the zero Source", "give it a Source that a constructor or an operator returned")
		n.ins = append(n.ins, input{})
		return
	}
	n.ins = append(n.ins, input{src.out.node, src.out.port})
}

// needs reports a missing factory or function argument as a mistake of the stage.
func (n *node) needs(ok bool, what string) {
	if !ok {
		n.issue(what, "the function is nil", "give a function")
	}
}

// keyerOf returns the stage's key function, or nil. It reports a function of another type than want.
func keyerOf[T any](n *node, want string) keyer[T] {
	key, ok := n.keyedBy.(keyer[T])
	if n.keyedBy != nil && !ok {
		n.issue("KeyedBy", "the key function is a "+n.keyFunc, "give a function of "+want)
	}
	return key
}

// newSource makes the handle of a node's output port.
func newSource[T any](n *node, port int, link func(b *builder, to chain[T])) Source[T] {
	return Source[T]{out: &outlet[T]{node: n, port: port, link: link}}
}

// Branch is a source with a sink at its end, or a background loop. Graphs consist of branches. To
// and Task make them.
type Branch struct {
	node *node
	link func(b *builder)
}

// chain is the part downstream of an output port that runs in one goroutine: fused stages up to the
// next boundary or sink. Its open makes fresh state for each life of the goroutine and returns the
// function that accepts messages. That function keeps no slice, but may change its elements. done is
// called after the last life and notifies the boundaries at the end of the chain.
type chain[T any] struct {
	open  func(la *lane) func([]Message[T])
	done  func()
	nodes []*node
	into  *edge[T] // the edge it leads to, if no stage precedes it and the edge takes chunks of any size
}

// builder turns a blueprint into a run: islands, edges and sources. It works from the sinks up, so
// the downstream part of each stage is known when the stage is linked.
type builder struct {
	run   *Running
	ends  map[*node][]boundary // of nodes with several outputs: the edges of those already linked
	heads map[*node]any        // of nodes that nest: the chain of their sub-pipeline
}

// island is the work of one supervised goroutine. Its body is one life and is called again after a
// failure. An island covers the stages that are restarted together.
type island struct {
	nodes       []*node
	body        func() error
	done        func()        // notifies the downstream part of the end of the input
	wanted      func() bool   // reports whether a restart makes sense; nil: always
	neverOpened func() bool   // of a source: reports whether it was never opened
	ended       chan struct{} // closed at the end of the last life
	failures    []time.Time   // times of the failures within the window
	restarts    int
}

func (b *builder) island(nodes []*node, done func(), body func() error) *island {
	isl := &island{nodes: nodes, body: body, done: done, ended: make(chan struct{})}
	b.run.islands = append(b.run.islands, isl)
	return isl
}

// untilDrain is wanted for tasks.
func (b *builder) untilDrain() bool { return b.run.reading.Err() == nil }

func (b *builder) source(nodes []*node, done func(), body func(*sourceRun) func() error) {
	s := newSourceRun(b.run, nodes[0])
	b.run.sources = append(b.run.sources, s)
	isl := b.island(nodes, done, body(s))
	isl.wanted, isl.neverOpened = func() bool { return s.reading.Err() == nil }, func() bool { return !s.opened.Load() }
}

// leftover registers a function that gives back, at the end of a run, messages that were not
// handled.
func (b *builder) leftover(f func(*dirtySessions)) { b.run.leftovers = append(b.run.leftovers, f) }

// sweep registers a function that gives back, at a drain, messages that no handler has begun.
func (b *builder) sweep(f func(*dirtySessions)) { b.run.sweeps = append(b.run.sweeps, f) }

// Task makes a branch without a source: a background loop that belongs to the graph. f runs until
// stop is closed, which happens when the graph drains or is stopped. It may then clean up for as
// long as ctx is not done, which is until Stop or the end of DrainTimeout.
//
// If f returns nil, the task has ended. If f returns an error or panics, it is called again after a
// backoff, like a stage that failed (see Restarts). An error that it returns after stop was closed
// is the result of the graph, unless the graph has an earlier one. The graph does not wait for its
// tasks: when all its sources have ended, it drains. A graph that has only tasks runs until all
// of them have ended.
//
// Pause has no effect on a task. Options that apply: Name.
func Task(name string, f func(ctx context.Context, stop <-chan struct{}) error, opts ...StageOption) Branch {
	n := newNode(kindTask, name, 0, opts)
	n.OneWorker = "a task runs on one goroutine; give the graph several tasks"
	n.needs(f != nil, "f")
	return Branch{node: n, link: func(b *builder) {
		r := b.run
		s := &stageBase{holding: holding{over: true}} // it has no messages to hold
		s.init(newLane(r), r.stages[n])
		b.island([]*node{n}, func() {}, func() error {
			err := guard(s.ctx, func(ctx context.Context) error { return f(ctx, r.reading.Done()) })
			if err != nil && r.reading.Err() != nil && r.hard.Err() == nil {
				r.unclean(&StageError{Graph: r.graph.name, Stage: s.st.name, Err: err})
			}
			return err
		}).wanted = b.untilDrain
	}}
}

// Every returns a function for Task that calls f every d until stop is closed. Calls do not
// overlap: while f runs, ticks are dropped. An error of f is logged, and the next tick calls f
// again. A Permanent error stops the graph.
func Every(
	d time.Duration, f func(ctx context.Context, now time.Time) error,
) func(ctx context.Context, stop <-chan struct{}) error {
	if f == nil {
		return nil // Validate reports it for the task
	}
	return func(ctx context.Context, stop <-chan struct{}) error {
		if d <= 0 {
			return Permanent(fmt.Errorf("flow: Every: the interval is %v; give a positive duration", d))
		}
		t := time.NewTicker(d)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return nil
			case now := <-t.C:
				err := f(ctx, now)
				if IsPermanent(err) {
					return err
				}
				if err != nil {
					Logger(ctx).Warn("task failed, will try again", "stage", StageName(ctx), "error", err)
				}
			}
		}
	}
}

// Traits are the properties that the author of an operator, a source or a sink declares. They are
// passed with the user's options to a constructor, such as Via or NewSource. If several are passed,
// the stage has the traits of all.
type Traits struct {
	// Holds is the number of messages that the stage's handler keeps after it returns (see Hold).
	// Defaults to 0. Validate compares it to the credits of the sources, because a stage that waits
	// for more messages than may be in flight waits forever.
	Holds int
	// HoldsFor is the longest time that the handler keeps a message. Zero means until it has Holds
	// messages.
	HoldsFor time.Duration
	// NeverWaits means that the stage can pass on or settle what it holds without the arrival of more
	// messages: Holds is only a limit, which Validate does not compare to credits.
	NeverWaits bool
	// Joins means that the stage joins the messages it holds: one output message may stand for as
	// many as it holds.
	Joins bool
	// Passes means that the stage only passes its messages on one by one, holds them or joins them.
	// So an entry that has not passed this stage has not been begun, and a drain may give it back:
	// see GivesBack.
	Passes bool
	// OneWorker is the reason, in a few words, why the stage takes no workers: its state belongs to
	// the stage and not to a worker. If it is set, Validate refuses Workers.
	OneWorker string

	// Redelivers means that the source delivers Nacked entries again. For any other source, a nack
	// stops the graph.
	Redelivers bool
	// GivesBack means that other processes can take entries of the source at once after they are
	// given back. When the graph drains, messages that no handler has begun go back to the source
	// and are not finished first: see Settlement.Unbegun. The source also limits its read-ahead to
	// the entries that the stages behind it settle in about a second or hold, so that other
	// processes get their share. While few entries arrive and are handled quickly, the stages behind
	// the source handle them on the goroutine that calls Read. GivesBack includes Redelivers.
	GivesBack bool
	// DeadLetters means that the source's committer stores Dead entries. For any other source, a
	// Dead entry stops the graph.
	DeadLetters bool
	// DeadLettersTo names the place of the Dead entries for people and tools, such as the key of a
	// stream. It is part of the graph's description. It includes DeadLetters.
	DeadLettersTo string
	// Inline runs the source in the goroutine of the stages behind it, without an edge between
	// them. Before each Read, the messages buffered in these stages are passed on. A Read that
	// blocks delays their alarms. So no stage behind such a source should have alarms, such as
	// those of batches.
	Inline bool
	// MaxBlocked is the longest time that the stage may wait for room in the edges behind it. Then the
	// graph stops with ErrStalled. Defaults to no limit.
	MaxBlocked time.Duration
	// Untraced means that the entries of the source, or what the sink writes, get no spans, such as
	// those of control messages. See Tracer.
	Untraced bool
	// Stateless means that the function of a stage with one input and one output, or a sink's Write,
	// keeps nothing between its calls. It may be called several times at once with the same
	// message. See Race.
	Stateless bool

	invalid []BuildError
}

// Invalid reports a mistake in the arguments of an operator, source or sink. Validate returns it
// together with all others. Constructors, which return no error, use it to report a nil function or
// a negative size.
func Invalid(field, issue, fix string) Traits {
	return Traits{invalid: []BuildError{{Field: field, Issue: issue, Fix: fix}}}
}

// InvalidError is Invalid for the error of a config's own validation. Joined errors are added one
// by one. An error with a method Mistake, such as *redisio.ConfigError, keeps its field and its fix.
func InvalidError(err error) (t Traits) {
	var one interface {
		Mistake() (field, problem, fix string)
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range many.Unwrap() {
			t.invalid = append(t.invalid, InvalidError(err).invalid...)
		}
	} else if errors.As(err, &one) {
		return Invalid(one.Mistake())
	} else if err != nil {
		return Invalid("", err.Error(), "")
	}
	return t
}

func (t Traits) stageOption(c *stageConfig) {
	if t.Holds > 0 {
		c.Holds, c.HoldsFor = t.Holds, t.HoldsFor
	}
	if t.OneWorker != "" {
		c.OneWorker = t.OneWorker
	}
	c.NeverWaits = c.NeverWaits || t.NeverWaits
	c.Joins = c.Joins || t.Joins
	c.Passes = c.Passes || t.Passes
	c.Redelivers = c.Redelivers || t.Redelivers || t.GivesBack
	c.GivesBack = c.GivesBack || t.GivesBack
	c.DeadLetters = c.DeadLetters || t.DeadLetters || t.DeadLettersTo != ""
	if t.DeadLettersTo != "" {
		c.DeadLettersTo = t.DeadLettersTo
	}
	c.Inline = c.Inline || t.Inline
	c.Untraced = c.Untraced || t.Untraced
	c.Stateless = c.Stateless || t.Stateless
	c.MaxBlocked = max(c.MaxBlocked, t.MaxBlocked)
	c.issues = append(c.issues, t.invalid...)
}
