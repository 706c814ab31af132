package operators

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// DedupeStore stores the keys of Dedupe: DedupeMemory, or dedupe.Store to share them between
// processes. A key is new, claimed or done. All methods may be called concurrently, and repeated
// with the same arguments after an error.
type DedupeStore interface {
	// Claim claims keys, each with its own token, and returns a number for each key. The number is
	// 0 if the key is now claimed with that token or with a token of the same owner. It is less
	// than 0 if the key is done. Otherwise it is the longest time for which another owner holds the
	// key. The owner is the token's text up to the first newline; an empty owner matches no other
	// token. A claim expires, so that a dead process frees it.
	Claim(ctx context.Context, keys, tokens []string) ([]time.Duration, error)
	// Done marks keys as done, even if another owner has claimed them meanwhile, because the work
	// is done.
	Done(ctx context.Context, keys, tokens []string) error
	// Release frees those keys that are still claimed with exactly these tokens.
	Release(ctx context.Context, keys, tokens []string) error
}

// Dedupe drops messages that were handled before, by key. A key is marked as handled when
// all output that its message caused behind Dedupe is done, before the entry is acknowledged. If
// that work failed, was given back or became a dead letter, the key is free again, so that a
// redelivery or a replay does not count as a duplicate.
//
// If the same graph is handling an earlier message with the key, the message shares its outcome:
// both are acked or both are delivered again. If the key is being handled elsewhere, the message is
// delivered again later (flow.RetryAfter), and dropped once the other has succeeded. These are
// deliveries, so a source with a small MaxDeliveries and slow work may make it a dead letter.
// Messages with an empty key always pass.
//
// Handling stays at least once. Work is repeated if the process dies between the work and the mark.
// It is also repeated if it takes longer than the store's claims last and a duplicate arrives
// meanwhile (10 minutes, see dedupe.Config; claims are not renewed). While the store is
// unreachable the fault policy decides, and entries that are done wait to be acknowledged. The
// store is queried chunk by chunk.
//
//	in   --a--b--a--c--b--|
//	out  --a--b-----c-----|
//
// Order: kept; redelivered messages come later. Acks: carried by what passes; a dropped message is
// done at once, or with the message that it repeats.
// Holds: the chunk that the store is queried for. Ends: when in ends.
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
		flow.Traits{OneWorker: "one worker queries the store chunk by chunk"})...)
}

func given(field string, is bool) flow.StageOption {
	if is {
		return nil
	}
	return flow.Invalid(field, "it is nil", "give a *DedupeMemory, or a dedupe.Store for several processes")
}

// askAtOnce is the maximum number of keys in one query of the store.
const askAtOnce = 128

// asked is a message with the store's answer for its key.
type asked[T any] struct {
	value T
	key   string
	token string
	busy  time.Duration // result of Claim
	known bool          // busy or err is set; it is used once
	err   error         // of Claim
}

// asker queries the store when the input runs dry or askAtOnce messages have gathered.
type asker[T any] struct {
	key   func(T) string
	store DedupeStore
	life  string
	n     uint64 // number of tokens made

	held []flow.Held[T]
	keys []string // of held
}

func (a *asker[T]) Handle(ctx context.Context, m flow.Message[T], emit flow.Emit[*asked[T]]) error {
	key, err := calm(m.Value, a.key) // its panic is a fault of this message alone
	if err != nil {
		return fmt.Errorf("operators: dedupe: key: %w", err)
	}
	a.held, a.keys = append(a.held, flow.Hold(ctx, m)), append(a.keys, key)
	if len(a.held) >= askAtOnce {
		a.ask(ctx, emit)
	}
	return nil
}

// Next requests a Ring as soon as the current chunk is handled.
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

// ask passes on the held messages with the store's answers. If the query fails they are passed on
// with the error, and the next stage returns it to the fault policy.
func (a *asker[T]) ask(ctx context.Context, emit flow.Emit[*asked[T]]) {
	all := make([]asked[T], len(a.held))
	var keys, tokens []string
	var of []int
	seen := make(map[string]bool, len(a.held))
	for i := range a.held {
		a.n++
		token := a.held[i].ID() + "\n" + a.life + strconv.FormatUint(a.n, 36)
		all[i] = asked[T]{value: a.held[i].Value, key: a.keys[i], token: token}
		// Of two messages with the same key the second shares the outcome of the first.
		if key := a.keys[i]; key != "" && !seen[key] {
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
	errWrongAnswer = errors.New("operators: dedupe: the store returned the wrong number of answers")
	errBusy        = errors.New("operators: dedupe: the key is being handled elsewhere")
)

// deduper is the state of one run of the stage.
type deduper struct {
	store   DedupeStore
	watcher *flow.Watcher

	mu   sync.Mutex // guards open, and the tokens in it
	open map[string]*claim
}

// claim is a key that this stage is handling.
type claim struct {
	key     string
	token   string
	watched flow.Watched
}

// dedupeOne passes a message on, drops it or returns why it must be retried.
func dedupeOne[T any](ctx context.Context, d *deduper, m flow.Message[*asked[T]]) (flow.Message[T], bool, error) {
	a := m.Value
	out := flow.Derive(m, a.value)
	if a.key == "" {
		return out, true, nil
	}
	claimed := a.known && a.err == nil && a.busy == 0
	if d.follows(a.key, a.token, claimed, func(w flow.Watched) bool { return flow.Follow(m, w) }) {
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

// patience returns the wait of a repeated message before its next delivery: 100 ms, 200 ms, … 30 s.
func patience(attempt int) time.Duration {
	return min(100*time.Millisecond<<min(max(attempt-1, 0), 12), 30*time.Second)
}

// follows lets a message share the outcome of the message with its key that is being handled here,
// if there is one. If the store has just given the claim to the new message (both are deliveries of
// the same entry), the open claim takes its token.
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

// ended marks the keys of successful messages as done and frees the others.
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
	// At the end of a run the work counts without its mark: to repeat it would be certainly a duplicate.
	if err := errors.Join(errs...); err != nil && ctx.Err() == nil {
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
