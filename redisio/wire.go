package redisio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Idea: go-redis gathers a raw reply by growing a slice from nothing, which copies and discards five
// times its size. So a reader lets go-redis dial, authenticate and select (whatever the caller's options
// say, Sentinel and TLS included), then takes the connection over and reads replies itself, straight
// into the buffer that becomes the batch: one allocation a read, and no copy.

// wire is one such connection. One goroutine at a time may use it; close may come from another.
type wire struct {
	c       client        // derived: whose options it has
	key     string        // which node of a cluster
	at      redirect      // another node of the cluster, that it was sent on to
	timeout time.Duration // how long a reply may take: BLOCK and a margin
	block   time.Duration
	hasty   bool // the end of a context cuts a reply short: what is lost with it was not delivered to anybody

	mu     sync.Mutex // guards conn and owner against close; never held over I/O
	owner  *redis.Client
	sticky *redis.Conn
	conn   net.Conn
	closed bool

	out    []byte // the command
	spare  []byte // a buffer no batch refers to, of up to maxKept
	likely int    // size of the buffer to begin with where there is no spare one

	rested, until time.Time // of lines: since when it is idle, and how long it may be used
}

// newWire returns nil if options of c are not to be had.
func newWire(c client, key string, block time.Duration) *wire {
	if !c.derived {
		return nil
	}
	return &wire{c: c, key: key, timeout: block + replyMargin, block: block}
}

// connect has go-redis make a connection and takes it.
func (w *wire) connect(ctx context.Context) error {
	o, err := w.options(ctx)
	if err != nil {
		return err
	}
	if err = w.dial(ctx, o); err != nil {
		w.at = redirect{} // whoever sent us there may be wrong
		w.c.redirected()
	}
	return err
}

// options are those for the node to connect to.
func (w *wire) options(ctx context.Context) (redis.Options, error) {
	switch c := w.c.UniversalClient.(type) {
	case *redis.Client:
		return *c.Options(), nil
	case *redis.ClusterClient:
		node, err := c.MasterForKey(ctx, w.key)
		if err != nil {
			return redis.Options{}, err
		}
		o := *node.Options()
		if w.at.addr != "" {
			o.Addr, o.NodeAddress = w.at.addr, ""
		}
		return o, nil
	}
	return redis.Options{}, fmt.Errorf("redisio: a %T has no options", w.c.UniversalClient)
}

func (w *wire) dial(ctx context.Context, o redis.Options) error {
	singleConn(&o)
	var conn net.Conn
	dial := o.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		conn = c
		return c, err
	}
	if o.ReadTimeout <= 0 || o.ReadTimeout > w.timeout {
		o.ReadTimeout = replyMargin // a server that hangs must not make us hang, whatever the caller's clients do
	}
	owner := redis.NewClient(&o)
	sticky := owner.Conn()
	err := sticky.Ping(ctx).Err()
	if redis.HasErrorPrefix(err, "NOPERM") {
		err = nil // it answered: being allowed to ping is not needed
	}
	if err != nil {
		return errors.Join(err, closeBoth(sticky, owner))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errors.Join(ErrClosed, closeBoth(sticky, owner))
	}
	w.owner, w.sticky, w.conn = owner, sticky, conn
	return nil
}

// singleConn prepares options for one connection without any traffic but ours: RESP2 has no pushes.
func singleConn(o *redis.Options) {
	o.Protocol = 2
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.ClientSideCache, o.ClientSideCacheConfig, o.PushNotificationProcessor = nil, nil, nil
	o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns, o.MaxConcurrentDials = 1, 0, 0, 0, 0
	o.PipelinePoolSize = -1
	o.ReadBufferSize, o.WriteBufferSize = 4<<10, 4<<10
	o.DialerRetries, o.MaxRetries = 1, -1
	o.ContextTimeoutEnabled = true
	o.PoolTimeout = 0
	o.MinRetryBackoff, o.MaxRetryBackoff = orOff(o.MinRetryBackoff), orOff(o.MaxRetryBackoff)
	o.ReadTimeout, o.WriteTimeout = orOff(o.ReadTimeout), orOff(o.WriteTimeout)
}

