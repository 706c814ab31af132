package writer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// numbered returns entries. Each value is the number of its entry and some padding.
func numbered(n, size int) []redisio.Outgoing {
	out := make([]redisio.Outgoing, n)
	for i := range out {
		value := fmt.Appendf(nil, "%06d", i)
		out[i].Fields = redisio.Fields{{Name: "n", Value: append(value, strings.Repeat("x", size)...)}}
	}
	return out
}

// firsts returns the numbers of a stream's entries in the order in which each first appeared.
func firsts(t *testing.T, rdb *redis.Client, key string) []int {
	t.Helper()
	var numbers []int
	seen := make(map[int]bool)
	for _, m := range rdb.XRange(rig.Ctx(t), key, "-", "+").Val() {
		var n int
		if _, err := fmt.Sscanf(m.Values["n"].(string), "%06d", &n); err != nil {
			t.Fatal(err)
		}
		if !seen[n] {
			seen[n] = true
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func inOrder(t *testing.T, rdb *redis.Client, key string, n int) {
	t.Helper()
	got := firsts(t, rdb, key)
	if len(got) != n || !slices.IsSorted(got) {
		t.Errorf("%d of %d entries, in order: %v", len(got), n, slices.IsSorted(got))
	}
}

// failed returns the entries that were not confirmed.
func failed(out []redisio.Outgoing, results []redisio.Result) (again []redisio.Outgoing) {
	for i := range out {
		if results[i].Err != nil {
			again = append(again, out[i])
		}
	}
	return again
}

// counted counts the bytes that a client sends.
type counted struct {
	net.Conn
	sent *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	c.sent.Add(int64(len(b)))
	return c.Conn.Write(b)
}

// An ordered writer sends a window of pipelines before the first reply, and no more.
func TestAheadWindow(t *testing.T) {
	t.Parallel()
	const depth, size = 10, 40
	s, key := redistest.Start(t), redistest.Key(t)
	rdb, o, sent := s.Client(t), s.Options(), new(atomic.Int64)
	o.ReadTimeout = redistest.Patience // it is paused
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return counted{conn, sent}, err
	}
	client := redis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	w := openWriter(t, client, Config{Key: key, Tuning: Tuning{Depth: depth}})
	before := sent.Load()
	if err := w.Write(rig.Ctx(t), numbered(depth, size), make([]redisio.Result, depth)); err != nil {
		t.Fatal(err)
	}
	pipeline := sent.Load() - before
	s.Pause(t)
	out := numbered(7*depth, size)
	written := make(chan error, 1)
	go func() { written <- w.Write(rig.Ctx(t), out, make([]redisio.Result, len(out))) }()
	redistest.Soon(t, "a window of pipelines is sent", func() bool {
		return sent.Load()-before == (1+window)*pipeline
	})
	s.Resume(t)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if n := sent.Load() - before; n != 8*pipeline {
		t.Errorf("%d bytes were sent, want %d", n, 8*pipeline)
	}
	rdb.XTrimMaxLen(rig.Ctx(t), key, int64(len(out)))
	inOrder(t, rdb, key, len(out))
}

// A connection is cut in the middle of several pipelines. Entries with a reply are written, other
// sent ones are in doubt, and the rest are not written. Writing the unconfirmed ones again keeps
// the order.
func TestAheadCut(t *testing.T) {
	t.Parallel()
	const depth = 10
	for _, how := range []redistest.Cut{
		redistest.CutRequest, redistest.CutHalfRequest, redistest.CutReply, redistest.CutHalfReply,
	} {
		t.Run(how.String(), func(t *testing.T) {
			t.Parallel()
			s := redistest.Shared(t)
			proxy, rdb, key := redistest.StartProxy(t, s.Addr()), s.Client(t), redistest.Key(t)
			w := openWriter(t, proxy.Client(t), Config{Key: key, Tuning: Tuning{Depth: depth}})
			out := numbered(12*depth, 100)
			results := make([]redisio.Result, len(out))
			proxy.Cut(how, "\r\n000045", 1)
			err := w.Write(rig.Ctx(t), out, results)
			if !errors.Is(err, redisio.ErrUnknownOutcome) {
				t.Fatalf("the write ended with %v", err)
			}
			doubtful := 0
			kinds := make([]int, 0, len(out))
			for i, r := range results {
				switch {
				case r.Err == nil && r.ID != "":
					kinds = append(kinds, 0)
				case errors.Is(r.Err, redisio.ErrUnknownOutcome):
					kinds = append(kinds, 1)
					doubtful++
				case errors.Is(r.Err, redisio.ErrNotWritten):
					kinds = append(kinds, 2)
				default:
					t.Fatalf("entry %d: %+v", i, r)
				}
			}
			if !slices.IsSorted(kinds) || doubtful > window*depth || kinds[len(kinds)-1] != 2 {
				t.Errorf("written 0, in doubt 1, not written 2: %v", kinds)
			}
			again := failed(out, results)
			if err := w.Write(rig.Ctx(t), again, make([]redisio.Result, len(again))); err != nil {
				t.Fatal(err)
			}
			inOrder(t, rdb, key, len(out))
		})
	}
}

// A server runs out of memory in the middle: each entry is written or not, nothing is in doubt, and
// what was not sent has the reason.
func TestAheadOutOfMemory(t *testing.T) {
	t.Parallel()
	const depth = 10
	s := redistest.Start(t, redistest.Args("--maxmemory-policy", "noeviction"))
	rdb, key := s.Client(t), redistest.Key(t)
	w := openWriter(t, s.Client(t), Config{Key: key, Tuning: Tuning{Depth: depth}})
	out := numbered(40*depth, 16<<10)
	results := make([]redisio.Result, len(out))
	if err := w.Write(rig.Ctx(t), out[:1], results[:1]); err != nil {
		t.Fatal(err)
	}
	used := 0
	for line := range strings.Lines(rdb.Info(rig.Ctx(t), "memory").Val()) {
		_, _ = fmt.Sscanf(line, "used_memory:%d", &used)
	}
	rdb.ConfigSet(rig.Ctx(t), "maxmemory", fmt.Sprint(used+2<<20))
	if err := w.Write(rig.Ctx(t), out[1:], results[1:]); !errors.Is(err, redisio.ErrNotWritten) {
		t.Fatalf("the write ended with %v", err)
	}
	written, full, behind := 0, 0, 0
	for i, r := range results {
		switch {
		case r.Err == nil && r.ID != "":
			written++
		case errors.Is(r.Err, errBehind):
			behind++
		case errors.Is(r.Err, redisio.ErrNotWritten):
			full++
		default:
			t.Fatalf("entry %d: %+v", i, r)
		}
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); int(n) != written || full == 0 || full > window*depth || behind == 0 {
		t.Errorf("%d entries; %d written, %d refused, %d not sent", n, written, full, behind)
	}
	rdb.ConfigSet(rig.Ctx(t), "maxmemory", "0")
	again := failed(out, results)
	if err := w.Write(rig.Ctx(t), again, make([]redisio.Result, len(again))); err != nil {
		t.Fatal(err)
	}
	if got := firsts(t, rdb, key); len(got) != len(out) {
		t.Errorf("%d of %d entries", len(got), len(out))
	}
}

// Entries of nearly 1 MiB among small ones do not wait for each other's replies either, and keep their
// place.
func TestAheadLargeAmongSmall(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	rdb, key := s.Client(t), redistest.Key(t)
	w := openWriter(t, s.Client(t), Config{Key: key, Tuning: Tuning{Depth: 20}})
	out := numbered(200, 10)
	for i := 7; i < len(out); i += 13 {
		f := &out[i].Fields[0]
		f.Value = append(f.Value, make([]byte, 1<<20-100)...)
	}
	if err := w.Write(rig.Ctx(t), out, make([]redisio.Result, len(out))); err != nil {
		t.Fatal(err)
	}
	inOrder(t, rdb, key, len(out))
}
