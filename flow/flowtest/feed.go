package flowtest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Around is called in place of a Read, a Commit or a Write of a probe, and receives the call
// itself. It may wait before it, fail or panic before or after it, or omit it.
type Around func(ctx context.Context, call func() error) error

// Settlement is how one delivery of an entry ended.
type Settlement[T any] struct {
	Value   T
	Meta    flow.Meta
	Attempt int // number of the delivery, from 1
	Outcome flow.Outcome
	Err     error         // why it was not acked; nil if it was, or was given back unfinished
	After   time.Duration // of a nack: the requested delay
}

// String returns the value and its outcome.
func (s Settlement[T]) String() string { return fmt.Sprintf("%v %s", s.Value, s.Outcome) }

// FeedOption configures a Feed.
type FeedOption func(*feedConfig)

type feedConfig struct {
	stage      []flow.StageOption
	once       bool
	noDead     bool
	deliveries int
}

// FeedStage gives the feed's source options of flow, such as flow.MaxInFlight.
func FeedStage(opts ...flow.StageOption) FeedOption {
	return func(c *feedConfig) { c.stage = append(c.stage, opts...) }
}

// Redeliver makes the feed redeliver Nacked entries, after the requested delay and with Attempt one
// higher, until an entry has been delivered that many times. Without it a nack is only recorded.
func Redeliver(deliveries int) FeedOption { return func(c *feedConfig) { c.deliveries = deliveries } }

// CannotRedeliver makes the feed a source without redelivery: a nack stops the graph.
func CannotRedeliver() FeedOption { return func(c *feedConfig) { c.once = true } }

// NoDeadLetters makes the feed a source without dead letters: Dead entries stop the graph.
func NoDeadLetters() FeedOption { return func(c *feedConfig) { c.noDead = true } }

// Feeder is the test's end of a Feed. Its methods may be called at any time, from any goroutine of
// the test.
type Feeder[T any] struct {
	// Patience is how long assertions wait before they fail. Defaults to 10 s, virtual in a
	// synctest bubble.
	Patience time.Duration

	cfg feedConfig

	probe
	queue    []*entry[T] // to be delivered, in order
	closed   bool
	sent     int
	open     int // deliveries not settled
	most     int // the highest value of open
	settled  []Settlement[T]
	problems []string
	sizeOf   func(T) int
	read     Around
	commit   Around
}

// entry is one entry of a feed and the state of its current delivery.
type entry[T any] struct {
	value   T
	meta    flow.Meta
	bad     error
	attempt int
	due     time.Time // zero: at once
}

// Feed makes a source that delivers what the test sends while the graph runs, and records how each
// entry is settled. When the test ends, each delivery must have been settled exactly once. For the
// graph the source redelivers and keeps dead letters, unless options say otherwise. In a bubble,
// make it inside.
func Feed[T any](t testing.TB, opts ...FeedOption) (flow.Source[T], *Feeder[T]) {
	f := &Feeder[T]{Patience: patience, probe: probe{t: t, changed: make(chan struct{})}}
	for _, o := range opts {
		o(&f.cfg)
	}
	stage := []flow.StageOption{flow.Traits{Redelivers: !f.cfg.once, DeadLetters: !f.cfg.noDead}}
	t.Cleanup(f.verify)
	return flow.NewSource("feed", func() flow.Reader[T] { return &feedReader[T]{f: f} },
		append(stage, f.cfg.stage...)...), f
}

const patience = 10 * time.Second

// Send sends values. Each becomes an entry. The entries' IDs are numbers, starting with "1".
func (f *Feeder[T]) Send(values ...T) {
	for _, v := range values {
		f.send(&entry[T]{value: v})
	}
}

// SendMessage sends messages with their metadata, made by flow.NewMessage. An empty ID becomes the
// entry's number.
func (f *Feeder[T]) SendMessage(msgs ...flow.Message[T]) {
	for _, m := range msgs {
		f.send(&entry[T]{value: m.Value, meta: m.Meta()})
	}
}

// SendBad sends an entry that has an error instead of a message, such as one that cannot be
// decoded.
func (f *Feeder[T]) SendBad(err error) { f.send(&entry[T]{bad: err}) }

func (f *Feeder[T]) send(e *entry[T]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		f.problem("feed: Send after Close")
		return
	}
	f.sent++
	if e.meta.ID == "" {
		e.meta.ID = strconv.Itoa(f.sent)
	}
	f.queue = append(f.queue, e)
	f.change()
}