func closeBoth(sticky *redis.Conn, owner *redis.Client) error {
	_ = sticky.Close() // gives the connection back to the pool …
	return owner.Close()
}

// drop closes the connection: the next command makes a new one.
func (w *wire) drop() {
	w.mu.Lock()
	conn, sticky, owner := w.conn, w.sticky, w.owner
	w.conn, w.sticky, w.owner = nil, nil, nil
	w.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // before go-redis could give it to anybody
		_ = closeBoth(sticky, owner)
	}
}

// dropIf is drop for a reader that may have no wire.
func (w *wire) dropIf() {
	if w != nil {
		w.drop()
	}
}

func (w *wire) close() {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.drop()
}

func (w *wire) current() net.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn
}

// do sends one command and returns the reply, which is never written to again; in a cluster, where redirects lead.
// After an error the connection is gone, and with it perhaps a reply. Of a reply beyond the limit
// the front comes, with errFront.
func (w *wire) do(ctx context.Context, l limit, args []any) ([]byte, error) {
	for n := 0; ; n++ {
		raw, conn, err := w.once(ctx, l, args)
		if err != nil || n == maxRedirects || len(raw) == 0 || raw[0] != '-' {
			return raw, err
		}
		to, ok := redirectOf(strings.TrimSpace(string(raw[1:])), conn.RemoteAddr().String())
		if !ok || w.c.cluster == nil {
			return raw, nil
		}
		w.drop()
		w.at = to
		w.c.redirected()
	}
}

// once sends one command to one node, and tells by which connection.
func (w *wire) once(ctx context.Context, l limit, args []any) (raw []byte, conn net.Conn, err error) {
	if conn = w.current(); conn == nil {
		if err := w.connect(ctx); err != nil {
			return nil, nil, err
		}
		if conn = w.current(); conn == nil {
			return nil, nil, ErrClosed
		}
	}
	if raw, err = w.exchange(ctx, conn, l, args); err != nil {
		w.drop()
		if err == errFront { // the node is the right one
			return raw, conn, err
		}
		w.at = redirect{}
		w.c.redirected()
		return nil, conn, fmt.Errorf("redisio: command %v: %w", args[0], err)
	}
	return raw, conn, nil
}

func (w *wire) exchange(ctx context.Context, conn net.Conn, l limit, args []any) ([]byte, error) {
	var err error
	w.out = w.out[:0]
	if w.at.ask { // each time: the slot moves, or has moved to the node
		w.out = append(w.out, sayAsking...)
	}
	if w.out, err = appendCommand(w.out, args); err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(w.timeout)); err != nil {
		return nil, err
	}
	// For a group the end of ctx does not cut a reply short: entries may be on their way, and come within BLOCK. It
	// only makes us give up on a server that hangs.
	patience := w.block + 250*time.Millisecond
	if w.hasty {
		patience = 0
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now().Add(patience)) })
	defer stop()
	if _, err := conn.Write(w.out); err != nil {
		return nil, err
	}
	if cap(w.out) > 1<<20 {
		w.out = nil
	}
	return w.reply(conn, l)
}

