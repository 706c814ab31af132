package conn

import (
	"context"
	"crypto/tls"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/semaphore"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// Idea: go-redis writes a pipeline argument by argument, boxes each one, and reads the replies back
// into commands. For plain XADDs this is most of the work of a writer. So entries are encoded
// directly into the bytes to send, and replies are only parsed further if they are not an ID. The
// connections are opened by go-redis, and Lines takes them over, as Wire does for readers.

// Lines is a connection pool for commands that we encode ourselves. It grows on demand and keeps idle connections.
type Lines struct {
	c           Client
	write, read time.Duration       // timeouts; 0: none
	idle, age   time.Duration       // longest idle time and lifetime; 0 or less: unlimited
	jitter      time.Duration       // of age
	patience    time.Duration       // longest wait for a free connection
	room        *semaphore.Weighted // a token for each connection in use

	mu     sync.Mutex
	used   map[*Line]bool // in use; false: close after use
	Free   []*Line        // the most recently used is last
	closed bool
}

// Line is one of its connections.
type Line struct {
	Wire
	rested, until time.Time // idle since, usable until
	due           int       // replies on their way
	early         []byte    // of them, received with those before
}

// NewLines returns a pool for a client for which Single returns true.
func NewLines(c Client) *Lines {
	single, _ := c.Single()
	o := single.Options()
	return &Lines{
		c:        c,
		write:    o.WriteTimeout,
		read:     o.ReadTimeout,
		idle:     o.ConnMaxIdleTime,
		age:      o.ConnMaxLifetime,
		jitter:   o.ConnMaxLifetimeJitter,
		patience: o.PoolTimeout,
		room:     semaphore.NewWeighted(int64(o.PoolSize)),
		used:     make(map[*Line]bool),
	}
}

// Take returns an open connection. An error means that nothing was sent. Return it by Put.
func (ls *Lines) Take(ctx context.Context) (*Line, error) {
	if err := ls.enter(ctx); err != nil {
		return nil, err
	}
	w, err := ls.take(ctx)
	if err == nil {
		if err = fault.Ended(ctx); err == nil {
			return w, nil
		}
		ls.put(w, true) // ctx ended while it waited
	}
	ls.room.Release(1)
	return nil, err
}

// Put returns a connection. It is kept if good is true.
func (ls *Lines) Put(w *Line, good bool) {
	ls.put(w, good)
	ls.room.Release(1)
}

// Send sends n encoded commands. After an error some of them may have arrived. More may be sent
// before their replies are received.
func (ls *Lines) Send(ctx context.Context, w *Line, commands []byte, n int) error {
	conn := w.Current()
	if conn == nil {
		return redisio.ErrClosed
	}
	if err := conn.SetWriteDeadline(deadline(ctx, ls.write)); err != nil {
		return err
	}
	w.due += n
	_, err := conn.Write(commands)
	if cap(w.Out) > MaxKept {
		w.Out = nil
	}
	return err
}

// Receive reads the next n replies, in the order in which the commands were sent. With an error it
// returns what arrived before. The buffer is never written to again.
func (ls *Lines) Receive(ctx context.Context, w *Line, n int) (replies []byte, err error) {
	conn := w.Current()
	if conn == nil {
		return nil, redisio.ErrClosed
	}
	if err := conn.SetReadDeadline(deadline(ctx, ls.read)); err != nil {
		return nil, err
	}
	replies, w.early, err = readReplies(conn, n, w.early)
	if w.due -= n; err == nil && w.due == 0 && len(w.early) > 0 {
		err = &resp.ReplyError{Offset: len(replies), Problem: "data after its end"}
	}
	return replies, err
}

// Open opens one connection.
func (ls *Lines) Open(ctx context.Context) error {
	w, err := ls.take(ctx)
	if err == nil {
		ls.put(w, true)
	}
	return err
}

// enter waits until one more connection may be used.
func (ls *Lines) enter(ctx context.Context) error {
	if ls.room.TryAcquire(1) {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, ls.patience)
	defer cancel()
	if ls.room.Acquire(limited, 1) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fault.Ended(ctx)
	}
	return redis.ErrPoolTimeout
}

