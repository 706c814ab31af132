package source

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// streamReader is the running part of Stream.
type streamReader[T any] struct {
	settler
	entries entries[T]
	events  events
	leases
	end    *gather.End // nil without an end
	looked time.Time   // when read looked for the end
	err    error       // of the configuration
	open   atomic.Bool
	unread func() bool // stops the wait for the drain; nil before the first Read
}

func newStreamReader[T any](rdb redis.UniversalClient, p *streamPlan, format redisio.Format[T]) *streamReader[T] {
	s := &streamReader[T]{settler: settler{plan: p}, entries: entries[T]{format: format, most: p.maxDeliveries}}
	group := p.group
	group.OnEvent, group.OnLost = s.events.tell(p.group.OnEvent), s.leases.tell
	s.r, s.err = reader.NewGroup(rdb, group)
	if p.producers > 0 && s.err == nil {
		s.end, s.err = gather.NewEnd(rdb, gather.EndConfig{Key: group.Key, Producers: p.producers})
	}
	return s
}

// Open creates the group. A failure is permanent, because retries of the first connection are the
// purpose of Wait.
func (s *streamReader[T]) Open(ctx context.Context) error {
	if s.err != nil {
		return flow.Permanent(s.err)
	}
	s.events.log(ctx)
	if err := s.r.Open(ctx); err != nil {
		return final(ctx, err)
	}
	if !s.plan.group.AtMostOnce {
		if err := s.r.CheckDead(ctx, s.plan.deadKey); err != nil {
			return final(ctx, errors.Join(err, s.r.Close(ctx)))
		}
	}
	s.open.Store(true)
	return nil
}

func (s *streamReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	if s.unread == nil {
		s.unread = context.AfterFunc(ctx, s.giveBackUnread)
	}
	var b redisio.Batch
	err := s.read(ctx, in, &b)
	if err == io.EOF {
		return err
	}
	s.entries.ahead = s.r.Ahead()
	s.entries.add(in, &b)
	return final(ctx, err)
}

// keepMarks is the longest time between two looks for the end. It is less than half of the default of
// gather.EndConfig.TTL, so a look keeps the marks.
const keepMarks = time.Hour

// read reads entries. At the end of a stream that has one it returns io.EOF.
func (s *streamReader[T]) read(ctx context.Context, in *flow.Intake[T], b *redisio.Batch) error {
	if s.end == nil {
		return s.r.Read(ctx, in.Room(), int64(in.Bytes()), b)
	}
	for {
		err := s.r.Poll(ctx, in.Room(), int64(in.Bytes()), b)
		read := len(b.Entries) > 0
		if err != nil || read && time.Since(s.looked) < keepMarks {
			return err
		}
		s.looked = time.Now()
		at, err := s.end.Reached(ctx, s.plan.group.Group)
		switch {
		case read:
			return nil // they are not settled
		case at:
			return io.EOF
		case redisio.IsPermanent(err):
			return err
		}
	}
}

// giveBackUnread gives back what was read ahead when the graph drains. If it fails, Close does it.
func (s *streamReader[T]) giveBackUnread() {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	_ = s.r.Unread(ctx)
}

// Meter returns the group's lag and pending entries, of all its readers.
func (s *streamReader[T]) Meter(ctx context.Context) (lag, pending int64, err error) {
	if !s.open.Load() {
		return -1, -1, redisio.ErrNotOpen
	}
	info, err := s.r.Info(ctx)
	if err != nil {
		return -1, -1, err
	}
	return info.Lag, info.Pending, nil
}

// Origin names the stream and the group, for spans.
func (s *streamReader[T]) Origin() (stream, group string) {
	return s.plan.group.Key, s.plan.group.Group
}

// Counts reports the numbers of events, see flow.Counter.
func (s *streamReader[T]) Counts(add func(name string, n uint64)) { s.events.report(groupKinds, add) }

// Ready reports to a readiness probe whether Redis answers (see flow.Prober).
func (s *streamReader[T]) Ready() error {
	if !s.open.Load() {
		return nil // the graph already reports that
	}
	return s.r.Ready(s.plan.readyWithin)
}

func (s *streamReader[T]) Close(ctx context.Context) error {
	if !s.open.Load() {
		return nil
	}
	if s.unread != nil {
		s.unread()
	}
	return s.r.Close(ctx)
}

