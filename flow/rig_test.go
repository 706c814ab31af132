package flow

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"
	"time"
)

// script is a source for tests. It yields 0, 1, … n-1, some at a time, and records their
// settlements.
type script struct {
	n       int
	perRead int           // 0: as many as fit
	every   time.Duration // between reads
	forever bool          // after n, wait for the end instead of ending
	size    int           // bytes of each
	opts    []StageOption
	openErr func() error
	readErr func(next int) error // asked before each message

	mu       sync.Mutex
	next     int
	settled  map[int][]Settlement
	commits  func() error
	inFlight int
	peak     int
	opened   int
	closed   int
}

func newScript(n int, opts ...StageOption) *script {
	return &script{
		n:       n,
		settled: make(map[int][]Settlement),
		opts:    append([]StageOption{Traits{Redelivers: true, DeadLetters: true}}, opts...),
	}
}

// unsettled returns how many values were read and not settled.
func (s *script) unsettled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inFlight
}

func (s *script) source() Source[int] {
	return NewSource("script", func() Reader[int] { return &scriptReader{script: s} }, s.opts...)
}

type scriptReader struct {
	*script
	first int // value with Seq 0
}

func (r *scriptReader) Open(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened++
	r.first = r.next
	if r.openErr != nil {
		return r.openErr()
	}
	return nil
}

func (r *scriptReader) Close(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed++
	return nil
}

func (r *scriptReader) Read(ctx context.Context, in *Intake[int]) error {
	if r.every > 0 {
		select {
		case <-time.After(r.every):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	done := r.next >= r.n
	r.mu.Unlock()
	if done && r.forever {
		<-ctx.Done()
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for in.Room() > 0 && (r.perRead == 0 || in.Len() < r.perRead) {
		if r.next >= r.n {
			if r.forever {
				return nil
			}
			return io.EOF
		}
		if r.readErr != nil {
			if err := r.readErr(r.next); err != nil {
				return err
			}
		}
		in.Add(r.next, Meta{ID: itoa(r.next), Attempt: 1}, r.size)
		r.next++
		r.inFlight++
		r.peak = max(r.peak, r.inFlight)
	}
	return nil
}

func (r *scriptReader) Commit(_ context.Context, settled []Settlement) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.commits != nil {
		if err := r.commits(); err != nil {
			return err
		}
	}
	for _, st := range settled {
		v := r.first + int(st.Seq)
		r.settled[v] = append(r.settled[v], st)
		r.inFlight--
	}
	return nil
}

func itoa(n int) string {
	if n >= 10 {
		return itoa(n/10) + string(rune('0'+n%10))
	}
	return string(rune('0' + n))
}

// wantOutcomes checks that each value read was settled once, with the outcome that want gives it.
func (s *script) wantOutcomes(t *testing.T, want func(v int) Outcome) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.next {
		switch all := s.settled[v]; {
		case len(all) != 1:
			t.Errorf("value %d settled %d times", v, len(all))
		case all[0].Outcome != want(v):
			t.Errorf("value %d: %v (%v), want %v", v, all[0].Outcome, all[0].Err(), want(v))
		}
	}
}

func (s *script) wantAllAcked(t *testing.T) {
	t.Helper()
	s.wantOutcomes(t, func(int) Outcome { return Acked })
}

// bag is a sink for tests that keeps the values it receives.
type bag[T any] struct {
	mu   sync.Mutex
	got  []T
	fail func(T) error
	slow time.Duration
}

func (b *bag[T]) sink(opts ...StageOption) Sink[T] {
	return NewSink("bag", func() Writer[T] {
		return WriterFunc[T](func(ctx context.Context, chunk []Message[T]) error {
			if b.slow > 0 {
				select {
				case <-time.After(b.slow):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			errs := make([]error, len(chunk))
			bad := false
			for i, m := range chunk {
				if b.fail != nil {
					errs[i] = b.fail(m.Value)
				}
				if errs[i] != nil {
					bad = true
					continue
				}
				b.got = append(b.got, m.Value)
			}
			if bad {
				return &WriteError{Errs: errs}
			}
			return nil
		})
	}, opts...)
}

func (b *bag[T]) values() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func mapTo[T, U any](in Source[T], f func(context.Context, T) (U, error), opts ...StageOption) Source[U] {
	return Transform(in, "map", func() func(context.Context, T) (U, error) { return f }, opts...)
}

func stepTo[T, U any](in Source[T], f func(context.Context, T) (U, error), opts ...StageOption) Source[U] {
	return Step(in, "step", func() StepFunc[T, U] {
		return func(ctx context.Context, m Message[T]) (Message[U], bool, error) {
			v, err := f(ctx, m.Value)
			return Derive(m, v), true, err
		}
	}, opts...)
}

func viaTo[T, U any](in Source[T], f func(context.Context, T) (U, error), opts ...StageOption) Source[U] {
	return Via(in, "via", func() Handler[T, U] {
		return HandlerFunc[T, U](func(ctx context.Context, m Message[T], emit Emit[U]) error {
			v, err := f(ctx, m.Value)
			emit(Derive(m, v))
			return err
		})
	}, opts...)
}

// batcher holds n messages and joins them. If age is set, it also joins them after that time.
type batcher struct {
	n    int
	age  time.Duration
	held []Held[int]
	due  time.Time
}

func (b *batcher) Handle(ctx context.Context, m Message[int], emit Emit[[]int]) error {
	if len(b.held) == 0 && b.age > 0 {
		b.due = time.Now().Add(b.age)
	}
	b.held = append(b.held, Hold(ctx, m))
	if len(b.held) == b.n {
		b.flush(ctx, emit)
	}
	return nil
}

func (b *batcher) flush(ctx context.Context, emit Emit[[]int]) {
	values := make([]int, len(b.held))
	for i := range b.held {
		values[i] = b.held[i].Value
	}
	emit(Join(ctx, values, b.held))
	b.held, b.due = b.held[:0], time.Time{}
}

func (b *batcher) Next() time.Time { return b.due }

func (b *batcher) Ring(ctx context.Context, emit Emit[[]int]) error {
	b.flush(ctx, emit)
	return nil
}

func (b *batcher) End(ctx context.Context, emit Emit[[]int]) error {
	if len(b.held) > 0 {
		b.flush(ctx, emit)
	}
	return nil
}

func batch(in Source[int], n int, age time.Duration, opts ...StageOption) Source[[]int] {
	return Via(in, "batch", func() Handler[int, []int] { return &batcher{n: n, age: age} },
		append([]StageOption{Traits{Holds: n, HoldsFor: age, Joins: true}}, opts...)...)
}

func unbatch(in Source[[]int]) Source[int] {
	return Via(in, "unbatch", func() Handler[[]int, int] {
		return HandlerFunc[[]int, int](func(_ context.Context, m Message[[]int], emit Emit[int]) error {
			for _, v := range m.Value {
				emit(Derive(m, v))
			}
			return nil
		})
	})
}

func copies(in Source[int], n int) []Source[int] {
	return Route(in, "copies", n, func() RouteFunc[int, int] {
		return func(_ context.Context, m Message[int], emit func(int, Message[int])) error {
			for p := range n {
				emit(p, m)
			}
			return nil
		}
	})
}
