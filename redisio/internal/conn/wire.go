package conn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/scan"
)

// Idea: go-redis collects a raw reply by growing a slice from nothing, which copies and discards
// five times its size. So go-redis dials, authenticates and selects the database with the caller's
// options, Sentinel and TLS included. Then the reader takes the connection over and reads replies
// directly into the buffer that becomes the batch: one allocation per read, and no copy.

// Wire is one such connection. One goroutine at a time may use it. Close is safe to call from
// another one.
type Wire struct {
	c       Client        // derived; the source of the options
	key     string        // selects the node of a cluster
	at      redirect      // the node that a redirect named
	Timeout time.Duration // how long a reply may take: BLOCK and a margin
	Block   time.Duration
	Hasty   bool // the end of a context aborts a read at once: the reply is not a delivery

	mu     sync.Mutex // guards conn and owner against Close; never held over I/O
	owner  *redis.Client
	sticky *redis.Conn
	conn   net.Conn
	closed bool

	Out   []byte   // the command
	begun net.Conn // where Begin has sent the next command
	spare []byte   // an empty buffer that no batch refers to
}

// NewWire returns nil if c is not derived, because then its options are unknown.
func NewWire(c Client, key string, block time.Duration) *Wire {
	if !c.Derived {
		return nil
	}
	return &Wire{c: c, key: key, Timeout: block + ReplyMargin, Block: block}
}

// connect lets go-redis open a connection and takes it over.
func (w *Wire) connect(ctx context.Context) error {
	o, err := w.options(ctx)
	if err != nil {
		return err
	}
	if err = w.dial(ctx, o); err != nil {
		w.at = redirect{} // the redirect may be wrong
		w.c.Redirected()
	}
	return err
}

// options returns the options for the node to connect to.
func (w *Wire) options(ctx context.Context) (redis.Options, error) {
	switch c := w.c.UniversalClient.(type) {
	case *redis.Client:
		return *c.Options(), nil
	case *redis.ClusterClient:
		node, err := c.MasterForKey(ctx, w.key)
		if err != nil {
			return redis.Options{}, err
		}
		o := *node.Options()
		if w.at.Addr != "" {
			o.Addr, o.NodeAddress = w.at.Addr, ""
		}
		return o, nil
	}
	return redis.Options{}, fmt.Errorf("redisio: a %T has no options", w.c.UniversalClient)
}

func (w *Wire) dial(ctx context.Context, o redis.Options) error {
	bare(&o, 1)
	o.ReadBufferSize, o.WriteBufferSize = 4<<10, 4<<10
	o.MaxRetries, o.ReadTimeout = -1, orOff(o.ReadTimeout)
	var conn net.Conn
	dial := o.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		conn = c
		return c, err
	}
	if o.ReadTimeout <= 0 || o.ReadTimeout > w.Timeout {
		o.ReadTimeout = ReplyMargin // a hanging server must not block us
	}
	owner := redis.NewClient(&o)
	sticky := owner.Conn()
	err := sticky.Ping(ctx).Err()
	if fault.NoRight(err) {
		err = nil // it answered: the right to ping is not needed
	}
	if err != nil {
		return errors.Join(err, closeBoth(sticky, owner))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errors.Join(redisio.ErrClosed, closeBoth(sticky, owner))
	}
	w.owner, w.sticky, w.conn = owner, sticky, conn
	return nil
}

func closeBoth(sticky *redis.Conn, owner *redis.Client) error {
	_ = sticky.Close() // returns the connection to the pool …
	return owner.Close()
}

// drop closes the connection. The next command opens a new one.
func (w *Wire) drop() {
	w.mu.Lock()
	conn, sticky, owner := w.conn, w.sticky, w.owner
	w.conn, w.sticky, w.owner = nil, nil, nil
	w.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // before go-redis can hand it out
		_ = closeBoth(sticky, owner)
	}
}

// DropIf drops the connection. It does nothing on a nil Wire.
func (w *Wire) DropIf() {
	if w != nil {
		w.drop()
	}
}

// Close closes the connection for good. It does nothing on a nil Wire.
func (w *Wire) Close() {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.drop()
}

// Current returns the open connection, or nil.
func (w *Wire) Current() net.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn
}

// RawReply sends a command on the wire, or through go-redis if w is nil.
func RawReply(ctx context.Context, w *Wire, c Client, keyPos int8, l Limit, args []any) ([]byte, error) {
	if w != nil {
		return w.do(ctx, l, args)
	}
	raw, err := processRaw(ctx, c, keyPos, l, args)
	if errors.Is(err, resp.ErrFront) {
		err = resp.ErrFront
	}
	return raw, err
}