// entries turns entries of a Redis stream into messages. Owned by the reading goroutine.
type entries[T any] struct {
	format redisio.Format[T]
	env    redisio.Envelope
	ahead  time.Duration // how far the local clock is ahead of Redis's
	// most is the maximum number of deliveries; 0: no limit. An entry that exceeds it never failed,
	// because each of its readers died first.
	most int
}

// errExhausted is the fault of an entry that was delivered too often without any reader surviving
// to settle it.
var errExhausted = errors.New("source: delivered MaxDeliveries times, each time its reader ended before it was done")

// errWithheld is the fault of an entry that is too large to be read. It stays in the stream
// unchanged.
var errWithheld = errors.New(
	"source: the entry is too large to be read: raise client-output-buffer-limit or the proxy's limit",
)

// add adds a batch to the intake. An entry that cannot be decoded is added as a bad one, so it does
// not affect others.
func (es *entries[T]) add(in *flow.Intake[T], b *redisio.Batch) {
	if len(b.Entries) == 0 {
		return
	}
	in.Grow(len(b.Entries))
	for i := range b.Entries {
		e := &b.Entries[i]
		size := e.Size()
		if es.most > 0 && e.Deliveries > int64(es.most) {
			es.env = redisio.Envelope{}
			in.AddBad(es.meta(e), size, errExhausted)
			continue
		}
		if e.Withheld {
			es.env = redisio.Envelope{}
			in.AddBad(es.meta(e), size, errWithheld)
			continue
		}
		v, err := es.decode(e)
		if err != nil {
			in.AddBad(es.meta(e), size, err)
			continue
		}
		in.Add(v, es.meta(e), size)
	}
}

// decode returns a panic of a format or codec as an error of the entry.
func (es *entries[T]) decode(e *redisio.Entry) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &redisio.DecodeError{ID: e.ID, Err: &flow.PanicError{Value: p, Stack: debug.Stack()}}
		}
	}()
	return es.format.Decode(e, &es.env)
}

func (es *entries[T]) meta(e *redisio.Entry) flow.Meta {
	m := flow.Meta{ID: e.ID, MessageID: es.env.ID, Key: es.env.Key, Type: es.env.Type, Attempt: int(e.Deliveries),
		ReplyTo: es.env.ReplyTo, Deadline: es.env.Deadline, MaybeDuplicate: es.env.MaybeDuplicate}
	if !e.Position.IsZero() {
		m.Time = e.Position.Time()
	}
	if !m.Deadline.IsZero() {
		m.Deadline = m.Deadline.Add(es.ahead)
	}
	trace := [...]flow.Header{
		{Name: flow.HeaderTraceparent, Value: es.env.Traceparent},
		{Name: flow.HeaderTracestate, Value: es.env.Tracestate},
		{Name: flow.HeaderBaggage, Value: es.env.Baggage},
	}
	n := len(es.env.Headers)
	for _, h := range trace {
		if h.Value != "" {
			n++
		}
	}
	if n == 0 {
		return m
	}
	m.Headers = make(flow.Headers, 0, n)
	for _, h := range es.env.Headers {
		m.Headers = append(m.Headers, flow.Header(h))
	}
	for _, h := range trace {
		if h.Value != "" {
			m.Headers = append(m.Headers, h)
		}
	}
	return m
}

const commitTimeout = 10 * time.Second

// settler commits settlements to a group. Owned by the committing goroutine.
//
// Idea: a Commit that failed is called again with the same settlements. Acks and dead letters may
// be repeated. A nack may not, because the entry may have been delivered again since, and would be
// taken from its new handler. So a Commit that failed in part records which nacks it has done.
type settler struct {
	r    *reader.Group
	plan *streamPlan

	acks    []string
	letters []reader.DeadLetter
	why     dead.Reason // of the first of letters
	nacks   []string
	delays  []time.Duration     // of the nacks
	seqs    []uint64            // of the nacks
	unbegun []string            // given back before a handler received them
	back    []uint64            // their seqs
	done    map[uint64]struct{} // nacked by a Commit that failed
	late    []string            // owned by another reader by now
}