// reply reads one whole reply, and copies it: a new buffer for the next would have to be cleared,
// which costs as much, and be as large as a reply may be. Only a big one that fills at least half
// of the buffer takes it.
func (w *wire) reply(conn net.Conn, l limit) ([]byte, error) {
	buf := w.spare[:0]
	w.spare = nil
	if cap(buf) == 0 {
		buf = make([]byte, 0, max(16<<10, w.likely))
	}
	s := frame{left: 1}
	if w.at.ask {
		s.left = 2
	}
	for {
		if len(buf) == cap(buf) || s.pos > cap(buf) {
			size := max(2*cap(buf), s.pos+64)
			if s.pos > maxReply || size > 2*maxReply {
				return nil, &ReplyError{len(buf), "bigger than 1 GiB"}
			}
			if l.bytes > 0 && size > l.bytes && len(buf) < l.bytes && s.pos+64 <= l.bytes {
				size = l.bytes
			}
			if l.reached(w.behindAsking(buf), size) {
				return w.behindAsking(buf), errFront
			}
			buf = append(make([]byte, 0, size), buf...)
		}
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			return nil, err
		}
		done, err := s.scan(buf)
		if err != nil {
			return nil, err
		}
		if !done {
			// What is on its way is waited for, however large it is and however slow the line:
			// giving it up would only mean to fetch it once more.
			if err := conn.SetDeadline(time.Now().Add(replyMargin)); err != nil {
				return nil, err
			}
			continue
		}
		if s.pos != len(buf) {
			return nil, &ReplyError{s.pos, "something behind its end"}
		}
		if w.at.ask {
			return w.behindAsking(buf), nil
		}
		if cap(buf) <= maxKept {
			w.spare = buf
			return bytes.Clone(buf), nil
		}
		w.likely = len(buf) + len(buf)/8 // the next is likely as big
		if len(buf) < cap(buf)/2 {
			return bytes.Clone(buf), nil
		}
		return buf, nil
	}
}

// behindAsking is what comes behind the OK to ASKING, if that was said.
func (w *wire) behindAsking(reply []byte) []byte {
	if !w.at.ask {
		return reply
	}
	return reply[bytes.IndexByte(reply, '\n')+1:]
}

const sayAsking = "*1\r\n$6\r\nASKING\r\n"

// frame finds the end of a reply that arrives in pieces. It need not know how values nest: each
// aggregate adds its elements to what is left to come.
type frame struct {
	pos  int // where the next value starts; beyond what has arrived inside a long string
	left int // values to come
}

// scan goes on with what has arrived and reports whether the reply is whole.
func (f *frame) scan(buf []byte) (bool, error) {
	for f.left > 0 {
		if f.pos >= len(buf) {
			return false, nil
		}
		end := bytes.IndexByte(buf[f.pos:], '\n')
		if end < 0 {
			return false, nil
		}
		line := buf[f.pos : f.pos+end+1]
		if len(line) < 3 {
			return false, &ReplyError{f.pos, "an empty line"}
		}
		next := f.pos + len(line)
		f.left--
		switch line[0] {
		case '+', '-', ':', '_', '#', ',', '(':
		case '$', '=', '!', '*', '~', '>', '%':
			n, err := (&walker{pos: f.pos}).number(line[1 : len(line)-2])
			if err != nil {
				return false, err
			}
			if n > maxReply || n < -1 {
				return false, &ReplyError{f.pos, "a length beyond 1 GiB"}
			}
			switch {
			case n < 0:
			case line[0] == '$' || line[0] == '=' || line[0] == '!':
				next += int(n) + 2
			case line[0] == '%':
				f.left += 2 * int(n)
			default:
				f.left += int(n)
			}
		default:
			return false, &ReplyError{f.pos, fmt.Sprintf("unknown type %q", line[0])}
		}
		f.pos = next
	}
	return f.pos <= len(buf), nil
}

// appendCommand appends a command as RESP.
func appendCommand(dst []byte, args []any) ([]byte, error) {
	dst = appendArray(dst, len(args))
	var num [20]byte
	for _, a := range args {
		switch v := a.(type) {
		case string:
			dst = appendBulk(dst, v)
		case *string:
			dst = appendBulk(dst, *v)
		case int:
			dst = appendBulk(dst, strconv.AppendInt(num[:0], int64(v), 10))
		case int64:
			dst = appendBulk(dst, strconv.AppendInt(num[:0], v, 10))
		default:
			return dst, fmt.Errorf("an argument of type %T", a)
		}
	}
	return dst, nil
}

// appendArray appends the start of an array of n elements.
func appendArray(dst []byte, n int) []byte {
	dst = append(dst, '*')
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '\r', '\n')
}

func appendBulk[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = append(dst, '$')
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, '\r', '\n')
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}
