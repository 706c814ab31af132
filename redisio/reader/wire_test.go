package reader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/writers"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// readerConn is a connection that only reads.
type readerConn struct {
	net.Conn
	r io.Reader
}

func (c readerConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func (readerConn) SetDeadline(_ time.Time) error { return nil }

func TestWireReplies(t *testing.T) {
	var entries []redisio.Entry
	for i := range 3000 {
		entries = append(
			entries,
			redisio.Entry{
				ID:     fmt.Sprintf("%d-0", i+1),
				Fields: redisio.Fields{{Name: "data", Value: bytes.Repeat([]byte{'x'}, i%700)}},
			},
		)
	}
	for name, raw := range map[string][]byte{
		"nil": rig.CRLF("*-1"), "error": []byte("-NOGROUP No such key\r\n"), "big": rig.Encode(entries,
			false), "map": rig.Encode(entries[:3], true),
		"one long string": fmt.Appendf(nil, "$%d\r\n%s\r\n", 200_000, make([]byte, 200_000)),
	} {
		for _, r := range []io.Reader{bytes.NewReader(raw), iotest.HalfReader(bytes.NewReader(raw)),
			iotest.OneByteReader(bytes.NewReader(raw)), iotest.DataErrReader(bytes.NewReader(raw))} {
			w := &conn.Wire{}
			got, err := w.Reply(readerConn{r: r}, conn.Limit{})
			if err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("%s: %d bytes of %d, %v", name, len(got), len(raw), err)
			}
			if len(got) < 1000 && cap(got) > 2000 {
				t.Fatalf("%s: %d bytes pin %d", name, len(got), cap(got))
			}
		}
		if _, err := (&conn.Wire{}).Reply(readerConn{r: bytes.NewReader(raw[:len(raw)-1])}, conn.Limit{}); !errors.Is(
			err,
			io.EOF,
		) {
			t.Fatalf("%s cut: %v", name, err)
		}
		var bad *resp.ReplyError
		if _, err := (&conn.Wire{}).Reply(readerConn{r: bytes.NewReader(append(slices.Clone(raw), "+OK\r\n"...))},
			conn.Limit{}); !errors.As(
			err,
			&bad,
		) {
			t.Fatalf("%s and more: %v", name, err)
		}
	}
	for _, s := range []string{"$99999999999", "*x", "?", "\r\n\r\n"} {
		var bad *resp.ReplyError
		if _, err := (&conn.Wire{}).Reply(readerConn{r: bytes.NewReader(rig.CRLF(s))}, conn.Limit{}); !errors.As(
			err,
			&bad,
		) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// A reply takes little more memory than its own size, whatever its size is.
func TestWireAllocatesTheReplyOnce(t *testing.T) {
	for _, of := range []struct{ entries, size int }{{1000, 100}, {300, 8 << 10}, {64, 64 << 10}, {4, 1 << 20}} {
		entries := make([]redisio.Entry, of.entries)
		for i := range entries {
			entries[i].ID = fmt.Sprintf("1732360000000-%d", i)
			entries[i].Fields = redisio.Fields{{Name: "data", Value: make([]byte, of.size)}}
		}
		raw := rig.Encode(entries, false)
		var w conn.Wire
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := w.Reply(readerConn{r: bytes.NewReader(raw)}, conn.Limit{})
		runtime.ReadMemStats(&after)
		if err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(raw), err)
		}
		if took, most := int(after.TotalAlloc-before.TotalAlloc), len(raw)*11/10+64<<10; took > most {
			t.Errorf("%d bytes take %d, want at most %d", len(raw), took, most)
		}
	}
}