// Close ends the source once everything sent has been delivered. Entries nacked after that are not
// redelivered.
func (f *Feeder[T]) Close() { f.set(func() { f.closed = true }) }

// SizeBy gives entries a size, for flow.MaxBytes.
func (f *Feeder[T]) SizeBy(size func(T) int) { f.set(func() { f.sizeOf = size }) }

// AroundRead runs each Read of the source through a function. An error from it restarts the source.
func (f *Feeder[T]) AroundRead(a Around) { f.set(func() { f.read = a }) }

// AroundCommit runs each Commit of the source through a function. After an error the graph commits
// again.
func (f *Feeder[T]) AroundCommit(a Around) { f.set(func() { f.commit = a }) }

// FailReads makes the next n Reads fail with err, before they read.
func (f *Feeder[T]) FailReads(n int, err error) { f.AroundRead(failing(n, err)) }

// FailCommits makes the next n Commits fail with err, before they commit.
func (f *Feeder[T]) FailCommits(n int, err error) { f.AroundCommit(failing(n, err)) }

// failing fails the next n calls.
func failing(n int, err error) Around {
	var mu sync.Mutex
	return func(_ context.Context, call func() error) error {
		mu.Lock()
		n--
		fails := n >= 0
		mu.Unlock()
		if fails {
			return err
		}
		return call()
	}
}

func (f *Feeder[T]) problem(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// Settlements returns how deliveries have ended so far, in the order of their commits.
func (f *Feeder[T]) Settlements() []Settlement[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Settlement[T](nil), f.settled...)
}

// Outstanding returns how many deliveries have not been settled.
func (f *Feeder[T]) Outstanding() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

// MostOutstanding returns the highest number of deliveries that were unsettled at the same time.
func (f *Feeder[T]) MostOutstanding() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most
}

// WantSettled waits for as many settlements as want counts, and checks the number of each outcome.
func (f *Feeder[T]) WantSettled(want map[flow.Outcome]int) {
	f.t.Helper()
	n := 0
	for _, k := range want {
		n += k
	}
	f.await(func() bool { return len(f.settled) >= n })
	got := make(map[flow.Outcome]int)
	for _, s := range f.Settlements() {
		got[s.Outcome]++
	}
	for o := flow.Acked; o <= flow.Failed; o++ {
		if got[o] != want[o] {
			f.t.Errorf("feed: %d deliveries %s, want %d", got[o], o, want[o])
		}
	}
}

// WantAcked waits until as many entries have been acked, and checks that they are these, in any
// order.
func (f *Feeder[T]) WantAcked(values ...T) { f.t.Helper(); f.want(flow.Acked, values) }

// WantDropped is WantAcked for entries dropped on purpose.
func (f *Feeder[T]) WantDropped(values ...T) { f.t.Helper(); f.want(flow.Dropped, values) }

// WantDead is WantAcked for dead letters.
func (f *Feeder[T]) WantDead(values ...T) { f.t.Helper(); f.want(flow.Dead, values) }

// WantNacked is WantAcked for deliveries given back.
func (f *Feeder[T]) WantNacked(values ...T) { f.t.Helper(); f.want(flow.Nacked, values) }

func (f *Feeder[T]) want(o flow.Outcome, values []T) {
	f.t.Helper()
	of := func() (have []T) {
		for _, s := range f.settled {
			if s.Outcome == o {
				have = append(have, s.Value)
			}
		}
		return have
	}
	f.await(func() bool { return len(of()) >= len(values) })
	f.mu.Lock()
	have := of()
	f.mu.Unlock()
	if d := bagDiff(values, have); d != "" {
		f.t.Errorf("feed: %s (-want +got):\n%s", o, d)
	}
}

// WantOutstanding waits until n deliveries are unsettled.
func (f *Feeder[T]) WantOutstanding(n int) {
	f.t.Helper()
	if !f.await(func() bool { return f.open == n }) {
		f.t.Errorf("feed: %d deliveries outstanding, want %d", f.Outstanding(), n)
	}
}

func (f *Feeder[T]) await(cond func() bool) bool { return f.until(f.Patience, cond) }

// wantAllAcked waits for n settlements and checks that all are acks.
func (f *Feeder[T]) wantAllAcked(n int) {
	f.t.Helper()
	f.WantSettled(map[flow.Outcome]int{flow.Acked: n})
}

// verify makes the checks of every feed at the end of its test.
func (f *Feeder[T]) verify() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.problems {
		f.t.Error(p)
	}
	if f.open != 0 {
		f.t.Errorf("feed: %d deliveries have not been settled at the end of the test", f.open)
	}
}
