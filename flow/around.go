package flow

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Idea of wrapped calls: a wrap gets a call that stores its result here and returns only its error.
// So a wrap needs no types, and one wrap serves stages of any type. A stage without a wrap has no
// part of this. With Race several calls may run at once, on any goroutine. Each has a handler of its
// own, and a context that does not lead to the lane. The first result counts, and only the lane's
// goroutine passes it on. A call that loses may run on after its message is settled, but not longer
// than the life of its stage, which waits for it.

// Around has wrap make the calls of the stage's function. It is for policies that decide whether and
// when a call is made, such as circuit breakers: see package operators/failsafe. The stage calls
// wrap instead of the function, once for each try of a message, or of a sink's chunk. The function
// wrap makes the call by calling its argument, with its own ctx or one derived from it. It returns
// the error of the last call or one of its own. An error is a fault of the message as always, and
// the output of the call is taken back. A wrap may call several times, one after the other and on
// its own goroutine. It may wait until ctx is done; Sleep passes on what is buffered.
//
// Timeout limits each call and not wrap. With several such options the first is the outermost. The
// option applies to sinks, and to stages with one input and one output that hold no messages.
func Around(wrap func(ctx context.Context, call func(context.Context) error) error) StageOption {
	return wrapping(wrap, false)
}

// Race is Around for a wrap that may have several calls running at once, such as a hedge. The result
// of the first call that succeeds counts. The wrap cancels the contexts of the others, and does not wait for
// them; the stage does so when it ends. The output of the others is dropped. Their contexts do not
// belong to the message any more, so Hold fails and Sleep only waits. The option applies to stages
// and sinks that are Stateless, see Traits.
func Race(wrap func(ctx context.Context, call func(context.Context) error) error) StageOption {
	return wrapping(wrap, true)
}

// calls are the options about the calls of the stage's function.
type calls struct {
	policy  Policy
	timeout time.Duration
	around  wrap // nil for none
	races   bool // around may have several calls at once
}

// wrap makes the calls of a function.
type wrap func(ctx context.Context, call func(context.Context) error) error

func wrapping(w wrap, races bool) StageOption {
	field := "Around"
	if races {
		field = "Race"
	}
	return stageOption(func(c *stageConfig) {
		if w == nil {
			c.issue(field, "the function is nil", "give a function")
			return
		}
		outer, raced := c.around, c.races
		c.around, c.races = w, raced || races
		if outer != nil {
			c.around = func(ctx context.Context, call func(context.Context) error) error {
				return outer(ctx, func(ctx context.Context) error {
					if s := stageOf(ctx); s != nil && raced { // this may be another goroutine than the lane's
						ctx = s.outside(ctx)
					}
					return w(ctx, call)
				})
			}
		}
	})
}

// checkAround reports a wrap of a stage that has no calls to wrap.
func (n *node) checkAround() {
	if n.around == nil {
		return
	}
	switch {
	case n.kind != kindVia && n.kind != kindSink || n.kind == kindVia && (n.Holds > 0 || n.Passes):
		n.issue(
			"Around",
			"it has no calls that a policy can wrap",
			"give the option to a Map before or after it, or to a sink",
		)
	case n.races && !n.Stateless:
		n.issue("Race", "its function cannot run twice at once for a message, as a hedge does",
			"leave the hedge out, or put the call into a Map or a sink.Func")
	}
}

var (
	errNotCalled = Permanent(
		errors.New("flow: a wrap returned nil, but its last call did not succeed: return its error"),
	)
	errTooLate = errors.New("flow: the message is settled: a wrap may call only until it returns")
)

// Surrounded calls f as the options Around and Race among opts demand. It is for operators made of
// several stages, which call a function of the user outside of the stage that has the options.
func Surrounded[R any](
	ctx context.Context, opts []StageOption, f func(context.Context) (R, error),
) (R, error) {
	var given stageConfig
	given.apply(opts)
	if given.around == nil {
		return f(ctx)
	}
	return wrapped(ctx, stageOf(ctx), &given.calls, nil, f)
}

// wrapped makes the calls for one message, or chunk, of a stage, which is nil outside a running
// graph. again is called before a second call of Around.
func wrapped[R any](
	ctx context.Context, s *stageBase, how *calls, again func(), f func(context.Context) (R, error),
) (R, error) {
	a := &tries[R]{stage: s, how: how, again: again, f: f}
	defer a.end()
	call := a.call
	if how.races {
		call = a.race
	}
	err := how.around(ctx, call)
	a.end()
	if err == nil && !a.ok {
		err = errNotCalled
	}
	var panicked *PanicError
	if err != nil && a.panicked && errors.As(err, &panicked) {
		err = panicked
	}
	return a.result, err
}

// tries are the calls for one message.
type tries[R any] struct {
	stage *stageBase
	how   *calls
	again func()
	f     func(context.Context) (R, error)

	mu       sync.Mutex // guards the fields below
	made     int
	result   R
	ok       bool // there is a result
	panicked bool
	over     bool // the wrap has returned
}

// end refuses further calls.
func (a *tries[R]) end() {
	a.mu.Lock()
	a.over = true
	a.mu.Unlock()
}