// take returns a connection that is open as far as can be detected.
func (ls *Lines) take(ctx context.Context) (*Line, error) {
	for {
		w, err := ls.next()
		if err != nil {
			return nil, err
		}
		if conn := w.Current(); conn == nil {
			err = w.connect(ctx)
			w.until = ls.lasts()
		} else if ls.old(w) || !healthy(conn) { // closed by the peer while it was idle
			ls.put(w, false)
			continue
		}
		if err != nil {
			ls.put(w, false)
			return nil, err
		}
		return w, nil
	}
}

// lasts returns until when a new connection may be used. Zero means no limit.
func (ls *Lines) lasts() (until time.Time) {
	if ls.age > 0 {
		until = time.Now().Add(ls.age)
		if ls.jitter > 0 {
			until = until.Add(2*rand.N(ls.jitter) - ls.jitter)
		}
	}
	return until
}

// old reports whether a connection exceeds the idle time or the lifetime of the client's options.
func (ls *Lines) old(w *Line) bool {
	now := time.Now()
	return ls.idle > 0 && now.Sub(w.rested) >= ls.idle || !w.until.IsZero() && !now.Before(w.until)
}

func (ls *Lines) next() (*Line, error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return nil, redisio.ErrClosed
	}
	var w *Line
	if n := len(ls.Free); n > 0 {
		w, ls.Free = ls.Free[n-1], ls.Free[:n-1]
	} else {
		w = &Line{Wire: Wire{c: ls.c, Timeout: ReplyMargin}}
	}
	ls.used[w] = true
	return w, nil
}

// put returns a connection to the pool and closes it if it is not good.
func (ls *Lines) put(w *Line, good bool) {
	w.rested = time.Now()
	ls.mu.Lock()
	keep := good && ls.used[w]
	delete(ls.used, w)
	if keep {
		ls.Free = append(ls.Free, w)
	}
	ls.mu.Unlock()
	if !keep {
		w.Close()
	}
}

// Renew replaces every connection. Those in use are closed after use.
func (ls *Lines) Renew() {
	ls.mu.Lock()
	free := ls.Free
	ls.Free = nil
	for w := range ls.used {
		ls.used[w] = false
	}
	ls.mu.Unlock()
	for _, w := range free {
		w.Close()
	}
}

// Close closes all connections. Those in use fail.
func (ls *Lines) Close() {
	if ls == nil {
		return
	}
	ls.mu.Lock()
	ls.closed = true
	used := slices.Collect(maps.Keys(ls.used))
	ls.mu.Unlock()
	ls.Renew()
	for _, w := range used {
		w.Close()
	}
}

// deadline is d from now, or the deadline of ctx if that is earlier. A d of 0 means no limit.
func deadline(ctx context.Context, d time.Duration) (at time.Time) {
	if d > 0 {
		at = time.Now().Add(d)
	}
	if until, has := ctx.Deadline(); has && (at.IsZero() || until.Before(at)) {
		at = until
	}
	return at
}

// readReplies reads n whole replies, of which early has the beginning, and returns what arrived
// behind them. With an error it returns what arrived before.
func readReplies(conn net.Conn, n int, early []byte) (replies, behind []byte, err error) {
	buf := append(make([]byte, 0, max(n*idReply+64, 2*len(early))), early...)
	f := resp.Frame{Left: n}
	for broken := error(nil); ; {
		switch done, err := f.Scan(buf); {
		case err != nil:
			return buf, nil, err
		case done:
			return buf[:f.Pos:f.Pos], buf[f.Pos:], nil
		case broken != nil:
			return buf, nil, broken
		}
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		k := 0
		k, broken = conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+k]
	}
}

// idReply is the length of the reply to an XADD. Other replies within a transaction are shorter.
const idReply = len("$15\r\n1700000000000-0\r\n") + len("+QUEUED\r\n")

// healthy reports whether a connection on which no reply is due is open and silent.
func healthy(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Time{}) // of the last reply: once it has passed one can't look either
	if t, is := conn.(*tls.Conn); is {
		conn = t.NetConn()
	}
	return quiet(conn)
}
