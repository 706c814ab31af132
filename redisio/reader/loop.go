package reader

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// The states of a reader.
const (
	readerNew = iota
	readerOpen
	readerClosed
)

// loop is the part that Group and Tail share: the state of the reader, the right to read, and the
// repetition of rounds until one returns entries. It waits out faults between rounds.
type loop struct {
	name   string // for messages, such as group "g" of "orders"
	key    string
	tell   func(redisio.Event)
	health health
	state  atomic.Int32  // readerNew, readerOpen, readerClosed
	token  chan struct{} // its holder owns the fields below and may read
	stop   chan struct{} // closed by Close

	asking    conn.Asking
	idling    idling
	reads     redisio.Patience
	fails     int       // consecutive errors
	away      bool      // EventReconnecting was emitted, EventReconnected not yet
	notBefore time.Time // earliest time of the next round
}

// rounds is what a loop repeats.
type rounds interface {
	// round makes one attempt to fill b with up to count entries. With an error, b has entries only
	// if they must be returned all the same. errPaused ends the loop without an error.
	round(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error
	// failed handles the error of a round that returned no entries. It returns an error only if
	// reading cannot continue.
	failed(ctx context.Context, err error) error
}

// errPaused means that held entries must be settled before the next read.
var errPaused = errors.New("redisio: reading is paused")

func (l *loop) init(name, key string, tell func(redisio.Event)) {
	l.name, l.key, l.tell = name, key, tell
	l.token, l.stop = make(chan struct{}, 1), make(chan struct{})
}

// opening begins Open. Either opened or notOpened must follow.
func (l *loop) opening() error {
	if l.state.CompareAndSwap(readerNew, readerOpen) {
		return nil
	}
	if l.state.Load() == readerClosed {
		return redisio.ErrClosed
	}
	return fmt.Errorf("redisio: open %s: it is open already", l.name)
}

func (l *loop) opened() {
	l.reads.Worked()
	l.health.kept(nil)
	l.token <- struct{}{}
}

// notOpened resets the state and returns the error of Open. closeErr is that of closing.
func (l *loop) notOpened(op string, err, closeErr error) error {
	l.state.Store(readerNew)
	if fault.Judge(err) == fault.Permanent {
		return errors.Join(&redisio.PermanentError{Op: op, Key: l.key, Err: err}, closeErr)
	}
	return errors.Join(fmt.Errorf("redisio: open %s: %w", l.name, err), closeErr)
}

// usable returns ErrNotOpen or ErrClosed unless the reader is open.
func (l *loop) usable() error {
	switch l.state.Load() {
	case readerNew:
		return redisio.ErrNotOpen
	case readerClosed:
		return redisio.ErrClosed
	}
	return nil
}

// enter waits for the token.
func (l *loop) enter(ctx context.Context) error {
	if l.state.Load() == readerNew {
		return redisio.ErrNotOpen
	}
	select {
	case <-l.token:
	default:
		select {
		case <-l.token:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-l.stop:
			return redisio.ErrClosed
		}
	}
	if l.state.Load() == readerClosed {
		l.leave()
		return redisio.ErrClosed
	}
	return nil
}

func (l *loop) leave() { l.token <- struct{}{} }

// lastEnter waits for the running Read and keeps the token, so that no other Read begins.
func (l *loop) lastEnter(ctx context.Context) error {
	select {
	case <-l.token:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("redisio: close %s while a read is under way: %w", l.name, context.Cause(ctx))
	}
}

// run repeats rounds until one fills b, one pauses, or reading cannot continue. With once it also
// returns after a round without entries.
func (l *loop) run(ctx context.Context, r rounds, count int, maxBytes int64, b *redisio.Batch, once bool) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	l.health.begin()
	defer l.health.end()
	for {
		if !fault.Sleep(ctx, l.stop, time.Until(l.notBefore)) || l.state.Load() == readerClosed {
			if err := fault.Ended(ctx); err != nil {
				return err
			}
			return redisio.ErrClosed
		}
		n := l.asking.Count(count, min(maxBytes, conn.LargeReply))
		err := r.round(ctx, n, maxBytes, b)
		paused := err == errPaused
		if paused {
			err = nil
		}
		if l.asking.Failed(n, err) {
			l.fails = min(l.fails, 1) // the next round sends another request
			l.tell(redisio.Event{Kind: redisio.EventAskingLess, Count: l.asking.Few, Err: err})
		}
		if err == nil || ctx.Err() == nil {
			l.health.tell(err)
		}
		switch {
		case err == nil:
			l.worked()
			l.asking.Learn(b)
			if once || paused || len(b.Entries) > 0 {
				return nil
			}
		case len(b.Entries) > 0: // the error repeats in the next round
			l.asking.Learn(b)
			return nil
		default:
			if err := r.failed(ctx, err); err != nil {
				return err
			}
		}
	}
}

// worked records a round without an error.
func (l *loop) worked() {
	l.reads.Worked()
	if l.fails > 0 || !l.notBefore.IsZero() {
		l.fails, l.notBefore = 0, time.Time{}
	}
	if l.away {
		l.away = false
		l.tell(redisio.Event{Kind: redisio.EventReconnected})
	}
}

// retry schedules the next round after err. It returns an error if a retry would get the same
// answer.
func (l *loop) retry(err error, wire *conn.Wire, c *conn.Client) error {
	err, first := l.reads.Refusal(err)
	if first {
		l.tell(redisio.Refused(l.key, err))
	}
	l.fails++
	wait := fault.Backoff(l.fails)
	l.notBefore = time.Now().Add(wait)
	switch v := fault.Judge(err); v {
	case fault.Permanent:
		if fault.IsGroupLost(err) {
			return err
		}
		return &redisio.PermanentError{Op: "read", Key: l.key, Err: err}
	case fault.Moved, fault.Later: // this node cannot answer now, or no longer
		wire.DropIf()
		if v == fault.Moved && c.Redirected() && l.fails < 3 {
			l.notBefore = time.Time{}
		}
	}
	if !l.away || l.fails%8 == 0 {
		l.away = true
		l.tell(redisio.Event{Kind: redisio.EventReconnecting, Err: err, Wait: wait})
	}
	return nil
}

// A server or a proxy that ignores BLOCK answers at once that there is nothing. A pause follows
// each such answer, so an idle reader asks at most ten times a second.
const (
	firstIdle = 10 * time.Millisecond
	mostIdle  = 100 * time.Millisecond
)

// idling paces reads that should have blocked.
type idling struct{ every time.Duration }

// pause returns how long to wait after a read without entries. The read should have taken block,
// and it took the time took.
func (i *idling) pause(block, took time.Duration) time.Duration {
	if took >= block/2 {
		i.every = 0
		return 0
	}
	i.every = min(max(2*i.every, firstIdle), mostIdle)
	return min(i.every, block) - took
}