// do sends one command and returns the reply, which is never written to again. In a cluster it
// follows redirects. After an error the connection is closed, and a reply may be lost. If a reply
// exceeds the limit, do returns its front and ErrFront.
func (w *Wire) do(ctx context.Context, l Limit, args []any) ([]byte, error) {
	for n := 0; ; n++ {
		raw, conn, err := w.once(ctx, l, args)
		if err != nil || n == maxRedirects || len(raw) == 0 || raw[0] != '-' {
			return raw, err
		}
		to, ok := redirectOf(strings.TrimSpace(string(raw[1:])), conn.RemoteAddr().String())
		if !ok || w.c.Cluster == nil {
			return raw, nil
		}
		w.drop()
		w.at = to
		w.c.Redirected()
	}
}

// once sends one command to one node and also returns the connection.
func (w *Wire) once(ctx context.Context, l Limit, args []any) (raw []byte, conn net.Conn, err error) {
	if conn = w.Current(); conn == nil {
		if err := w.connect(ctx); err != nil {
			return nil, nil, err
		}
		if conn = w.Current(); conn == nil {
			return nil, nil, redisio.ErrClosed
		}
	}
	if raw, err = w.Exchange(ctx, conn, l, args); err != nil {
		w.drop()
		if err == resp.ErrFront { // the node is the right one
			return raw, conn, err
		}
		w.at = redirect{}
		w.c.Redirected()
		return nil, conn, fmt.Errorf("redisio: command %v: %w", args[0], err)
	}
	return raw, conn, nil
}

// Begin sends a command without waiting for its reply. The next command must be the same: it only
// receives the reply. If Begin fails, the server may have run the command.
func (w *Wire) Begin(args []any) (begun bool) {
	conn := w.Current()
	if conn == nil {
		return false
	}
	if w.send(conn, args) != nil {
		w.drop()
		return false
	}
	w.begun = conn
	return true
}

func (w *Wire) send(conn net.Conn, args []any) error {
	w.Out = w.Out[:0]
	if w.at.Ask { // needed before each command while the slot is moving
		w.Out = append(w.Out, sayAsking...)
	}
	w.Out = resp.AppendCommand(w.Out, args)
	err := conn.SetDeadline(time.Now().Add(w.Timeout))
	if err == nil {
		_, err = conn.Write(w.Out)
	}
	if cap(w.Out) > MaxKept {
		w.Out = nil
	}
	return err
}

// Exchange sends one command on conn, unless Begin has, and reads its reply.
func (w *Wire) Exchange(ctx context.Context, conn net.Conn, l Limit, args []any) ([]byte, error) {
	// For a group the end of ctx does not abort the read, because entries may be on their way and
	// arrive within BLOCK. It only shortens the wait for a hanging server.
	patience := w.Block + 250*time.Millisecond
	if w.Hasty {
		patience = 0
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now().Add(patience)) })
	defer stop()
	begun := w.begun == conn
	w.begun = nil
	if !begun {
		if err := w.send(conn, args); err != nil {
			return nil, err
		}
	}
	return w.Reply(conn, l)
}

// Reply reads one whole reply. A small one is copied from a buffer that the wire keeps. For a larger
// one the length of its lists and of its first entries tell how large the buffer must be that the
// caller gets.
func (w *Wire) Reply(conn net.Conn, l Limit) ([]byte, error) {
	if w.spare == nil {
		w.spare = make([]byte, 0, 16<<10)
	}
	buf := w.spare
	s := resp.Frame{Left: 1}
	if w.at.Ask {
		s.Left = 2
	}
	for {
		if len(buf) == cap(buf) || s.Pos > cap(buf) {
			size := max(2*cap(buf), s.Pos+64, min(s.Size(), 2*LargeReply))
			if s.Pos > resp.MaxReply || size > 2*resp.MaxReply {
				return nil, &resp.ReplyError{Offset: len(buf), Problem: "bigger than 1 GiB"}
			}
			if l.Bytes > 0 && size > l.Bytes && len(buf) < l.Bytes && s.Pos+64 <= l.Bytes {
				size = l.Bytes
			}
			if l.reached(w.behindAsking(buf), size) {
				return w.behindAsking(bytes.Clone(buf)), resp.ErrFront
			}
			buf = append(scan.Room(size), buf...)
		}
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			return nil, err
		}
		done, err := s.Scan(buf)
		if err != nil {
			return nil, err
		}
		if !done {
			// A reply that is arriving is awaited, however large it is and however slow the
			// connection. Giving up would only mean fetching it once more.
			if err := conn.SetDeadline(time.Now().Add(ReplyMargin)); err != nil {
				return nil, err
			}
			continue
		}
		if s.Pos != len(buf) {
			return nil, &resp.ReplyError{Offset: s.Pos, Problem: "data after its end"}
		}
		if len(buf) <= cap(w.spare) || len(buf) < cap(buf)/2 {
			buf = bytes.Clone(buf)
		}
		return w.behindAsking(buf), nil
	}
}

// behindAsking removes the reply to ASKING, if it was sent.
func (w *Wire) behindAsking(reply []byte) []byte {
	if !w.at.Ask {
		return reply
	}
	return reply[bytes.IndexByte(reply, '\n')+1:]
}

const sayAsking = "*1\r\n$6\r\nASKING\r\n"
