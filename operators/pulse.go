package operators

import (
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Sample passes on the last value of each interval. An interval lasts for every. It begins with
// its first message, and its last message is passed on at its end. The other messages are done.
//
//	in   --1--2--3--------4--------|
//	out  -----------3-----------4--|
//
// Order: kept. Acks: carried by the output; a superseded message is done.
// Holds: one message, for up to every. Ends: when in ends, with the message that waits.
func Sample[T any](in flow.Source[T], every time.Duration, opts ...flow.StageOption) flow.Source[T] {
	return flow.Via(in, "sample", func() flow.Handler[T, T] { return &sample[T]{every: every} },
		with(opts, positive("every", every), flow.Async(), flow.Traits{Holds: 1, HoldsFor: max(every, 0),
			OneWorker: "each worker would take its own sample"})...)
}

type sample[T any] struct {
	every time.Duration
	held  flow.Held[T]
	due   time.Time // zero: no message waits
}

func (s *sample[T]) Handle(ctx context.Context, m flow.Message[T], _ flow.Emit[T]) error {
	if s.due.IsZero() {
		s.due = time.Now().Add(s.every)
	} else {
		s.held.Done()
	}
	s.held = flow.Hold(ctx, m)
	return nil
}

func (s *sample[T]) Next() time.Time { return s.due }

func (s *sample[T]) Ring(_ context.Context, emit flow.Emit[T]) error {
	emit(s.held.Message)
	s.held.Done()
	s.held, s.due = flow.Held[T]{}, time.Time{}
	return nil
}

func (s *sample[T]) End(ctx context.Context, emit flow.Emit[T]) error {
	if s.due.IsZero() {
		return nil
	}
	return s.Ring(ctx, emit)
}

// KeepAlive adds values while no message comes. It adds one of make for each time every that
// passes without a message: a heartbeat for a connection that must not look dead. Added values
// belong to no entry and have no metadata. A panic of make is logged, and no value is added that
// time.
//
//	in   --1--2-----------3--|
//	out  --1--2----k----k--3--|
//
// Order: kept. Acks: carried by the output; added values have none.
// Holds: nothing. Ends: when in ends.
func KeepAlive[T any](
	in flow.Source[T], every time.Duration, make func() T, opts ...flow.StageOption,
) flow.Source[T] {
	return flow.Via(in, "keep-alive", func() flow.Handler[T, T] {
		return &keepAlive[T]{make: make, silence: silenceOf(every)}
	}, with(opts, positive("every", every), function("make", make != nil), flow.Async(),
		flow.Traits{OneWorker: "each worker would add its own values"})...)
}

type keepAlive[T any] struct {
	make func() T
	silence
}

func (k *keepAlive[T]) Handle(_ context.Context, m flow.Message[T], emit flow.Emit[T]) error {
	emit(m)
	k.broken()
	return nil
}

func (k *keepAlive[T]) Ring(ctx context.Context, emit flow.Emit[T]) error {
	if !k.sure() {
		return nil
	}
	v, err := calm(struct{}{}, func(struct{}) T { return k.make() })
	k.broken()
	if err != nil {
		flow.Logger(ctx).Warn("keep-alive: no value is added", "stage", flow.StageName(ctx), "error", err)
		return nil
	}
	emit(flow.NewMessage(v, flow.Meta{}))
	return nil
}

// Stall is what a Watchdog waits for.
type Stall uint8

const (
	// NoFirst means that no message has come since the start.
	NoFirst Stall = iota
	// Idle means that no message has come since the last, or since the start.
	Idle
	// Unended means that the stream has not ended since the start.
	Unended
	// Blocked means that the stages behind take no more messages.
	Blocked
)

// Watchdog stops the graph when the stream stalls. If that lasts for the time after, the graph
// ends with an error that wraps flow.ErrStalled. All messages are passed on. A flow.Supervisor can
// start the graph again. The times count from the start of the stage. A slow stage behind it
// does not count as a stall of the stream before it, as long as messages wait.
//
// It watches the stream; the option flow.Timeout limits each call of a stage instead.
//
//	in   --1--2-----------3--|
//	out  --1--2------|          Idle; the graph stops
//
// Order: kept. Acks: carried by the output.
// Holds: nothing; with Blocked, two chunks waiting. Ends: when in ends.
func Watchdog[T any](
	in flow.Source[T], stall Stall, after time.Duration, opts ...flow.StageOption,
) flow.Source[T] {
	var wrong flow.StageOption
	if stall > Blocked {
		wrong = flow.Invalid(
			"stall",
			fmt.Sprintf("the unknown Stall %d", stall),
			"give NoFirst, Idle, Unended or Blocked",
		)
	}
	if stall == Blocked {
		return flow.Route(in, "watchdog", 1, func() flow.RouteFunc[T, T] { return onlyPort[T] },
			with(opts, positive("after", after), flow.Traits{MaxBlocked: max(after, 0), Passes: true})...)[0]
	}
	return flow.Via(in, "watchdog", func() flow.Handler[T, T] {
		return &watchdog[T]{stall: stall, silence: silenceOf(after)}
	}, with(opts, wrong, positive("after", after), flow.Async(),
		flow.Traits{OneWorker: "each worker would watch its own share of the stream"})...)
}

// onlyPort passes each message on.
func onlyPort[T any](_ context.Context, m flow.Message[T], emit func(int, flow.Message[T])) error {
	emit(0, m)
	return nil
}

type watchdog[T any] struct {
	stall Stall
	silence
}

func (w *watchdog[T]) Handle(_ context.Context, m flow.Message[T], emit flow.Emit[T]) error {
	emit(m)
	switch w.stall {
	case NoFirst:
		w.due = time.Time{}
	case Idle:
		w.broken()
	}
	return nil
}

func (w *watchdog[T]) Ring(context.Context, flow.Emit[T]) error {
	if !w.sure() {
		return nil
	}
	what := [...]string{NoFirst: "no first message came", Idle: "no message came", Unended: "it has not ended"}[w.stall]
	return flow.Permanent(fmt.Errorf("%w: %s for %v", flow.ErrStalled, what, w.after))
}

// silence measures how long no message has come.
//
// Idea: while the stages behind work on a message, others may wait, and the alarm rings late. The
// stage tries to receive at least once during three calls of Ring, so only the third is sure.
type silence struct {
	after time.Duration
	due   time.Time
	rings int
}

func silenceOf(after time.Duration) silence { return silence{after: after, due: time.Now().Add(after)} }

// broken is called when a message has come.
func (s *silence) broken() { s.due, s.rings = time.Now().Add(s.after), 0 }

// sure reports that the silence has lasted. It is called by Ring.
func (s *silence) sure() bool {
	s.rings++
	return s.rings > 2
}

func (s *silence) Next() time.Time { return s.due }