// begin registers a call, and returns its number. It returns zero if the call comes too late.
func (a *tries[R]) begin() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return 0
	}
	if a.made++; a.how.races && a.stage != nil {
		a.stage.racing.Add(1)
	}
	return a.made
}

// call is the call of Around.
func (a *tries[R]) call(ctx context.Context) error {
	n := a.begin()
	if n == 0 {
		return errTooLate
	}
	if n > 1 && a.again != nil {
		a.again()
	}
	r, err := a.one(ctx)
	a.result, a.ok = r, err == nil
	return err
}

// race is the call of Race.
func (a *tries[R]) race(ctx context.Context) error {
	if a.begin() == 0 {
		return errTooLate
	}
	if s := a.stage; s != nil {
		defer s.racing.Done()
		ctx = s.outside(ctx)
	}
	r, err := a.one(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil && !a.ok && !a.over {
		a.result, a.ok = r, true
	}
	return err
}

// one calls the function once.
func (a *tries[R]) one(ctx context.Context) (r R, err error) {
	if a.how.timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, a.how.timeout)
		defer cancel()
		ctx = limited
	}
	err = guard(ctx, func(ctx context.Context) error {
		r, err = a.f(ctx)
		return err
	})
	if _, panicked := err.(*PanicError); panicked {
		a.mu.Lock()
		a.panicked = true
		a.mu.Unlock()
	}
	return r, err
}

// outside returns ctx for a call that runs outside the lane. It has the stage's name and graph, but
// not its lane, its message and its holds.
func (s *stageBase) outside(ctx context.Context) context.Context {
	la := &lane{run: s.la.run, ctx: s.la.ctx}
	return &stageContext{ctx, &stageBase{la: la, st: s.st, holding: holding{over: true}}}
}

// beside reports whether the lane only stands for calls that run outside a lane.
func (la *lane) beside() bool { return la.token == nil }

// wrapSteps makes a batchStage call its function as its options say.
func wrapSteps[T, U any](s *batchStage[T, U], newHandler func() StepFunc[T, U], current func() StepFunc[T, U]) {
	type step struct {
		m      Message[U]
		goesOn bool
	}
	how := &s.st.node.calls
	s.timeout = 0 // wrapped applies it
	s.some = func(batch []Message[T], leased bool) error {
		in := batch[0]
		if leased && s.lost(in.lease) {
			return nil
		}
		out, err := wrapped(s.ctx, &s.stageBase, how, func() { s.endCall(true) },
			func(ctx context.Context) (out step, err error) {
				f := current
				if how.races {
					f = newHandler
				}
				out.m, out.goesOn, err = f()(ctx, in)
				return out, err
			})
		if err != nil {
			return err
		}
		if m := &out.m; !out.goesOn || !m.lease.same(in.lease) || s.touched.Load() {
			m.lease = s.stepped(in.lease, m.lease, out.goesOn)
		}
		if out.goesOn {
			s.results = append(s.results, out.m)
		}
		s.handled++
		return nil
	}
}

// asStep makes a StepFunc of a function from value to value.
func asStep[T, U any](f func(context.Context, T) (U, error)) StepFunc[T, U] {
	return func(ctx context.Context, m Message[T]) (Message[U], bool, error) {
		v, err := f(ctx, m.Value)
		return Derive(m, v), true, err
	}
}

// pushWrapped is push for a stage with a wrap.
func (s *viaStage[T, U]) pushWrapped(ms []Message[T]) {
	how := &s.st.node.calls
	timeout := s.timeout
	s.timeout = 0 // wrapped applies it
	defer func() { s.timeout = timeout }()
	each(&s.stageBase, ms, func(m Message[T]) {
		s.handle(m.lease, m.meta, func(ctx context.Context) error {
			if how.races {
				return s.raced(ctx, how, m)
			}
			again := func() {
				s.undo()
				s.cur = m.lease
			}
			_, err := wrapped(ctx, &s.stageBase, how, again, func(ctx context.Context) (struct{}, error) {
				return struct{}{}, s.h.Handle(ctx, m, s.emit)
			})
			return err
		})
	})
}

// raced handles a message with a Race: each call has a handler and an output of its own.
func (s *viaStage[T, U]) raced(ctx context.Context, how *calls, m Message[T]) error {
	out, err := wrapped(ctx, &s.stageBase, how, nil, func(ctx context.Context) (out []Message[U], err error) {
		err = s.newHandler().Handle(ctx, m, func(u Message[U]) { out = append(out, u) })
		return out, err
	})
	if err != nil {
		return err
	}
	for _, u := range out {
		s.emit(u)
	}
	return nil
}

// writeWrapped makes one Write as the sink's options say. The calls of a Race have a chunk of their
// own, because one that loses may still read it.
func (s *sinkStage[T]) writeWrapped(chunk []Message[T]) error {
	how := &s.st.node.calls
	timeout := s.timeout
	s.timeout = 0
	defer func() { s.timeout = timeout }()
	if how.races {
		chunk = append([]Message[T](nil), chunk...)
	}
	return s.guard(func(ctx context.Context) error {
		w := s.w
		_, err := wrapped(ctx, &s.stageBase, how, nil, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, w.Write(ctx, chunk)
		})
		return err
	})
}
