package relay_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func (s *stand) pool(t *testing.T, change func(*relay.PoolConfig[string])) *relay.Pool[string] {
	cfg := relay.PoolConfig[string]{Config: s.config()}
	cfg.Key = ""
	if change != nil {
		change(&cfg)
	}
	p := relay.NewPool(s.rdb, cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

func join(t *testing.T, p *relay.Pool[string], key string) *relay.Listener[string] {
	t.Helper()
	l, err := p.Listen(t.Context(), key, relay.Options{All: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestPool(t *testing.T) {
	s := newStand(t)
	// The stream without listeners would be disconnected in the middle of the test.
	p := s.pool(t, func(c *relay.PoolConfig[string]) { c.MaxStreams, c.Linger = 2, time.Hour })
	one := s.key
	a, b := join(t, p, one), join(t, p, one)
	if n := p.Streams(); n != 1 {
		t.Errorf("%d streams for two listeners of one", n)
	}
	s.add(t, "x", "hello")
	texts(t, a, 1)
	texts(t, b, 1)
	c := join(t, p, one+":2")
	if _, err := p.Listen(t.Context(), one+":3", relay.Options{}); !errors.Is(err, relay.ErrTooManyStreams) {
		t.Errorf("a third stream: %v", err)
	}
	c.Close()
	c.Close()
	join(t, p, one+":3") // evicts the stream without listeners
	if n := p.Streams(); n != 2 {
		t.Errorf("%d streams, want 2", n)
	}
}

// Listen waits for the place of a stream that is being disconnected.
func TestFault_PoolWaitsForLeaving(t *testing.T) {
	s := newStand(t)
	p := s.pool(t, func(c *relay.PoolConfig[string]) { c.MaxStreams, c.Linger = 2, time.Hour })
	join(t, p, s.key)
	old := join(t, p, s.key+":old")
	old.Close()
	p.PutOut(s.key + ":old")
	join(t, p, s.key+":new")
	if n := p.Streams(); n != 2 {
		t.Errorf("%d streams, want 2", n)
	}
}

func TestPoolLingers(t *testing.T) {
	s := newStand(t)
	p := s.pool(t, func(c *relay.PoolConfig[string]) { c.Linger = 30 * time.Millisecond })
	one := s.key
	a, b := join(t, p, one), join(t, p, one)
	join(t, p, one+":2")
	a.Close()
	if n := p.Streams(); n != 2 {
		t.Errorf("%d streams, want 2", n)
	}
	b.Close()
	redistest.Soon(t, "the stream without listeners is not read any more", func() bool { return p.Streams() == 1 })
	again := join(t, p, one)
	s.add(t, "x", "again")
	texts(t, again, 1)
}

func TestPoolCloses(t *testing.T) {
	s := newStand(t)
	p := s.pool(t, nil)
	l, err := p.Listen(t.Context(), s.key, relay.Options{All: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := p.Listen(t.Context(), s.key, relay.Options{From: "nonsense"}); err == nil {
		t.Error("nonsense is a cursor")
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := l.Next(t.Context()); !errors.Is(err, relay.ErrClosed) {
		t.Errorf("next: %v", err)
	}
	if _, err := p.Listen(t.Context(), s.key, relay.Options{}); !errors.Is(err, relay.ErrClosed) {
		t.Errorf("listen: %v", err)
	}
}

// Listeners of a key that is not a stream fail. They work once it is a stream.
func TestPoolTriesAgain(t *testing.T) {
	s := newStand(t)
	p := s.pool(t, nil)
	s.rdb.Set(t.Context(), s.key, "x", 0)
	if _, err := p.Listen(t.Context(), s.key, relay.Options{}); !redisio.IsPermanent(err) {
		t.Errorf("listen: %v", err)
	}
	s.rdb.Del(t.Context(), s.key)
	redistest.Soon(t, "it is read", func() bool {
		l, err := p.Listen(t.Context(), s.key, relay.Options{All: true})
		if err != nil {
			return false
		}
		defer l.Close()
		s.add(t, "a", "x")
		b, err := l.Next(t.Context())
		if redisio.IsPermanent(err) { // the relay that met the string has not ended yet
			return false
		}
		if err != nil || b.Gap != nil || len(b.Items) == 0 || b.Items[0].Value != "x" {
			t.Errorf("got %+v, %v", b, err)
		}
		return true
	})
}

func TestPoolConfig(t *testing.T) {
	p := relay.NewPool[string](nil, relay.PoolConfig[string]{MaxStreams: -1, Linger: -1})
	if _, err := p.Listen(t.Context(), "x", relay.Options{}); len(flatten(err)) != 4 {
		t.Errorf("got %v", err)
	}
}