// If a server hangs, a Read or a Close exceeds its context by at most Block.
func TestHungServer(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r, _ := open(t, s.Client(t), GroupConfig{Key: "k", Tuning: Tuning{Lease: 10 * time.Second}})
	readNothing(t, r, 60*time.Millisecond)
	r.wire.Timeout = redistest.Patience  // what it would wait for without the context
	const late = redistest.Patience / 10 // a busy machine may stop for some seconds
	s.Pause(t)
	defer s.Resume(t)
	start := time.Now()
	c, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	var b redisio.Batch
	if err := r.Read(c, 1, 0, &b); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > late {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
	start = time.Now()
	c, cancel = context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := r.Close(c); err == nil || time.Since(start) > late {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
}

// A client from which we can't derive works as well, without a connection of our own.
func TestUnknownClient(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	other := struct{ redis.UniversalClient }{rdb}
	w := writers.Open(t, other, writer.Config{Key: key})
	if err := w.Write(rig.Ctx(t), rig.Outgoing(10), make([]redisio.Result, 10)); err != nil {
		t.Fatal(err)
	}
	r, _ := open(t, other, GroupConfig{Key: key})
	tail := openTail(t, other, TailConfig{Key: key})
	got := rig.IDs(rig.Read(t, r, 10))
	if !slices.Equal(rig.IDs(rig.Read(t, tail, 10)), got) {
		t.Fatal("they differ")
	}
	if err := r.Nack(rig.Ctx(t), got[:1], 0); err != nil {
		t.Fatal(err)
	}
	if again := rig.Read(t, r, 1); again[0].ID != got[0] || again[0].Deliveries != 2 {
		t.Fatalf("got %+v", again)
	}
	if err := r.Close(rig.Ctx(t)); err != nil || rdb.Ping(rig.Ctx(t)).Err() != nil {
		t.Fatal("the caller's client was closed", err)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Args("--cluster-enabled", "yes"))
	if err := s.Client(t).Do(rig.Ctx(t), "cluster", "addslotsrange", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.Addr()}, ReadTimeout: redistest.Patience})
	defer rdb.Close()
	redistest.Soon(t, "the cluster is up", func() bool { return rdb.Set(rig.Ctx(t), "x", "y", 0).Err() == nil })
	w := writers.Open(t, rdb, writer.Config{Key: "{k}"})
	if err := w.Write(rig.Ctx(t), rig.Outgoing(300), make([]redisio.Result, 300)); err != nil {
		t.Fatal(err)
	}
	r, _ := open(t, rdb, GroupConfig{Key: "{k}"})
	got := rig.IDs(rig.Read(t, r, 300))
	if err := r.Nack(rig.Ctx(t), got[:1], 0); err != nil {
		t.Fatal(err)
	}
	if again := rig.IDs(rig.Read(t, r, 1)); again[0] != got[0] {
		t.Fatal(again)
	}
	if err := r.Dead(rig.Ctx(t), "{k}.dead", []DeadLetter{{ID: got[0]}, {ID: got[1]}}); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Ack(rig.Ctx(t), got); n != 298 || err != nil {
		t.Fatal(n, err)
	}
	tail := openTail(t, rdb, TailConfig{Key: "{k}"})
	if all := rig.IDs(rig.Read(t, tail, 300)); !slices.Equal(all, got) {
		t.Fatal("they differ")
	}
}

// A release that a renewal overtakes stays a release.
func TestReleaseStaysReleased(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 2)
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: time.Minute}})
	got := rig.IDs(rig.Read(t, r, 2))
	if err := r.Release(rig.Ctx(t), got[:1]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.setIdle(rig.Ctx(t), []held.Ask{{Id: got[0]}, {Id: got[1]}}); err != nil { // the renewal
		t.Fatal(err)
	}
	if err := r.redelay(rig.Ctx(t), got, time.Now()); err != nil {
		t.Fatal(err)
	}
	if p := rig.Pending(t, rdb, key); p[got[0]].Idle < 50*time.Second || p[got[1]].Idle > 30*time.Second {
		t.Fatalf("%+v", p)
	}
}

// A large reply over a slow connection takes longer than BLOCK and its margin. It would not help to
// give up, because its entries are pending then, and recovering them needs an equally large reply.
func TestWireWaitsForSlowReplyThatProgresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			defer theirs.Close()
			if _, err := theirs.Read(make([]byte, 1000)); err != nil {
				return
			}
			for _, part := range []string{"$20\r\n", "aaaaa", "bbbbb", "ccccc", "ddddd\r\n"} {
				<-time.After(3 * time.Second) // in the bubble: no time passes
				if _, err := io.WriteString(theirs, part); err != nil {
					return
				}
			}
		}()
		w := &conn.Wire{Timeout: time.Second + conn.ReplyMargin, Block: time.Second}
		raw, err := w.Exchange(context.Background(), ours, conn.Limit{}, []any{"get"})
		if err != nil || !strings.Contains(string(raw), "ccccc") {
			t.Fatalf("%q, %v, want the whole reply", raw, err)
		}
	})
}

// Close respects its context also while a renewal hangs.
func TestCloseDoesNotWaitForHungRenewal(t *testing.T) {
	s := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), ReadTimeout: redistest.Patience})
	defer rdb.Close()
	r, _ := open(t, rdb, GroupConfig{Key: "k", Tuning: Tuning{Lease: time.Hour}}) // a renewal may take a third of it
	rig.Add(t, rdb, "k", 1)
	rig.Read(t, r, 1)
	s.Pause(t)
	defer s.Resume(t)
	started, done := make(chan struct{}), make(chan struct{})
	r.keeping.Go(func() { // as keep does it
		close(started)
		_ = r.renew(context.Background(), time.Now().Add(time.Hour))
		close(done)
	})
	<-started
	c, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := r.Close(c); err == nil || time.Since(start) > redistest.Patience/4 {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
	<-done
}
