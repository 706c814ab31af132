package flow

import (
	"context"
	"io"
	"math"
	"slices"
	"time"
)

// Reader is the running part of a source. NewSource makes a new one for each life of the source.
// One goroutine at a time uses it, except for Commit. Optional interfaces: Opener, Committer,
// Closer, Meter, Leaser, Prober, Counter.
type Reader[T any] interface {
	// Read adds messages to the intake: at least one, and at most as many as the intake has room
	// for. It blocks until there is one, the context is done, or the source has ended (io.EOF, with
	// or without messages). Added messages count as read even if Read also returns an error. Any
	// other error restarts the source, within the graph's limits.
	//
	// The context is done when the graph drains. If a Reader has taken entries from its backend by
	// then, it adds them: they are still handled, or given back (see Traits.GivesBack).
	Read(ctx context.Context, in *Intake[T]) error
}

// Opener is a Reader or Writer that must be opened before its first use. An error is a failure of
// the stage.
type Opener interface {
	Open(ctx context.Context) error
}

// Closer is a Reader or Writer that must be closed after its last use. The context has a deadline.
type Closer interface {
	Close(ctx context.Context) error
}

// Committer is a Reader that reports to its backend how entries ended. Commit applies the
// settlements: it acknowledges entries, gives them back, and moves them to the dead letters. One
// goroutine calls it, concurrently with Read.
//
// If Commit returns an error, it is called again after a backoff with the same settlements and with
// those that have arrived since. So it must be idempotent. Only when it returns nil do the credits
// return to the reader. An error marked Permanent stops the graph. The slice is valid until Commit
// returns.
type Committer interface {
	Commit(ctx context.Context, settled []Settlement) error
}

// Meter is a Reader that can report, for snapshots, how far it is behind.
type Meter interface {
	// Meter returns the number of entries not read yet (lag), and of those read and not settled
	// (pending), as counted by the backend; -1 for an unknown number.
	Meter(ctx context.Context) (lag, pending int64, err error)
}

// Settlement is the end of one entry.
type Settlement struct {
	// Seq is the number of the entry, in the order in which entries were added to the intake. It
	// starts at 0 in each life of the Reader.
	Seq uint64
	// ID and Attempt are those of its Meta.
	ID      string
	Attempt int
	Outcome Outcome
	// Lost means that the source's Reader reported the entry's lease as lost before the entry
	// settled: see Leaser.
	Lost bool
	// Unbegun means that the entry was given back before a handler began it, or while it was held
	// at a stop. The outcome is Nacked. A source that counts deliveries does not count this one.
	Unbegun bool
	// Fault is the worst fault. It is nil if the outcome is Acked, and for entries given back
	// unfinished or refused because a stage had ended.
	Fault *Fault

	meta *record
}

// Meta returns the metadata of the entry.
func (s Settlement) Meta() Meta { return s.meta.meta() }

// Err returns the handler's error that caused the outcome; nil without a Fault.
func (s Settlement) Err() error {
	if s.Fault == nil {
		return nil
	}
	return s.Fault.Err
}

// Intake collects the messages of one Read.
type Intake[T any] struct {
	msgs    []Message[T]
	records []record  // parallel to msgs, or nil
	more    []details // of records; a full block is replaced by a new one
	bad     []badEntry
	room    int
	bytes   int // byte credits left
	seq     uint64
}

type badEntry struct {
	at  int
	err error
}

// Room returns how many messages Read may still add. It is at least 1 when Read is called.
func (in *Intake[T]) Room() int {
	if len(in.msgs) > 0 && in.bytes <= 0 {
		return 0
	}
	return in.room - len(in.msgs)
}

// Bytes returns how many bytes Read may still add. One message may exceed it, so that the largest
// still gets through.
func (in *Intake[T]) Bytes() int { return in.bytes }

// Len returns how many messages have been added.
func (in *Intake[T]) Len() int { return len(in.msgs) }

// Seq returns the number that the next message will have in its Settlement.
func (in *Intake[T]) Seq() uint64 { return in.seq + uint64(len(in.msgs)) }

