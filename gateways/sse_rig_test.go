package gateways_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// sse is a client of server-sent events, as the standard has it.
type sse struct {
	t      testing.TB
	status int
	header http.Header
	body   io.ReadCloser
	lines  *bufio.Reader
	id     string // the last
	beats  int    // comments, and events that move the ID on
	end    func()
}

// message is an event that came.
type message struct{ ID, Type, Data string }

// subscribe connects. Headers are "Name: value".
func subscribe(t testing.TB, url string, headers ...string) *sse {
	t.Helper()
	return subscribeBy(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, url, headers...)
}

func subscribeBy(t testing.TB, c *http.Client, url string, headers ...string) *sse {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	got, err := c.Do(r)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	s := &sse{t: t, status: got.StatusCode, header: got.Header, body: got.Body, lines: bufio.NewReader(got.Body)}
	s.end = func() { cancel(); got.Body.Close() }
	t.Cleanup(s.end)
	return s
}

// next returns the next event; ok is false at the end.
func (s *sse) next() (m message, ok bool) {
	s.t.Helper()
	var data []string
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return m, false
		}
		line = strings.TrimRight(line, "\n")
		if line == "" {
			m.ID = s.id
			if data == nil {
				m = message{}
				continue
			}
			if m.Type == "keepalive" {
				m, data = message{}, nil
				s.beats++
				continue
			}
			if m.Type == "" {
				m.Type = "message"
			}
			m.Data = strings.Join(data, "\n")
			return m, true
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "":
			s.beats++
		case "id":
			s.id = value
		case "event":
			m.Type = value
		case "data":
			data = append(data, value)
		}
	}
}

// data returns the data of the next n events.
func (s *sse) data(n int) (got []string) {
	s.t.Helper()
	for range n {
		m, ok := s.next()
		if !ok {
			s.t.Fatalf("the events end behind %q", got)
		}
		if m.Type == "gap" {
			s.t.Fatalf("a gap behind %q: %s", got, m.Data)
		}
		got = append(got, m.Data)
	}
	return got
}

// board is a stream of events, with a handler that serves them.
type board struct {
	*stand
	*gateways.EventStream
	url  string
	name string // of its connections to Redis
	stop func() error
}

func newBoard(t testing.TB, cfg gateways.SSEConfig) *board {
	t.Helper()
	s := newStand(t)
	if cfg.Feed == nil {
		cfg.Key = s.topic
	}
	o := *s.rdb.Options()
	o.ClientName = rand.Text()
	rdb := redis.NewClient(&o)
	t.Cleanup(func() { rdb.Close() })
	b := &board{stand: s, EventStream: gateways.SSE(rdb, cfg), name: o.ClientName}
	var addr string
	t.Cleanup(func() { // behind the server, which is stopped first
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	addr, b.stop = up(t, b.EventStream, gateways.ServerConfig{})
	b.url = "http://" + addr + "/"
	return b
}

// add writes an event, and returns its ID.
func (b *board) add(t testing.TB, typ, key, data string) string {
	t.Helper()
	id, err := b.rdb.XAdd(context.Background(), redistest.Entry(b.topic, "data", data, "type", typ, "key", key)).
		Result()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// live waits until the stream is read: what is written from then on is queued for clients, and is no history.
func (b *board) live(t testing.TB) {
	t.Helper()
	redistest.Soon(t, "the stream is read", func() bool {
		for line := range strings.Lines(b.rdb.ClientList(context.Background()).Val()) {
			if strings.Contains(line, "name="+b.name+" ") && strings.Contains(line, "cmd=xread ") {
				return true
			}
		}
		return false
	})
}
