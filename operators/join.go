package operators

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators/internal/due"
	"github.com/streamerson/streamerson-go/operators/window"
)

// JoinWithin joins two streams by key and time. It calls f with each left and each right value that
// have the same key and lie close together in time. The package window has the configuration, and what event time
// means. A value waits for partners until the watermark says that none can come. A value that had
// none is passed on as f(l, nil) or f(nil, r), or is done, as the kind of the join says. It is the
// same with values that come too late to wait, and that have no time or one too far ahead.
//
// If f fails for a pair, the fault policy decides on the value that came later. If it fails for a
// value alone, the value's entry goes back to its source. When a drain starts, values
// that wait go back to their sources. If one cannot, it no longer waits.
// JoinWithin has two inputs, so it runs on its own goroutine.
//
//	left   --a1-----b2-----------|
//	right  ------a3-----c4-------|
//	out    ------(a1,a3)----(b2,)|  a left join
//
// Order: by the later value; values alone come when they stop to wait. Acks: an entry is acked when
// all its results are, and it waits no longer.
// Holds: up to MaxHeld entries. Ends: when both have ended, after the values that wait.
func JoinWithin[L, R any, K comparable, U any](
	left flow.Source[L], right flow.Source[R], cfg window.Join[L, R, K],
	f func(ctx context.Context, l *L, r *R) (U, error), opts ...flow.StageOption,
) flow.Source[U] {
	cfg = joinDefaults(cfg)
	return flow.Pair(
		"join-within", left, right,
		func() flow.PairHandler[L, R, U] { return newJoining(cfg, f) },
		with(append(opts, joinMistakes(cfg)...), function("f", f != nil),
			flow.Traits{Holds: max(cfg.MaxHeld, 1)})...)
}

func joinDefaults[L, R any, K comparable](cfg window.Join[L, R, K]) window.Join[L, R, K] {
	if cfg.Idle == 0 {
		cfg.Idle = time.Minute
	}
	if cfg.MaxAhead == 0 {
		cfg.MaxAhead = maxAhead
	}
	if cfg.MaxHeld == 0 {
		cfg.MaxHeld = 1024
	}
	return cfg
}

func joinMistakes[L, R any, K comparable](cfg window.Join[L, R, K]) []flow.StageOption {
	mistakes := []flow.StageOption{
		function("LeftKey", cfg.LeftKey != nil), function("RightKey", cfg.RightKey != nil),
		atLeastOne("MaxHeld", cfg.MaxHeld, "values"),
	}
	add := func(field, issue, fix string) { mistakes = append(mistakes, flow.Invalid(field, issue, fix)) }
	if cfg.Before < 0 || cfg.After < 0 || cfg.Before+cfg.After <= 0 {
		add(
			"Before, After",
			fmt.Sprintf("%v and %v", cfg.Before, cfg.After),
			"give zero or more, and one that is positive",
		)
	}
	if cfg.Slack < 0 {
		add("Slack", cfg.Slack.String(), "give zero or more")
	}
	if (cfg.LeftTime == nil) != (cfg.RightTime == nil) {
		add("LeftTime, RightTime", "only one of them is given", "give both, or none for processing time")
	}
	if cfg.Kind > window.Outer {
		add("Kind", fmt.Sprint(cfg.Kind), "give window.Inner, window.Left or window.Outer")
	}
	return mistakes
}

// joining is the handler of JoinWithin.
type joining[L, R any, K comparable, U any] struct {
	f      func(context.Context, *L, *R) (U, error)
	left   side[L, K]
	right  side[R, K]
	most   int
	ahead  int64
	mark   *watermark // nil: processing time
	clock  int64
	timers windowTimers

	// Reused.
	results []U
	two     [2]flow.Held[empty]
}

func newJoining[L, R any, K comparable, U any](
	cfg window.Join[L, R, K], f func(context.Context, *L, *R) (U, error),
) *joining[L, R, K, U] {
	h := &joining[L, R, K, U]{
		f: f, most: cfg.MaxHeld, ahead: int64(cfg.MaxAhead), clock: noTime,
		left:  newSide(cfg.LeftKey, cfg.LeftTime, cfg.After, cfg.Kind >= window.Left),
		right: newSide(cfg.RightKey, cfg.RightTime, cfg.Before, cfg.Kind == window.Outer),
	}
	if cfg.LeftTime != nil {
		mark := newWatermark(cfg.Slack)
		h.mark = &mark
		h.timers = newWindowTimers(true, cfg.Idle, 0, 0)
	}
	h.now()
	return h
}