// Add adds a message with its metadata and its size in bytes (0: unknown, not counted). The metadata
// of most entries, of which only ID, Time and Attempt are set, takes little memory.
func (in *Intake[T]) Add(v T, meta Meta, size int) {
	if missing := len(in.msgs) - len(in.records); missing > 0 {
		in.records = append(in.records, make([]record, missing)...)
	}
	in.msgs = append(in.msgs, Message[T]{Value: v})
	in.records = append(in.records, record{size: int32(min(max(size, 0), math.MaxInt32))})
	r := &in.records[len(in.records)-1]
	in.bytes -= int(r.size)
	if !r.set(&meta) {
		r.more = in.details(&meta)
	}
}

// mostDetails is the number of details in a block.
const mostDetails = 32

func (in *Intake[T]) details(meta *Meta) *details {
	if len(in.more) == cap(in.more) {
		in.more = make([]details, 0, min(max(cap(in.records)-len(in.records), 1), mostDetails))
	}
	in.more = append(in.more, details{Meta: *meta})
	return &in.more[len(in.more)-1]
}

// AddValue adds a message that has no metadata.
func (in *Intake[T]) AddValue(v T) {
	in.msgs = append(in.msgs, Message[T]{Value: v})
	if in.records != nil {
		in.records = append(in.records, record{})
	}
}

// Grow reserves space for n messages with metadata. A Reader that knows the number of its messages
// thereby avoids copying.
func (in *Intake[T]) Grow(n int) {
	in.msgs = slices.Grow(in.msgs, n)
	in.records = slices.Grow(in.records, n)
}

// AddBad adds an entry that cannot become a message, for example because it cannot be decoded. It
// is a fault of the source's stage. The fault policy decides on it and may choose the dead letters.
// The entry never reaches the graph. Retries in place are skipped, because they cannot help.
func (in *Intake[T]) AddBad(meta Meta, size int, err error) {
	in.bad = append(in.bad, badEntry{len(in.msgs), err})
	var zero T
	in.Add(zero, meta, size)
}

// NewSource makes a source. open returns a new Reader for each life of the source. It must do no
// I/O (see Opener). Options that apply: Name, ChunkSize, MaxInFlight, MaxBytes, OnFault (for
// entries added with AddBad), Traits.
func NewSource[T any](name string, open func() Reader[T], opts ...StageOption) Source[T] {
	n := newNode(kindSource, name, 1, opts)
	n.needs(open != nil, "open")
	return newSource(n, 0, func(b *builder, to chain[T]) {
		if n.Inline {
			b.source(append([]*node{n}, to.nodes...), to.done,
				func(s *sourceRun) func() error { return readInline(s, open, to) })
			return
		}
		e, done := to.into, to.done
		if e == nil {
			e = edgeTo(b, n, to)
			done = e.sender().done
		}
		b.source([]*node{n}, done, func(s *sourceRun) func() error {
			return func() error { return read(s, open(), e) }
		})
	})
}

// intake is one life of a source's reading. It is the same for a source with an edge and for an
// inline source.
type intake[T any] struct {
	s   *sourceRun
	r   Reader[T]
	ses *session
	la  *lane // the lane that gives leases back

	ended bool // the source has ended
}

func openIntake[T any](s *sourceRun, r Reader[T], la *lane) (*intake[T], error) {
	in := &intake[T]{s: s, r: r, ses: s.begin(r), la: la}
	if o, ok := r.(Opener); ok {
		if err := guard(s.reading, o.Open); err != nil {
			in.ses.end()
			return nil, err
		}
	}
	s.extra.begin(r)
	s.opened.Store(true)
	return in, nil
}

// next reads a chunk into buf. more is false if it was the last.
func (in *intake[T]) next(buf []Message[T], room, bytes int) (chunk []Message[T], more bool, err error) {
	ctx := in.s.reading
	got := &Intake[T]{msgs: buf, room: room, bytes: bytes, seq: in.ses.next}
	err = guard(ctx, func(ctx context.Context) error { return in.r.Read(ctx, got) })
	if got.Len() > 0 {
		chunk = admit(in.ses, in.la, got)
		in.la.dirty.tell()
	}
	switch {
	case err == io.EOF, ctx.Err() != nil:
		return chunk, false, nil
	default:
		return chunk, err == nil, err
	}
}

