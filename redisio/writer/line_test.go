package writer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func killClients(t *testing.T, rdb *redis.Client) {
	t.Helper()
	if err := rdb.Do(rig.Ctx(t), "client", "kill", "type", "normal", "skipme", "yes").Err(); err != nil {
		t.Fatal(err)
	}
}

// The writer detects that an idle connection has ended before it sends anything: no outcome is
// unknown, and no entry is written twice.
func TestWriteAfterIdleConnectionEnded(t *testing.T) {
	for name, s := range map[string]*redistest.Server{"plain": redistest.Start(t), "TLS": redistest.StartTLS(t)} {
		t.Run(name, func(t *testing.T) {
			admin, key := s.Client(t), redistest.Key(t)
			w := openWriter(t, s.Client(t), Config{Key: key})
			for i := range 5 {
				killClients(t, admin)
				redistest.Soon(t, "the others are gone", func() bool { return len(clients(t, admin)) == 1 })
				if err := w.Write(rig.Ctx(t), rig.Outgoing(2), make([]redisio.Result, 2)); err != nil {
					t.Fatalf("write %d: %v", i, err)
				}
			}
			if n := admin.XLen(rig.Ctx(t), key).Val(); n != 10 {
				t.Errorf("%d entries of 10", n)
			}
		})
	}
}

func clients(t *testing.T, rdb *redis.Client) []string {
	t.Helper()
	list, err := rdb.ClientList(rig.Ctx(t)).Result()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(list), "\n")
}

// A connection remains usable if it was idle for longer than the timeout of its last reply.
func TestWriteAfterDeadline(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*redistest.Server{"plain": redistest.Shared(t), "TLS": redistest.StartTLS(t)} {
		t.Run(name, func(t *testing.T) {
			w := openWriter(t, s.Client(t), Config{Key: redistest.Key(t)})
			write := func(ctx context.Context) error {
				return w.Write(ctx, rig.Outgoing(1), make([]redisio.Result, 1))
			}
			short, cancel := context.WithTimeout(rig.Ctx(t), time.Second)
			redistest.Soon(t, "a write is in time", func() bool {
				if write(short) == nil {
					return true
				}
				cancel()
				short, cancel = context.WithTimeout(rig.Ctx(t), time.Second)
				return false
			})
			defer cancel()
			conn := w.lines.Free[0].Current()
			<-short.Done() // and with it the deadline of the reply
			if err := write(rig.Ctx(t)); err != nil {
				t.Fatal(err)
			}
			if w.lines.Free[0].Current() != conn {
				t.Error("another connection was made")
			}
		})
	}
}

// A connection is used no longer than the client's options allow, for example if its credentials
// expire or a network device drops idle connections.
func TestWriteConnectionEnds(t *testing.T) {
	for name, c := range map[string]struct {
		ends bool
		set  func(*redis.Options)
	}{
		"idle":          {true, func(o *redis.Options) { o.ConnMaxIdleTime = 1 }},
		"lifetime":      {true, func(o *redis.Options) { o.ConnMaxLifetime = 1 }},
		"jitter":        {true, func(o *redis.Options) { o.ConnMaxLifetime, o.ConnMaxLifetimeJitter = 1, 1 }},
		"neither":       {false, func(*redis.Options) {}},
		"not for years": {false, func(o *redis.Options) { o.ConnMaxIdleTime, o.ConnMaxLifetime = 1<<60, 1<<60 }},
		"off":           {false, func(o *redis.Options) { o.ConnMaxIdleTime, o.ConnMaxLifetime = -1, -1 }},
	} {
		t.Run(name, func(t *testing.T) {
			o := redis.Options{Addr: redistest.Shared(t).Addr()}
			c.set(&o)
			rdb := redis.NewClient(&o)
			defer rdb.Close()
			w := openWriter(t, rdb, Config{Key: redistest.Key(t)})
			conn := w.lines.Free[0].Current()
			if err := w.Write(rig.Ctx(t), rig.Outgoing(1), make([]redisio.Result, 1)); err != nil {
				t.Fatal(err)
			}
			if ends := w.lines.Free[0].Current() != conn; ends != c.ends {
				t.Errorf("it ends: %v, want %v", ends, c.ends)
			}
		})
	}
}

// lateContext ends after the first call of Err.
type lateContext struct {
	context.Context
	looked atomic.Bool
}

func (c *lateContext) Deadline() (time.Time, bool) { return time.Unix(1, 0), true }

func (c *lateContext) Err() error {
	if c.looked.Swap(true) {
		return context.DeadlineExceeded
	}
	return nil
}

// If the context ends before a write was sent, its outcome is known and its connection survives.
func TestWriteEndsWhileItWaits(t *testing.T) {
	w := openWriter(t, redistest.Shared(t).Client(t), Config{Key: redistest.Key(t)})
	conn := w.lines.Free[0].Current()
	err := w.Write(&lateContext{Context: rig.Ctx(t)}, rig.Outgoing(1), make([]redisio.Result, 1))
	if !errors.Is(err, redisio.ErrNotWritten) || errors.Is(err, redisio.ErrUnknownOutcome) {
		t.Error(err)
	}
	if len(w.lines.Free) != 1 || w.lines.Free[0].Current() != conn {
		t.Error("the connection is gone")
	}
}

// Many concurrent writes share a bounded number of connections, and a single one uses one.
func TestWriteConnections(t *testing.T) {
	for name, s := range map[string]*redistest.Server{"plain": redistest.Start(t), "TLS": redistest.StartTLS(t)} {
		t.Run(name, func(t *testing.T) { testWriteConnections(t, s) })
	}
}

