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

// Idea: go-redis writes a pipeline argument by argument, each boxed, and reads it back into
// commands: for plain XADDs that is most of what a writer does. So entries are encoded right into
// what is sent, and of the answers only what went wrong is more than an ID. The connections are
// made by go-redis and taken over, as those of readers are (see wire).

// Lines are a writer's connections. As many are made as are in use at once, and those that are not are kept.
type Lines struct {
	c           Client
	write, read time.Duration       // timeouts; 0: none
	idle, age   time.Duration       // how long one may be idle, and may be used; 0 or less: for ever
	jitter      time.Duration       // of age
	patience    time.Duration       // how long to wait for one that is free
	room        *semaphore.Weighted // a token for each that is in use

	mu     sync.Mutex
	used   map[*Wire]bool // in use; false: to be closed afterwards
	Free   []*Wire        // the one used last is the last
	closed bool
}

// NewLines makes lines of a client that is single.
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
		used:     make(map[*Wire]bool),
	}
}

// Send sends commands that are encoded already, and hands take the replies that came: all n of them
// unless broken says why not. The line is kept if take reports that it is good. An error says that
// nothing was sent. What take gets is never written to again.
func (ls *Lines) Send(
	ctx context.Context,
	commands []byte,
	n int,
	take func(raw []byte, broken error) (good bool),
) error {
	if err := ls.enter(ctx); err != nil {
		return err
	}
	defer ls.room.Release(1)
	w, err := ls.take(ctx)
	if err != nil {
		return err
	}
	if err := fault.Ended(ctx); err != nil { // while it waited
		ls.put(w, true)
		return err
	}
	raw, err := w.pipeline(ctx, commands, n, ls.write, ls.read)
	ls.put(w, take(raw, err) && err == nil)
	return nil
}

// Open connects one.
func (ls *Lines) Open(ctx context.Context) error {
	w, err := ls.take(ctx)
	if err == nil {
		ls.put(w, true)
	}
	return err
}

// enter waits until there may be one more in use.
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

// take returns a line, connected and alive as far as one can tell.
func (ls *Lines) take(ctx context.Context) (*Wire, error) {
	for {
		w, err := ls.next()
		if err != nil {
			return nil, err
		}
		if conn := w.Current(); conn == nil {
			err = w.connect(ctx)
			w.until = ls.lasts()
		} else if ls.old(w) || !healthy(conn) { // somebody has closed it while it was idle
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

// lasts is until when a connection that is made now may be used; zero: for ever.
func (ls *Lines) lasts() (until time.Time) {
	if ls.age > 0 {
		until = time.Now().Add(ls.age)
		if ls.jitter > 0 {
			until = until.Add(2*rand.N(ls.jitter) - ls.jitter)
		}
	}
	return until
}

// old reports that a connection has been used, or idle, for as long as the client's options allow.
func (ls *Lines) old(w *Wire) bool {
	now := time.Now()
	return ls.idle > 0 && now.Sub(w.rested) >= ls.idle || !w.until.IsZero() && !now.Before(w.until)
}

func (ls *Lines) next() (*Wire, error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return nil, redisio.ErrClosed
	}
	var w *Wire
	if n := len(ls.Free); n > 0 {
		w, ls.Free = ls.Free[n-1], ls.Free[:n-1]
	} else {
		w = NewWire(ls.c, "", 0)
	}
	ls.used[w] = true
	return w, nil
}

// put takes a line back; one that is not good is closed.
func (ls *Lines) put(w *Wire, good bool) {
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

// Renew has every line be connected anew: those in use when they are not any more.
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

// Close closes all lines: those in use fail.
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

// pipeline is one exchange of several commands.
func (w *Wire) pipeline(ctx context.Context, commands []byte, n int, write, read time.Duration) ([]byte, error) {
	conn := w.Current()
	if conn == nil {
		return nil, redisio.ErrClosed
	}
	if err := conn.SetWriteDeadline(deadline(ctx, write)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(commands); err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(deadline(ctx, read)); err != nil {
		return nil, err
	}
	return readReplies(conn, n)
}

// deadline is in d, or that of ctx if it comes first; a d of 0 is none.
func deadline(ctx context.Context, d time.Duration) (at time.Time) {
	if d > 0 {
		at = time.Now().Add(d)
	}
	if until, has := ctx.Deadline(); has && (at.IsZero() || until.Before(at)) {
		at = until
	}
	return at
}

// readReplies reads n whole replies. What came of them before an error comes with it.
func readReplies(conn net.Conn, n int) ([]byte, error) {
	buf := make([]byte, 0, n*idReply+64)
	f := resp.Frame{Left: n}
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		k, broken := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+k]
		switch done, err := f.Scan(buf); {
		case err != nil:
			return buf, err
		case done && f.Pos != len(buf):
			return buf, &resp.ReplyError{Offset: f.Pos, Problem: "something behind its end"}
		case done:
			return buf, nil
		case broken != nil:
			return buf, broken
		}
	}
}

// idReply is how long the answer to an XADD is, and more than that to what else is in a transaction.
const idReply = len("$15\r\n1700000000000-0\r\n") + len("+QUEUED\r\n")

// healthy reports that a connection which nothing is expected from has neither ended nor got anything.
func healthy(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Time{}) // of the last reply: once it has passed one can't look either
	if t, is := conn.(*tls.Conn); is {
		conn = t.NetConn()
	}
	return quiet(conn)
}
