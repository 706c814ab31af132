package operators

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// DedupeStore is what Dedupe remembers keys in: DedupeMemory, or redisio.DedupeStore for many processes. A key is new,
// claimed or done. All methods may be called by many goroutines at once, and repeated with the same arguments when
// they failed.
type DedupeStore interface {
	// Claim claims keys, each with a token of its own, and says of each: 0 if it is claimed now,
	// with that token or one of the same owner, which is the text up to the first newline, unless
	// that is empty; less than 0 if it is done; else for how long somebody else has it at most. A
	// claim ends by itself some time after, so that one who died frees it.
	Claim(ctx context.Context, keys, tokens []string) ([]time.Duration, error)
	// Done marks keys as done, whoever has claimed them by now: the work is done.
	Done(ctx context.Context, keys, tokens []string) error
	// Release frees the keys that are claimed with these very tokens.
	Release(ctx context.Context, keys, tokens []string) error
}

// Dedupe drops the messages whose key has been handled before. A key counts as handled when all
// that came of its message behind Dedupe is done: it is marked then, before the entry is
// acknowledged. When that failed, was given back or became a dead letter, the key is free again, so
// that a redelivery or a replay is not taken for a duplicate.
//
// A message whose key is being handled in this very graph shares the fate of the one before it: acked when that is, and
// delivered again when that is. One whose key is being handled elsewhere is delivered again later
// (flow.RetryAfter), and dropped when that has succeeded; that counts as deliveries, so that a
// source with a small MaxDeliveries and work that takes long may make a dead letter of it. Messages
// with an empty key all pass.
//
// Handling stays at least once: what dies between the work and the mark is done again, and so is what takes longer than
// the store's claims last (10 minutes, see redisio.DedupeConfig; they are not renewed) while a
// duplicate comes. While the store is away the fault policy decides, and entries that are done wait
// to be acknowledged. The store is asked chunk by chunk.
//
// Order: kept; what is delivered again comes later. Acks: carried by what passes; the rest is done
// here, or with what it repeats.
// Holds: the chunk that the store is asked about. Ends: when in ends.
func Dedupe[T any](in flow.Source[T], key func(T) string, store DedupeStore, opts ...flow.StageOption) flow.Source[T] {
	answered := flow.Via(in, "dedupe-ask", func() flow.Handler[T, *asked[T]] {
		return &asker[T]{key: key, store: store, life: rand.Text()[:10]}
	}, flow.Async(), flow.ChunkSize(askAtOnce))
	return flow.Step(answered, "dedupe", func() flow.StepFunc[*asked[T], T] {
		d := &deduper{store: store, open: make(map[string]*claim)}
		d.watcher = flow.NewWatcher(d.ended)
		return func(ctx context.Context, m flow.Message[*asked[T]]) (flow.Message[T], bool, error) {
			return dedupeOne(ctx, d, m)
		}
	}, with(opts, function("key", key != nil), given("store", store != nil),
		flow.OneWorker("the store is asked chunk by chunk, by one worker"))...)
}

func given(field string, is bool) flow.StageOption {
	if is {
		return nil
	}
	return flow.Invalid(field, "it is nil", "give a *DedupeMemory, or a redisio.DedupeStore for many processes")
}

// askAtOnce is how many messages the store is asked about at once.
const askAtOnce = 128

// asked is a message and what the store said about its key.
type asked[T any] struct {
	value T
	key   string
	token string
	busy  time.Duration // of Claim
	known bool          // busy says something; it does once
	err   error         // why it does not
}

// asker asks the store about all that has come when the input runs dry, or askAtOnce messages have.
type asker[T any] struct {
	key   func(T) string
	store DedupeStore
	life  string
	n     uint64 // tokens made

	held []flow.Held[T]
	keys []string // of held
}

func (a *asker[T]) Handle(ctx context.Context, m flow.Message[T], emit flow.Emit[*asked[T]]) error {
	key, err := a.keyOf(m.Value)
	if err != nil {
		return err
	}
	a.held, a.keys = append(a.held, flow.Hold(ctx, m)), append(a.keys, key)
	if len(a.held) >= askAtOnce {
		a.ask(ctx, emit)
	}
	return nil
}

// keyOf makes a panic of the user's function a fault of its message alone.
func (a *asker[T]) keyOf(v T) (key string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("operators: dedupe: key: %w", &flow.PanicError{Value: p, Stack: debug.Stack()})
		}
	}()
	return a.key(v), nil
}

// Next asks for a ring as soon as the chunk at hand is through.
func (a *asker[T]) Next() time.Time {
	if len(a.held) == 0 {
		return time.Time{}
	}
	return time.Unix(0, 0)
}

func (a *asker[T]) Ring(ctx context.Context, emit flow.Emit[*asked[T]]) error {
	a.ask(ctx, emit)
	return nil
}

