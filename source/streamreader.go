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
