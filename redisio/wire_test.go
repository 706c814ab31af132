package redisio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// readerConn is a connection that only reads.
type readerConn struct {
	net.Conn
	r io.Reader
}

func (c readerConn) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (readerConn) SetDeadline(_ time.Time) error { return nil }

func TestWireReplies(t *testing.T) {
	var entries []Entry
	for i := range 3000 {
		entries = append(
			entries,
			Entry{ID: fmt.Sprintf("%d-0", i+1), Fields: Fields{{"data", bytes.Repeat([]byte{'x'}, i%700)}}},
		)
	}
	for name, raw := range map[string][]byte{
		"nil": crlf("*-1"), "error": []byte("-NOGROUP No such key\r\n"), "big": encode(entries, false), "map": encode(entries[:3], true),
		"one long string": fmt.Appendf(nil, "$%d\r\n%s\r\n", 200_000, make([]byte, 200_000)),
	} {
		for _, r := range []io.Reader{bytes.NewReader(raw), iotest.HalfReader(bytes.NewReader(raw)), iotest.OneByteReader(bytes.NewReader(raw)), iotest.DataErrReader(bytes.NewReader(raw))} {
			w := &wire{}
			got, err := w.reply(readerConn{r: r}, limit{})
			if err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("%s: %d bytes of %d, %v", name, len(got), len(raw), err)
			}
			if len(got) < 1000 && cap(got) > 2000 {
				t.Fatalf("%s: %d bytes pin %d", name, len(got), cap(got))
			}
		}
		if _, err := (&wire{}).reply(readerConn{r: bytes.NewReader(raw[:len(raw)-1])}, limit{}); !errors.Is(
			err,
			io.EOF,
		) {
			t.Fatalf("%s cut: %v", name, err)
		}
		var bad *ReplyError
		if _, err := (&wire{}).reply(readerConn{r: bytes.NewReader(append(slices.Clone(raw), "+OK\r\n"...))}, limit{}); !errors.As(
			err,
			&bad,
		) {
			t.Fatalf("%s and more: %v", name, err)
		}
	}
	for _, s := range []string{"$99999999999", "*x", "?", "\r\n\r\n"} {
		var bad *ReplyError
		if _, err := (&wire{}).reply(readerConn{r: bytes.NewReader(crlf(s))}, limit{}); !errors.As(err, &bad) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// A server that hangs does not keep a Read, or a Close, beyond its context by more than Block.
func TestHungServer(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r, _ := open(t, s.Client(t), GroupConfig{Key: "k", Lease: 10 * time.Second})
	readNothing(t, r, 60*time.Millisecond)
	s.Pause(t)
	defer s.Resume(t)
	start := time.Now()
	c, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	var b Batch
	if err := r.Read(c, 1, 0, &b); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
	start = time.Now()
	c, cancel = context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := r.Close(c); err == nil || time.Since(start) > 2*time.Second {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
}

// A client we can't derive from works as well, without a connection of our own.
func TestUnknownClient(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	other := struct{ redis.UniversalClient }{rdb}
	w := openWriter(t, other, WriterConfig{Key: key})
	if err := w.Write(ctx(t), outgoing(10), make([]Result, 10)); err != nil {
		t.Fatal(err)
	}
	r, _ := open(t, other, GroupConfig{Key: key})
	tail := openTail(t, other, TailConfig{Key: key})
	got := ids(read(t, r, 10))
	if !slices.Equal(ids(read(t, tail, 10)), got) {
		t.Fatal("they differ")
	}
	if err := r.Nack(ctx(t), got[:1], 0); err != nil {
		t.Fatal(err)
	}
	if again := read(t, r, 1); again[0].ID != got[0] || again[0].Deliveries != 2 {
		t.Fatalf("got %+v", again)
	}
	if err := r.Close(ctx(t)); err != nil || rdb.Ping(ctx(t)).Err() != nil {
		t.Fatal("the caller's client was closed", err)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Args("--cluster-enabled", "yes"))
	if err := s.Client(t).Do(ctx(t), "cluster", "addslotsrange", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.Addr()}})
	defer rdb.Close()
	redistest.Soon(t, "the cluster is up", func() bool { return rdb.Set(ctx(t), "x", "y", 0).Err() == nil })
	w := openWriter(t, rdb, WriterConfig{Key: "{k}"})
	if err := w.Write(ctx(t), outgoing(300), make([]Result, 300)); err != nil {
		t.Fatal(err)
	}
	r, _ := open(t, rdb, GroupConfig{Key: "{k}"})
	got := ids(read(t, r, 300))
	if err := r.Nack(ctx(t), got[:1], 0); err != nil {
		t.Fatal(err)
	}
	if again := ids(read(t, r, 1)); again[0] != got[0] {
		t.Fatal(again)
	}
	if err := r.Dead(ctx(t), "{k}.dead", []DeadLetter{{ID: got[0]}, {ID: got[1]}}); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Ack(ctx(t), got); n != 298 || err != nil {
		t.Fatal(n, err)
	}
	tail := openTail(t, rdb, TailConfig{Key: "{k}"})
	if all := ids(read(t, tail, 300)); !slices.Equal(all, got) {
		t.Fatal("they differ")
	}
}

// A release that a renewal overtakes stays a release.
func TestReleaseStaysReleased(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	add(t, rdb, key, 2)
	r, _ := open(t, rdb, GroupConfig{Key: key, Lease: 600 * time.Millisecond})
	got := ids(read(t, r, 2))
	if err := r.Release(ctx(t), got[:1]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.setIdle(ctx(t), []ask{{id: got[0]}, {id: got[1]}}); err != nil { // the renewal
		t.Fatal(err)
	}
	if err := r.repark(ctx(t), got, time.Now()); err != nil {
		t.Fatal(err)
	}
	if p := pending(t, rdb, key); p[got[0]].Idle < 500*time.Millisecond || p[got[1]].Idle > 300*time.Millisecond {
		t.Fatalf("%+v", p)
	}
}

// A large reply over a slow line takes longer than BLOCK and its margin. Giving up on it would not help:
// its entries are pending then, and recovering them is as large a reply.
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
		w := &wire{timeout: time.Second + replyMargin, block: time.Second}
		raw, err := w.exchange(context.Background(), ours, limit{}, []any{"get"})
		if err != nil || !strings.Contains(string(raw), "ccccc") {
			t.Fatalf("%q, %v, want the whole reply", raw, err)
		}
	})
}

// Close keeps to its context also while a renewal hangs.
func TestCloseDoesNotWaitForHungRenewal(t *testing.T) {
	s := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), ReadTimeout: 20 * time.Second})
	defer rdb.Close()
	r, _ := open(t, rdb, GroupConfig{Key: "k", Lease: 60 * time.Second})
	add(t, rdb, "k", 1)
	read(t, r, 1)
	s.Pause(t)
	defer s.Resume(t)
	started, done := make(chan struct{}), make(chan struct{})
	r.keeping.Go(func() { // as keep does it
		close(started)
		_ = r.renew(context.Background(), time.Now().Add(time.Minute))
		close(done)
	})
	<-started
	c, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := r.Close(c); err == nil || time.Since(start) > 3*time.Second {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
	<-done
}