// read is one life of a source with an edge behind it.
func read[T any](s *sourceRun, r Reader[T], e *edge[T]) error {
	la := newLane(s.run)
	la.raw = true
	var drain <-chan struct{}
	if e.gives {
		drain = s.reading.Done()
	}
	in, err := openIntake(s, r, la)
	if err != nil {
		return err
	}
	defer in.ses.end()
	for {
		room, bytes, ok := s.credits()
		if !ok {
			if !s.await() {
				return nil
			}
			continue
		}
		chunk, more, err := in.next(e.fresh(), room, bytes)
		switch {
		case len(chunk) == 0:
		case drain != nil && s.reading.Err() != nil:
			giveBack(la, chunk)
			la.dirty.tell()
		default:
			e.pass(la, chunk, drain)
			la.dirty.tell()
		}
		if !more || la.aborted {
			return err
		}
	}
}

// await waits until there may be credits. It reports false when the graph drains.
func (s *sourceRun) await() bool {
	var look <-chan time.Time
	if at := s.nextLook(); !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		look = t.C
	}
	select {
	case <-s.signal:
	case <-look:
		s.widen(nil)
	case <-s.reading.Done():
		return false
	}
	return true
}

// readInline returns the body of a source that shares its goroutine with the stages behind it. If
// one of these stages fails, they begin a new life, but the Reader continues its own. Only a
// failure of the Reader ends that.
func readInline[T any](s *sourceRun, open func() Reader[T], to chain[T]) func() error {
	var in *intake[T]
	return func() error {
		la := newLane(s.run)
		la.raw = true
		la.alarms = append(la.alarms, alarm{next: s.nextLook, ring: func() error { s.widen(la); return nil }})
		push := to.open(la)
		all := func(chunk []Message[T]) { pushAll(la, chunk, push) }
		if s.node.GivesBack {
			all = inGrains(la, &edgeStats{}, push)
		}
		if in == nil {
			opened, err := openIntake(s, open(), la)
			if err != nil {
				return err
			}
			in = opened
		}
		in.la = la
		over := false
		err := la.live(func() (err error) {
			over, err = in.feed(all)
			return err
		})
		if over || err == nil {
			in.ses.end()
		}
		if over && !in.ended { // the Reader has failed
			in = nil
		}
		return err
	}
}

// feed pushes the messages of the Reader down a chain. over reports that the Reader has ended or
// failed.
func (in *intake[T]) feed(pushAll func([]Message[T])) (over bool, err error) {
	s, la := in.s, in.la
	buf := make([]Message[T], 0, min(s.node.chunk, defaultChunk))
	for !la.aborted && !in.ended {
		if err := la.ring(); err != nil {
			return false, err
		}
		if s.reading.Err() != nil {
			return false, nil
		}
		room, bytes, ok := s.credits()
		if !ok { // the drain signals too
			receive(la, s.signal)
			continue
		}
		began := time.Now()
		la.halt(began)
		chunk, more, err := in.next(buf, room, bytes)
		la.except(time.Since(began))
		pushAll(chunk)
		la.flush(true)
		clear(chunk)
		if err != nil {
			return true, err
		}
		in.ended = !more
	}
	return in.ended, nil
}

// admit gives each message of an intake a lease, and returns the messages that enter the graph.
func admit[T any](ses *session, la *lane, in *Intake[T]) []Message[T] {
	n, size := in.Len(), 0
	sl := newSlab(n, ses)
	sl.first = in.seq
	if len(in.records) > 0 {
		sl.records = in.records
	}
	for i := range in.msgs {
		in.msgs[i].lease = lease{slab: sl, at: int32(i)}
	}
	for i := range in.records {
		in.msgs[i].meta = &in.records[i]
		size += int(in.records[i].size)
	}
	ses.trace(sl)
	ses.admit(sl, n, size)
	s := ses.source
	s.in.Add(uint64(n))
	s.out.Add(uint64(n - len(in.bad)))
	if len(in.bad) == 0 {
		return in.msgs
	}
	good, at := in.msgs[:0], 0
	for i, m := range in.msgs {
		if at < len(in.bad) && in.bad[at].at == i {
			failOutright(la, s.stageRun, m, in.bad[at].err)
			at++
			continue
		}
		good = append(good, m)
	}
	return good
}