func testWriteConnections(t *testing.T, s *redistest.Server) {
	admin, key := s.Client(t), redistest.Key(t)
	before := len(clients(t, admin))
	w := openWriter(t, s.Client(t), Config{Key: key})
	one := func() {
		if err := w.Write(rig.Ctx(t), rig.Outgoing(3), make([]redisio.Result, 3)); err != nil {
			t.Error(err)
		}
	}
	for range 10 {
		one()
	}
	if n := len(clients(t, admin)) - before; n != 1 {
		t.Errorf("%d connections for one who writes", n)
	}
	var all sync.WaitGroup
	for range 200 {
		all.Go(one)
	}
	all.Wait()
	if n := len(clients(t, admin)) - before; n > 16 {
		t.Errorf("%d connections for many", n)
	}
	if n := admin.XLen(rig.Ctx(t), key).Val(); n != 3*210 {
		t.Errorf("%d entries", n)
	}
}

// Entries answered before the connection broke have a known outcome, the rest an unknown one.
func TestWriteHalfAnswered(t *testing.T) {
	s := redistest.Shared(t)
	p, key := redistest.StartProxy(t, s.Addr()), redistest.Key(t)
	w := openWriter(t, p.Client(t), Config{Key: key})
	p.Cut(redistest.CutHalfReply, "xadd", 1)
	results := make([]redisio.Result, 100)
	err := w.Write(rig.Ctx(t), rig.Outgoing(100), results)
	if !errors.Is(err, redisio.ErrUnknownOutcome) {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for i, r := range results {
		switch {
		case r.Err == nil:
			if len(known) != i {
				t.Errorf("entry %d is known, and one before it is not", i)
			}
			known[r.ID] = true
		case !errors.Is(r.Err, redisio.ErrUnknownOutcome):
			t.Errorf("entry %d: %v", i, r.Err)
		}
	}
	entries, err := s.Client(t).XRange(rig.Ctx(t), key, "-", "+").Result()
	if err != nil || len(known) == 0 || len(known) == 100 || len(entries) != 100 {
		t.Fatalf("%d known of %d: %v", len(known), len(entries), err)
	}
	for _, e := range entries[:len(known)] {
		if !known[e.ID] {
			t.Errorf("%s is not known", e.ID)
		}
	}
	if err := w.Write(rig.Ctx(t), rig.Outgoing(1), results); err != nil { // by another connection
		t.Error(err)
	}
}

// A writer sends the same bytes as go-redis.
func TestAppendXAdd(t *testing.T) {
	fields := redisio.Fields{{Name: "a", Value: []byte("1\r\n")}, {Name: "ü", Value: nil}}
	for want, cfg := range map[string]Config{
		"xadd k 7-1":                           {Key: "k"},
		"xadd k *":                             {Key: "k"},
		"xadd k nomkstream maxlen ~ 12345 *":   {Key: "k", Tuning: Tuning{OnlyExisting: true}, MaxLen: 12345},
		"xadd k nomkstream 7-1":                {Key: "k", Tuning: Tuning{OnlyExisting: true}},
		"xadd k nomkstream maxlen ~ 12345 7-1": {Key: "k", Tuning: Tuning{OnlyExisting: true}, MaxLen: 12345},
	} {
		w, err := New(redistest.Shared(t).Client(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		args := append(strings.Fields(want), "a", "1\r\n", "ü", "")
		var text strings.Builder
		fmt.Fprintf(&text, "*%d\r\n", len(args))
		for _, a := range args {
			fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(a), a)
		}
		for _, own := range []bool{true, false} {
			e := redisio.Outgoing{Fields: fields}
			if strings.HasSuffix(want, "7-1") {
				e.ID = "7-1"
			}
			c := &chunk{entries: []redisio.Outgoing{e}, own: own}
			w.xadd(c, 0, nil, (*chunk).wrote)
			got := c.out
			if !own {
				got = resp.AppendCommand(nil, c.cmds[0].args)
			}
			if string(got) != text.String() {
				t.Errorf("own %v: %q\nwant %q", own, got, text.String())
			}
		}
	}
}

// FuzzReplies: whatever a server replies, each entry is written, not written or unknown, and those
// after a broken reply are unknown.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("$3\r\n1-1\r\n$3\r\n1-2\r\n"), false)
	f.Add([]byte("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$3\r\n1-1\r\n$-1\r\n"), true)
	f.Add([]byte("+OK\r\n-OOM no\r\n+QUEUED\r\n-EXECABORT no\r\n"), true)
	f.Add([]byte("-NOPERM no 'multi'\r\n$3\r\n1-1\r\n$3\r\n1-2\r\n-ERR EXEC without MULTI\r\n"), true)
	f.Add([]byte("+OK\r\n_\r\n+QUEUED\r\n-EXECABORT no\r\n"), true)
	f.Fuzz(func(t *testing.T, raw []byte, together bool) {
		results, index := make([]redisio.Result, 2), []int{0, 1}
		c, w := &chunk{entries: make([]redisio.Outgoing, 2), results: results}, &sender{cfg: &Config{}}
		if together {
			w.addTogether(c, index)
		} else {
			for _, at := range index {
				w.xadd(c, at, nil, (*chunk).wrote)
			}
		}
		c.replies.Buf = raw
		c.read()
		doubt := false
		for _, res := range results {
			not, unknown := errors.Is(res.Err, redisio.ErrNotWritten), errors.Is(res.Err, redisio.ErrUnknownOutcome)
			if (res.Err == nil) == (not || unknown) || not && unknown || doubt && !unknown {
				t.Fatalf("%q: %+v", raw, results)
			}
			doubt = doubt || unknown
		}
	})
}