// Commit acknowledges finished entries, gives back unfinished ones, and moves those that failed for
// good to the dead letters.
func (s *settler) Commit(ctx context.Context, settled []flow.Settlement) error {
	if s.plan.group.AtMostOnce {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	s.sort(settled)
	var errs []error
	if len(s.acks) > 0 {
		_, err := s.r.Ack(ctx, s.acks)
		errs = append(errs, err)
	}
	if len(s.letters) > 0 {
		err := s.r.Dead(ctx, s.plan.deadKey, s.letters)
		if err == nil {
			flow.Logger(ctx).Warn("moved to the dead letters", "key", s.plan.group.Key, "dead", s.plan.deadKey,
				"entries", len(s.letters), "id", s.letters[0].ID, "stage", s.why.Stage, "attempts", s.why.Attempts,
				"error", s.why.Error)
		}
		errs = append(errs, err)
	}
	if len(s.nacks) > 0 {
		n, err := s.r.NackEach(ctx, s.nacks, s.delays)
		errs = append(errs, err)
		s.note(s.seqs[:n])
	}
	if len(s.unbegun) > 0 {
		err := s.r.Undeliver(ctx, s.unbegun)
		errs = append(errs, err)
		if err == nil {
			s.note(s.back)
		}
	}
	err := errors.Join(errs...)
	if err == nil {
		s.r.Late(s.late)
	}
	s.reset(err == nil)
	if redisio.IsPermanent(err) {
		return flow.Permanent(err)
	}
	return err
}

// sort assigns each settlement to one of the lists.
func (s *settler) sort(settled []flow.Settlement) {
	for i := range settled {
		st := &settled[i]
		if st.Lost { // even if this reader has the entry again: the new delivery is settled by itself
			s.late = append(s.late, st.ID)
			continue
		}
		switch st.Outcome {
		case flow.Acked, flow.Dropped:
			s.acks = append(s.acks, st.ID)
			continue
		case flow.Dead:
			s.letters = append(s.letters, s.letter(st))
			continue
		}
		if st.Fault != nil && s.plan.maxDeliveries > 0 && st.Attempt >= s.plan.maxDeliveries {
			s.letters = append(s.letters, s.letter(st))
			continue
		}
		if _, done := s.done[st.Seq]; done {
			continue
		}
		if st.Unbegun {
			s.unbegun, s.back = append(s.unbegun, st.ID), append(s.back, st.Seq)
			continue
		}
		after := time.Duration(0) // given back unfinished: any reader may have it at once
		if st.Fault != nil {
			after = st.Fault.After
		}
		s.nacks, s.delays, s.seqs = append(s.nacks, st.ID), append(s.delays, after), append(s.seqs, st.Seq)
	}
}

// note records the nacks that succeeded, in case the rest of the Commit fails.
func (s *settler) note(seqs []uint64) {
	if s.done == nil {
		s.done = make(map[uint64]struct{}, len(seqs))
	}
	for _, seq := range seqs {
		s.done[seq] = struct{}{}
	}
}

// reset prepares the next Commit. all reports whether everything succeeded, so that it has other
// settlements.
func (s *settler) reset(all bool) {
	clear(s.acks)
	clear(s.letters)
	clear(s.nacks)
	clear(s.late)
	clear(s.unbegun)
	s.unbegun, s.back = s.unbegun[:0], s.back[:0]
	s.late = s.late[:0]
	s.acks, s.letters = s.acks[:0], s.letters[:0]
	s.nacks, s.delays, s.seqs = s.nacks[:0], s.delays[:0], s.seqs[:0]
	if all {
		s.done = nil
	}
}

// letter returns the dead letter of an entry. The server copies the entry's own fields.
func (s *settler) letter(st *flow.Settlement) reader.DeadLetter {
	var reason dead.Reason
	if st.Fault != nil {
		reason = dead.NewReason(st.Fault.Err)
		reason.Graph, reason.Stage = st.Fault.Graph, st.Fault.Stage
		if panicked := (*flow.PanicError)(nil); errors.As(st.Fault.Err, &panicked) {
			reason.Stack = string(panicked.Stack)
		}
	}
	reason.Attempts, reason.ID, reason.Time = int64(st.Attempt), st.ID, time.Now()
	reason.Key, reason.Group = s.plan.group.Key, s.plan.group.Group
	if len(s.letters) == 0 {
		s.why = reason
	}
	return reader.DeadLetter{ID: st.ID, Extra: reason.Fields()}
}

// leases reports lost leases to the graph, once the graph has set its function.
type leases struct {
	report atomic.Pointer[func(ids []string)]
}

// OnLeaseLost implements flow.Leaser.
func (l *leases) OnLeaseLost(lost func(ids []string)) { l.report.Store(&lost) }

func (l *leases) tell(ids []string) {
	if report := l.report.Load(); report != nil {
		(*report)(ids)
	}
}
