package redistest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// through returns a client that uses the proxy. It never repeats anything, and has sent HELLO.
func through(t *testing.T, p *redistest.Proxy) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(
		&redis.Options{
			Addr:             p.Addr(),
			DisableIdentity:  true,
			MaxRetries:       -1,
			DialerRetries:    1,
			PoolSize:         1,
			PipelinePoolSize: -1,
			ReadTimeout:      redistest.Patience, // it would fail, because it never repeats anything
		},
	)
	t.Cleanup(func() { _ = rdb.Close() }) // the test may have closed it
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	return rdb
}

func TestProxyCuts(t *testing.T) {
	s := redistest.Shared(t)
	direct := s.Client(t)
	for how, want := range map[redistest.Cut]int64{
		redistest.CutRequest: 0, redistest.CutHalfRequest: 1, redistest.CutReply: 2, redistest.CutHalfReply: 2,
	} {
		t.Run(how.String(), func(t *testing.T) {
			p, key := redistest.StartProxy(t, s.Addr()), redistest.Key(t)
			rdb := through(t, p)
			p.Cut(how, "incr", 1)
			if err := rdb.Get(t.Context(), key).Err(); !errors.Is(err, redis.Nil) {
				t.Fatalf("a request that does not match: %v", err)
			}
			pipe := rdb.Pipeline()
			first := pipe.Incr(t.Context(), key)
			second := pipe.Incr(t.Context(), key)
			_, err := pipe.Exec(t.Context())
			if err == nil || second.Err() == nil || (how == redistest.CutHalfReply && first.Val() != 1) {
				t.Fatalf("the client saw %v, %v, %v", first.Err(), second.Err(), err)
			}
			for deadline := time.Now().Add(redistest.Patience); ; { // the server acts some time after the cut
				n, err := direct.Get(t.Context(), key).Int64()
				if err != nil && !errors.Is(err, redis.Nil) {
					t.Fatal(err)
				}
				if n == want {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the server did %d of 2 commands, want %d", n, want)
				}
			}
			if err := rdb.Ping(t.Context()).Err(); err != nil {
				t.Fatalf("the next connection: %v", err)
			}
			c := p.Counts()
			if c.Cuts[how] != 1 || c.Total() != 1 || c.Conns != 2 || c.Up == 0 || c.Down == 0 || c.Requests < 4 {
				t.Fatalf("%+v", c)
			}
		})
	}
}

func TestProxyCutsRandomly(t *testing.T) {
	s := redistest.Shared(t)
	fates := func(seed uint64) string {
		var all []string
		p, err := redistest.NewProxy(s.Addr(), redistest.ProxyOptions{OnCut: func(how redistest.Cut, request []byte) {
			all = append(all, how.String()+strings.TrimSpace(string(request)))
		}})
		if err != nil {
			t.Fatal(err)
		}
		p.CutRandomly(seed, 0.3)
		for range 40 { // by hand, so that the requests are the same in the same order
			func() {
				c, err := net.Dial("tcp", p.Addr())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := c.Write([]byte("PING\r\n")); err != nil {
					t.Fatal(err)
				}
				_, _ = c.Read(make([]byte, 64)) // the reply, or the cut
			}()
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if n := p.Counts().Total(); n < 4 || n > 25 || n != len(all) {
			t.Errorf("%d of 40 were cut, %d told", n, len(all))
		}
		return strings.Join(all, "\n")
	}
	if a, b, c := fates(1), fates(1), fates(2); a != b || a == c {
		t.Errorf("seed 1:\n%s\nand again:\n%s\nseed 2:\n%s", a, b, c)
	}
}

func TestProxyShapes(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	rdb := through(t, p)
	key := redistest.Key(t)
	p.Shape(redistest.Traffic{Latency: 50 * time.Millisecond})
	start := time.Now()
	if err := rdb.Set(t.Context(), key, strings.Repeat("x", 100_000), 0).Err(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 100*time.Millisecond {
		t.Errorf("a round trip of 2×50 ms took %v", d)
	}
	p.Shape(redistest.Traffic{Bandwidth: 500_000})
	start = time.Now()
	if err := rdb.Get(t.Context(), key).Err(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 150*time.Millisecond {
		t.Errorf("100 kB at 500 kB/s took %v", d)
	}
}

func TestProxyHangs(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	rdb := through(t, p)
	p.Hang(true)
	fresh, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if _, err := fresh.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() { answer <- rdb.Ping(context.Background()).Err() }()
	select {
	case err := <-answer:
		t.Fatalf("it answered: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	p.Hang(false)
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if n, err := fresh.Read(buf); err != nil || string(buf[:n]) != "+PONG\r\n" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	p.ResetAll()
	if _, err := fresh.Read(buf); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after a reset: %v", err)
	}
	p.SetDown(true)
	if err := rdb.Ping(t.Context()).Err(); err == nil {
		t.Error("it is down and answers")
	}
	p.SetDown(false)
	other := redistest.Start(t)
	p.Redirect(other.Addr())
	if err := rdb.Set(t.Context(), "here", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := other.Client(t).Get(t.Context(), "here").Err(); err != nil {
		t.Errorf("redirected: %v", err)
	}
	p.Hang(true)
	if err := p.Close(); err != nil { // ends although it hangs
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