func (h *joining[L, R, K, U]) now() int64 {
	h.clock = max(h.clock, time.Now().UnixNano())
	return h.clock
}

// low is up to where all values have come.
func (h *joining[L, R, K, U]) low() int64 {
	if h.mark != nil {
		return h.mark.low
	}
	return h.clock
}

// Left handles a left value.
func (h *joining[L, R, K, U]) Left(ctx context.Context, m flow.Message[L], emit flow.Emit[U]) error {
	both := func(l *L, r *R) (U, error) { return h.f(ctx, l, r) }
	return joinOne(ctx, h, &h.left, &h.right, m, both, emit)
}

// Right handles a right value.
func (h *joining[L, R, K, U]) Right(ctx context.Context, m flow.Message[R], emit flow.Emit[U]) error {
	both := func(r *R, l *L) (U, error) { return h.f(ctx, l, r) }
	return joinOne(ctx, h, &h.right, &h.left, m, both, emit)
}

// joinOne handles a value of one side.
func joinOne[A, B, L, R any, K comparable, U any](
	ctx context.Context, h *joining[L, R, K, U], own *side[A, K], other *side[B, K],
	m flow.Message[A], f func(*A, *B) (U, error), emit flow.Emit[U],
) error {
	if h.mark == nil {
		h.now()
		h.expire(ctx, emit)
	}
	key, ts, valid, err := own.locate(m.Value, h.clock)
	if err != nil {
		return err
	}
	if valid && h.mark != nil && h.ahead >= 0 && ts-h.ahead > h.clock {
		valid = ts-h.ahead <= h.now()
	}
	var partners []*kept[B, K]
	if valid {
		partners = other.around(key, ts-other.wait, ts+own.wait)
	}
	results := h.results[:0]
	defer func() {
		clear(results)
		h.results = results[:0]
	}()
	for _, p := range partners {
		r, err := called(&m.Value, &p.held.Value, f)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	waits := valid && ts+own.wait >= h.low()
	if !waits && len(partners) == 0 && own.alone {
		r, err := called[A, B](&m.Value, nil, f)
		if err != nil {
			return err
		}
		emit(flow.Derive(m, r))
	}
	for i, p := range partners { // nothing fails any more
		p.matched = true
		h.two = [2]flow.Held[empty]{also(ctx, m), also(ctx, p.held.Message)}
		emit(flow.Join(ctx, results[i], h.two[:]))
	}
	if waits {
		own.keep(ctx, key, ts, m, len(partners) > 0)
	}
	if valid && h.mark != nil {
		saw(ctx, h.mark, m, ts)
	}
	h.expire(ctx, emit)
	for h.left.due.Len()+h.right.due.Len() >= max(h.most, 1) {
		h.expireOne(ctx, emit)
	}
	return nil
}

// also holds a message once more, without its value.
func also[T any](ctx context.Context, m flow.Message[T]) flow.Held[empty] {
	return flow.Hold(ctx, flow.Derive(m, empty{}))
}

// called calls f. Its panic becomes an error that does not cost the stage its state.
func called[A, B, U any](a *A, b *B, f func(*A, *B) (U, error)) (u U, err error) {
	var panicked error
	defer func() {
		if panicked != nil {
			err = fmt.Errorf("operators: join-within: %w", panicked)
		}
	}()
	defer flow.Catch(&panicked)
	return f(a, b)
}

// expire ends the wait of the values that no partner can come for.
func (h *joining[L, R, K, U]) expire(ctx context.Context, emit flow.Emit[U]) {
	for low := h.low(); h.first() < low; {
		h.expireOne(ctx, emit)
	}
}

// first returns the time after which the first value stops to wait.
func (h *joining[L, R, K, U]) first() int64 { return min(h.left.first(), h.right.first()) }

// expireOne ends the wait of the value that stops to wait first.
func (h *joining[L, R, K, U]) expireOne(ctx context.Context, emit flow.Emit[U]) {
	if h.left.first() <= h.right.first() {
		end(h.left.take(), h.left.alone, func(l *L) (U, error) { return h.f(ctx, l, nil) }, emit)
	} else {
		end(h.right.take(), h.right.alone, func(r *R) (U, error) { return h.f(ctx, nil, r) }, emit)
	}
}

// end passes on a value without a partner, or is done with it.
func end[T any, K comparable, U any](k *kept[T, K], alone bool, f func(*T) (U, error), emit flow.Emit[U]) {
	if alone && !k.matched {
		r, err := called(&k.held.Value, nil, func(v *T, _ *empty) (U, error) { return f(v) })
		if err != nil {
			k.held.Fail(err)
			return
		}
		emit(flow.Derive(k.held.Message, r))
	}
	k.held.Done()
}

// Next returns when something is due by the clock.
func (h *joining[L, R, K, U]) Next() time.Time {
	if first := h.first(); h.mark == nil && first != never {
		return time.Unix(0, first+1)
	}
	return h.timers.next
}

// Ring implements flow.Alarm.
func (h *joining[L, R, K, U]) Ring(ctx context.Context, emit flow.Emit[U]) error {
	h.now()
	if idle, _, _ := h.timers.ring(); idle {
		h.mark.tick()
	}
	h.expire(ctx, emit)
	return nil
}

// End ends the wait of all values. When the graph drains, those that can go back wait again later.
func (h *joining[L, R, K, U]) End(ctx context.Context, emit flow.Emit[U]) error {
	if draining(ctx) {
		h.left.giveBack()
		h.right.giveBack()
	}
	for h.first() != never {
		h.expireOne(ctx, emit)
	}
	return nil
}

// side is one side of a join: the values that wait.
type side[T any, K comparable] struct {
	key   func(T) K
	time  func(T) time.Time // nil: processing time
	wait  int64             // how long after its time a value waits
	alone bool              // a value without a partner is passed on
	keys  map[K][]*kept[T, K]
	due   due.Queue[*kept[T, K]]
}

// kept is a value that waits.
type kept[T any, K comparable] struct {
	key     K
	ts      int64
	until   int64
	held    flow.Held[T]
	matched bool
	place   due.Place
}

// Place implements due.Item.
func (k *kept[T, K]) Place() *due.Place { return &k.place }

// Before implements due.Item.
func (k *kept[T, K]) Before(other *kept[T, K]) bool { return k.until < other.until }

func newSide[T any, K comparable](key func(T) K, at func(T) time.Time, wait time.Duration, alone bool) side[T, K] {
	return side[T, K]{key: key, time: at, wait: int64(wait), alone: alone, keys: make(map[K][]*kept[T, K])}
}

// locate returns the key and the time of a value. It reports false if one of them is of no use.
func (s *side[T, K]) locate(v T, clock int64) (key K, ts int64, valid bool, err error) {
	if key, err = calm(v, s.key); err != nil {
		return key, 0, false, fmt.Errorf("operators: join-within: key: %w", err)
	}
	if s.time == nil {
		return key, clock, key == key, nil
	}
	at, err := calm(v, s.time)
	if err != nil {
		return key, 0, false, fmt.Errorf("operators: join-within: time: %w", err)
	}
	ts, valid = within(at)
	return key, ts, valid && key == key, nil
}

func byTime[T any, K comparable](k *kept[T, K], ts int64) int { return cmp.Compare(k.ts, ts) }

// around returns the values of a key with times from first to last.
func (s *side[T, K]) around(key K, first, last int64) []*kept[T, K] {
	all := s.keys[key]
	from, _ := slices.BinarySearchFunc(all, first, byTime[T, K])
	to, _ := slices.BinarySearchFunc(all, last+1, byTime[T, K])
	return all[from:to]
}

// keep lets a value wait.
func (s *side[T, K]) keep(ctx context.Context, key K, ts int64, m flow.Message[T], matched bool) {
	k := &kept[T, K]{key: key, ts: ts, until: ts + s.wait, held: flow.Hold(ctx, m), matched: matched}
	at, _ := slices.BinarySearchFunc(s.keys[key], ts+1, byTime[T, K])
	s.keys[key] = slices.Insert(s.keys[key], at, k)
	s.due.Add(k)
}

// take removes the value that stops to wait first.
func (s *side[T, K]) take() *kept[T, K] {
	k := s.due.Take()
	left := slices.DeleteFunc(s.keys[k.key], func(of *kept[T, K]) bool { return of == k })
	if s.keys[k.key] = left; len(left) == 0 {
		delete(s.keys, k.key)
	}
	return k
}

// giveBack gives the values back that can go back.
func (s *side[T, K]) giveBack() {
	for _, k := range slices.Clone(s.due.All()) {
		if k.held.CanGoBack() {
			k.held.GiveBack()
			s.due.Remove(k)
		}
	}
}

// first returns the time after which the first value stops to wait.
func (s *side[T, K]) first() int64 {
	if s.due.Len() == 0 {
		return never
	}
	return s.due.First().until
}