func (a *asker[T]) End(ctx context.Context, emit flow.Emit[*asked[T]]) error {
	a.ask(ctx, emit)
	return nil
}

// ask passes on what is held, with the answers. What it cannot be told goes on all the same: the
// stage behind asks again, as the fault policy wants it.
func (a *asker[T]) ask(ctx context.Context, emit flow.Emit[*asked[T]]) {
	all := make([]asked[T], len(a.held))
	var keys, tokens []string
	var of []int
	seen := make(map[string]bool, len(a.held))
	for i := range a.held {
		a.n++
		token := a.held[i].ID() + "\n" + a.life + strconv.FormatUint(a.n, 36)
		all[i] = asked[T]{value: a.held[i].Value, key: a.keys[i], token: token}
		if key := a.keys[i]; key != "" &&
			!seen[key] { // of two with the same key the second sees what becomes of the first
			seen[key] = true
			keys, tokens, of = append(keys, key), append(tokens, token), append(of, i)
		}
	}
	if len(keys) > 0 {
		busy, err := a.store.Claim(ctx, keys, tokens)
		if err == nil && len(busy) != len(keys) {
			err = errWrongAnswer
		}
		for n, i := range of {
			if all[i].known, all[i].err = true, err; err == nil {
				all[i].busy = busy[n]
			}
		}
	}
	for i := range a.held {
		emit(flow.Derive(a.held[i].Message, &all[i]))
		a.held[i].Done()
	}
	clear(a.held)
	a.held, a.keys = a.held[:0], a.keys[:0]
}

var (
	errWrongAnswer = errors.New("operators: dedupe: the store answered for another number of keys")
	errBusy        = errors.New("operators: dedupe: the key is being handled elsewhere")
)

// deduper is what one life of the stage knows.
type deduper struct {
	store   DedupeStore
	watcher *flow.Watcher

	mu   sync.Mutex // guards open, and the tokens in it
	open map[string]*claim
}

// claim is a key that is being handled here.
type claim struct {
	key     string
	token   string
	watched flow.Watched
}

// dedupeOne decides about one message.
func dedupeOne[T any](ctx context.Context, d *deduper, m flow.Message[*asked[T]]) (flow.Message[T], bool, error) {
	a := m.Value
	out := flow.Derive(m, a.value)
	if a.key == "" {
		return out, true, nil
	}
	if d.follows(
		a.key,
		a.token,
		a.known && a.err == nil && a.busy == 0,
		func(w flow.Watched) bool { return flow.Follow(m, w) },
	) {
		return out, false, nil
	}
	if !a.known {
		busy, err := d.store.Claim(ctx, []string{a.key}, []string{a.token})
		if err == nil && len(busy) != 1 {
			err = errWrongAnswer
		}
		if a.err = err; err == nil {
			a.busy = busy[0]
		}
	}
	a.known = false
	switch {
	case a.err != nil:
		return out, false, a.err
	case a.busy < 0:
		return out, false, nil
	case a.busy > 0:
		return out, false, flow.RetryAfter(min(a.busy, patience(m.Attempt())), errBusy)
	}
	c := &claim{key: a.key, token: a.token}
	out, c.watched = flow.Watch(ctx, out, d.watcher, c)
	d.mu.Lock()
	d.open[a.key] = c
	d.mu.Unlock()
	return out, true, nil
}

// patience is how long a message waits for the one that it repeats, by its deliveries: 100 ms, 200 ms, … 30 s.
func patience(attempt int) time.Duration {
	return min(100*time.Millisecond<<min(max(attempt-1, 0), 12), 30*time.Second)
}

// follows lets a message share the fate of the one with its key that is being handled here, if there is one. If it has
// taken over the claim of that, which was the same entry's, the claim is that one's now.
func (d *deduper) follows(key, token string, claimed bool, follow func(flow.Watched) bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.open[key]
	if c == nil || !follow(c.watched) {
		return false
	}
	if claimed {
		c.token = token
	}
	return true
}

// ended marks what has succeeded, and frees the rest.
func (d *deduper) ended(ctx context.Context, ends []flow.End) error {
	var done, failed struct{ keys, tokens []string }
	d.mu.Lock()
	for _, e := range ends {
		to, c := &failed, e.Tag.(*claim)
		if e.Outcome == flow.Acked || e.Outcome == flow.Dropped {
			to = &done
		}
		to.keys, to.tokens = append(to.keys, c.key), append(to.tokens, c.token)
	}
	d.mu.Unlock()
	var errs []error
	if len(done.keys) > 0 {
		errs = append(errs, d.store.Done(ctx, done.keys, done.tokens))
	}
	if len(failed.keys) > 0 {
		errs = append(errs, d.store.Release(ctx, failed.keys, failed.tokens))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range ends {
		if c := e.Tag.(*claim); d.open[c.key] == c {
			delete(d.open, c.key)
		}
	}
	return nil
}
