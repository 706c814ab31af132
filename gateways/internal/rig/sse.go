package rig

import (
	"bufio"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// SSEClient is a client of server-sent events that follows the standard.
type SSEClient struct {
	T      testing.TB
	Status int
	Header http.Header
	Body   io.ReadCloser
	Lines  *bufio.Reader
	Id     string // the last
	Beats  int    // comments, and events that only advance the ID
	End    func()
}

// Message is a received event.
type Message struct{ ID, Type, Data string }

// Subscribe connects. Headers are "Name: value".
func Subscribe(t testing.TB, url string, headers ...string) *SSEClient {
	t.Helper()
	return SubscribeBy(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, url, headers...)
}

func SubscribeBy(t testing.TB, c *http.Client, url string, headers ...string) *SSEClient {
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
	s := &SSEClient{T: t, Status: got.StatusCode, Header: got.Header, Body: got.Body, Lines: bufio.NewReader(got.Body)}
	s.End = func() { cancel(); got.Body.Close() }
	t.Cleanup(s.End)
	return s
}

// Next returns the next event; ok is false at the end.
func (s *SSEClient) Next() (m Message, ok bool) {
	s.T.Helper()
	var data []string
	for {
		line, err := s.Lines.ReadString('\n')
		if err != nil {
			return m, false
		}
		line = strings.TrimRight(line, "\n")
		if line == "" {
			m.ID = s.Id
			if data == nil {
				m = Message{}
				continue
			}
			if m.Type == "keepalive" {
				m, data = Message{}, nil
				s.Beats++
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
			s.Beats++
		case "id":
			s.Id = value
		case "event":
			m.Type = value
		case "data":
			data = append(data, value)
		}
	}
}

// Data returns the data of the next n events.
func (s *SSEClient) Data(n int) (got []string) {
	s.T.Helper()
	for range n {
		m, ok := s.Next()
		if !ok {
			s.T.Fatalf("the events end behind %q", got)
		}
		if m.Type == "gap" {
			s.T.Fatalf("a gap behind %q: %s", got, m.Data)
		}
		got = append(got, m.Data)
	}
	return got
}

// Board is a stream of events, with a handler that serves them.
type Board struct {
	*Stand
	*sse.Handler
	URL  string
	name string // of its connections to Redis
	Stop func() error
}

func NewBoard(t testing.TB, cfg sse.Config) *Board {
	t.Helper()
	s := NewStand(t)
	if cfg.Feed == nil {
		cfg.Key = s.Topic
	}
	o := *s.RDB.Options()
	o.ClientName = rand.Text()
	rdb := redis.NewClient(&o)
	t.Cleanup(func() { rdb.Close() })
	b := &Board{Stand: s, Handler: sse.New(rdb, cfg), name: o.ClientName}
	var addr string
	t.Cleanup(func() { // behind the server, which is stopped first
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	addr, b.Stop = Up(t, b.Handler, web.ServerConfig{})
	b.URL = "http://" + addr + "/"
	return b
}

// Add writes an event, and returns its ID.
func (b *Board) Add(t testing.TB, typ, key, data string) string {
	t.Helper()
	id, err := b.RDB.XAdd(context.Background(), redistest.Entry(b.Topic, "data", data, "type", typ, "key", key)).
		Result()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Live waits until the stream is read. Later entries are queued for clients rather than read as
// history.
func (b *Board) Live(t testing.TB) {
	t.Helper()
	redistest.Soon(t, "the stream is read", func() bool {
		for line := range strings.Lines(b.RDB.ClientList(context.Background()).Val()) {
			if strings.Contains(line, "name="+b.name+" ") && strings.Contains(line, "cmd=xread ") {
				return true
			}
		}
		return false
	})
}
