package operators_test

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
)

// feed is a source for tests: it yields its values and records the outcome of each entry. An
// entry's id is the index of its value.
type feed[T any] struct {
	values []T
	every  time.Duration // between values; 0: as many as the credits allow
	stays  bool          // after the last value it waits for the drain instead of ending

	mu      sync.Mutex
	next    int
	settled map[int][]flow.Settlement
	open    int // number of entries read and not settled
	most    int // maximum of open
}

func newFeed[T any](values ...T) *feed[T] {
	return &feed[T]{values: values, settled: make(map[int][]flow.Settlement)}
}

// numbers is a feed of 0, 1, … n-1.
func numbers(n int) *feed[int] {
	values := make([]int, n)
	for i := range values {
		values[i] = i
	}
	return newFeed(values...)
}

func (f *feed[T]) source(opts ...flow.StageOption) flow.Source[T] {
	opts = append([]flow.StageOption{flow.Traits{Redelivers: true, DeadLetters: true}}, opts...)
	return flow.NewSource("feed", func() flow.Reader[T] { return f }, opts...)
}

func (f *feed[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	if f.every > 0 {
		if err := wait(ctx, f.every); err != nil {
			return err
		}
	}
	if f.done() && f.stays {
		<-ctx.Done()
		return ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for in.Room() > 0 && f.next < len(f.values) {
		in.Add(f.values[f.next], flow.Meta{ID: strconv.Itoa(f.next), Attempt: 1}, 0)
		f.next++
		f.open++
		if f.every > 0 {
			break
		}
	}
	f.most = max(f.most, f.open)
	if f.next == len(f.values) && !f.stays {
		return io.EOF
	}
	return nil
}

func (f *feed[T]) done() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next == len(f.values)
}

func (f *feed[T]) Commit(_ context.Context, settled []flow.Settlement) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range settled {
		i, err := strconv.Atoi(s.ID)
		if err != nil {
			return err
		}
		f.settled[i] = append(f.settled[i], s)
		f.open--
	}
	return nil
}

// outcomes checks that each entry was settled exactly once with the expected outcome: the one in
// except, or Acked.
func (f *feed[T]) outcomes(t *testing.T, except map[int]flow.Outcome) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	want, got := make(map[int][]string), make(map[int][]string)
	for i := range f.next {
		want[i] = []string{except[i].String()}
		for _, s := range f.settled[i] {
			got[i] = append(got[i], s.Outcome.String())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes by entry (-want +got):\n%s", diff)
	}
}

// allSettledAs checks that all entries were read and each was settled exactly once with this
// outcome.
func (f *feed[T]) allSettledAs(t *testing.T, o flow.Outcome) {
	t.Helper()
	if f.next != len(f.values) {
		t.Errorf("%d of %d entries were read", f.next, len(f.values))
	}
	f.allRead(t, o)
}

// allRead checks that each entry that was read was settled exactly once with this outcome.
func (f *feed[T]) allRead(t *testing.T, o flow.Outcome) {
	t.Helper()
	all := make(map[int]flow.Outcome)
	for i := range f.next {
		all[i] = o
	}
	f.outcomes(t, all)
}

// unfinished checks that entries with a finished value were acked and all others were given back.
// The feed's values must be their indices.
func (f *feed[T]) unfinished(t *testing.T, finished []int) {
	t.Helper()
	nacked := make(map[int]flow.Outcome)
	for i := range f.values {
		nacked[i] = flow.Nacked
	}
	for _, i := range finished {
		delete(nacked, i)
	}
	f.outcomes(t, nacked)
}

// count returns the number of entries settled so far, with any outcome.
func (f *feed[T]) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.settled)
}

// isSettled reports whether an entry with this value has been settled.
func (f *feed[T]) isSettled(v any) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.settled {
		if any(f.values[i]) == v {
			return true
		}
	}
	return false
}

// box is a sink for tests that keeps its values.
type box[T any] struct {
	each func(context.Context, T) error // before a value is kept; may be nil

	mu   sync.Mutex
	got  []T
	at   []time.Time
	meta []flow.Meta
}

func (b *box[T]) sink() flow.Sink[T] {
	return flow.NewSink("box", func() flow.Writer[T] { return b }, flow.ChunkSize(16))
}

func (b *box[T]) Write(ctx context.Context, chunk []flow.Message[T]) error {
	errs, failed := make([]error, len(chunk)), false
	for i, m := range chunk {
		if b.each != nil {
			if errs[i] = b.each(ctx, m.Value); errs[i] != nil {
				failed = true
				continue
			}
		}
		b.mu.Lock()
		b.got, b.at, b.meta = append(b.got, m.Value), append(b.at, time.Now()), append(b.meta, m.Meta())
		b.mu.Unlock()
	}
	if failed {
		return &flow.WriteError{Errs: errs}
	}
	return nil
}

func (b *box[T]) values() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]T(nil), b.got...)
}

func (b *box[T]) want(t *testing.T, want ...T) {
	t.Helper()
	if diff := cmp.Diff(want, b.values()); diff != "" {
		t.Errorf("values at the sink (-want +got):\n%s", diff)
	}
}

// wait blocks for d of virtual time.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// virtual runs a test in virtual time.
func virtual(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// run runs a graph to its end, which must be without error.
func run(t *testing.T, parts ...flow.Part) {
	t.Helper()
	if err := flow.New("test", parts...).Run(t.Context()); err != nil {
		t.Fatalf("the graph ended with: %v", err)
	}
}

// start starts a graph.
func start(t *testing.T, parts ...flow.Part) *flow.Running {
	t.Helper()
	r, err := flow.New("test", parts...).Start(t.Context())
	if err != nil {
		t.Fatalf("the graph did not start: %v", err)
	}
	return r
}

// invalid checks that the graph of the parts has exactly these mistakes, each given as "stage: field".
func invalid(t *testing.T, want []string, parts ...flow.Part) {
	t.Helper()
	var got []string
	if err := flow.New("test", parts...).Validate(); err != nil {
		for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
			var e *flow.BuildError
			if !errors.As(err, &e) {
				t.Fatalf("not a BuildError: %v", err)
			}
			if e.Issue == "" || e.Fix == "" {
				t.Errorf("a mistake without an issue or a fix: %v", e)
			}
			got = append(got, e.Stage+": "+e.Field)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

// discard drains a source that a test does not look at.
func discard[T any]() flow.Sink[T] { return new(box[T]).sink() }

var errBoom = errors.New("boom")

// sequence is 0, 1, … n-1.
func sequence(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
