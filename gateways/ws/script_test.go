package ws_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// page is the JavaScript client in a Node process.
type page struct {
	t   testing.TB
	in  io.Writer
	cmd *exec.Cmd

	mu     sync.Mutex
	next   int
	done   map[int]chan line
	events []line
}

// line is a line of output of the page.
type line struct {
	ID     int
	Event  string
	Data   json.RawMessage
	Error  string
	Room   string
	From   string
	Cursor string
	Past   bool
}

func (l line) n() int { return frame{Data: l.Data}.n() }

// newPage starts Node with the client of ClientJS.
func newPage(t testing.TB, url string) *page {
	t.Helper()
	script := filepath.Join(t.TempDir(), "client.mjs")
	if err := os.WriteFile(script, ws.ClientJS(), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"testdata/drive.mjs", script, url}
	has, err := exec.Command("node", "-p", "typeof WebSocket").Output()
	if err != nil {
		t.Fatalf("node is needed, 20 or newer: %v", err)
	}
	if strings.TrimSpace(string(has)) != "function" { // before 22
		args = append([]string{"--experimental-websocket"}, args...)
	}
	p := &page{t: t, cmd: exec.Command("node", args...), done: make(map[int]chan line)}
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in = in
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { p.read(out) })
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		reading.Wait()
		_ = p.cmd.Wait()
	})
	return p
}

func (p *page) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			p.t.Errorf("%q: %v", lines.Text(), err)
			continue
		}
		p.mu.Lock()
		if l.Event != "" {
			p.events = append(p.events, l)
		} else {
			p.done[l.ID] <- l
		}
		p.mu.Unlock()
	}
}

// begin calls a method. The returned function waits for the outcome.
func (p *page) begin(method string, args ...any) func() line {
	p.t.Helper()
	c := make(chan line, 1)
	p.mu.Lock()
	p.next++
	id := p.next
	p.done[id] = c
	p.mu.Unlock()
	if args == nil {
		args = []any{}
	}
	b, err := json.Marshal(map[string]any{"id": id, "method": method, "args": args})
	if err == nil {
		_, err = p.in.Write(append(b, '\n'))
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return func() line {
		p.t.Helper()
		select {
		case l := <-c:
			return l
		case <-time.After(redistest.Patience):
			p.t.Fatalf("no outcome of %s", method)
			return line{}
		}
	}
}

func (p *page) do(method string, args ...any) string {
	p.t.Helper()
	l := p.begin(method, args...)()
	if l.Error != "" {
		p.t.Fatalf("%s: %s", method, l.Error)
	}
	return string(l.Data)
}

func (p *page) fails(code, method string, args ...any) {
	p.t.Helper()
	if l := p.begin(method, args...)(); l.Error != code {
		p.t.Errorf("%s: error %q, %s; want %q", method, l.Error, l.Data, code)
	}
}

// of returns the events of a kind so far.
func (p *page) of(event string) (found []line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.events {
		if l.Event == event {
			found = append(found, l)
		}
	}
	return found
}

func (p *page) numbers() (got []int) {
	for _, l := range p.of("msg") {
		got = append(got, l.n())
	}
	return got
}

// front is an address that forwards to the current hub, as a load balancer does.
type front struct {
	*httptest.Server
	to atomic.Pointer[ws.Hub]
}

func newFront(t testing.TB) *front {
	f := &front{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hub := f.to.Load()
		if hub == nil {
			http.Error(w, "nobody is here", http.StatusBadGateway)
			return
		}
		hub.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func count(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func TestClientJS(t *testing.T) {
	t.Parallel()
	whole := t
	s := newStand(t)
	calls := s.services(t)
	cfg := ws.HubConfig{
		Calls:     calls,
		CallTypes: []string{"double", "count", "sleep", "whoami"},
		Limits:    ws.Limits{Rate: -1},
	}
	first, f := s.node(t, cfg), newFront(t)
	f.to.Store(first.hub)
	s.echo(t)
	p := newPage(t, f.URL)
	p.do("connect", map[string]any{"rooms": []string{"lobby"}})
	redistest.Soon(t, "it is open", func() bool { return len(p.of("open")) == 1 })

	t.Run("says and hears", func(t *testing.T) {
		for i := range 50 {
			p.begin("send", "say", said{N: i}, map[string]any{"room": "lobby"})
		}
		redistest.Soon(t, "50 messages", func() bool { return len(p.of("msg")) >= 50 })
		equal(t, "messages", count(50), p.numbers())
		p.fails("not_joined", "send", "say", said{}, map[string]any{"room": "attic"})
		p.do("join", "attic")
		p.do("send", "say", said{N: 50}, map[string]any{"room": "attic"})
		redistest.Soon(t, "the message to the attic", func() bool { return len(p.of("msg")) == 51 })
		equal(t, "room", "attic", p.of("msg")[50].Room)
		p.do("leave", "attic")
		p.fails("not_joined", "send", "say", said{}, map[string]any{"room": "attic"})
	})

	t.Run("calls", func(t *testing.T) {
		equal(t, "answer", "42", p.do("call", "double", 21))
		equal(t, "parts", "[0,1,2]", p.do("stream", "count", 3))
		equal(t, "parts of a stream that is ended early", "[0,1]", p.do("stream", "count", 1_000_000, 2))
		p.fails("no_handler", "call", "drop-tables", nil)
		p.fails("odd", "call", "double", -1)
		p.fails("cancelled", "abort", "sleep", nil)
		p.fails("timeout", "call", "sleep", nil, map[string]any{"timeout": 100})
		redistest.Soon(t, "no call is left", func() bool { return first.hub.Stats().Calls > 0 })
	})

	second := s.node(t, cfg)
	t.Run("goes on at another process", func(t *testing.T) {
		had, broke := len(p.of("msg")), len(p.of("connecting"))
		f.to.Store(nil)
		first.drain(t) // bye
		// Until the page notices, it considers its writes sent.
		redistest.Soon(t, "the page knows", func() bool { return len(p.of("connecting")) > broke })
		s.tell(t, room("lobby", had), room("lobby", had+1))
		sent := p.begin("send", "say", said{N: had + 2}, map[string]any{"room": "lobby"})
		broken := p.begin("call", "double", 4) // not sent yet, so the call is made later
		f.to.Store(second.hub)
		if l := sent(); l.Error != "" {
			t.Errorf("what was said while nobody was there: %s", l.Error)
		}
		equal(t, "a call that was made while nobody was there", "8", string(broken().Data))
		redistest.Soon(t, "what came meanwhile", func() bool { return len(p.of("msg")) == had+3 })
		equal(t, "all messages", count(had+3), p.numbers())
		var status struct{ Resumed bool }
		_ = json.Unmarshal(p.of("open")[1].Data, &status)
		equal(t, "resumed", true, status.Resumed)
	})

	t.Run("a gap is told", func(t *testing.T) {
		had := len(p.of("msg"))
		f.to.Store(nil)
		second.drain(t)
		s.tell(t, room("lobby", had), room("lobby", had+1), room("lobby", had+2))
		s.rdb.XTrimMaxLen(t.Context(), "{"+s.name+"}:out", 1)
		third := s.node(whole, cfg)
		f.to.Store(third.hub)
		redistest.Soon(t, "the last message", func() bool { return len(p.of("msg")) == had+1 })
		equal(t, "message", had+2, p.of("msg")[had].n())
		equal(t, "gaps", 1, len(p.of("gap")))
	})

	t.Run("goes on after a reload", func(t *testing.T) {
		had := len(p.of("msg"))
		state := json.RawMessage(p.do("state"))
		p.do("close")
		p.fails("closed", "send", "say", said{})
		s.tell(t, room("lobby", 1000))
		p.do("connect", map[string]any{"state": state})
		redistest.Soon(t, "what was missed", func() bool { return len(p.of("msg")) == had+1 })
		equal(t, "message", 1000, p.of("msg")[had].n())
		p.do("close")
	})
	equal(t, "errors that belong to nothing", []line(nil), p.of("error"))
}

// A page does not mistake its own suspension for silence of the server. It pings, and waits for the
// answer.
func TestClientJSStall(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	n := s.node(t, ws.HubConfig{})
	far := redistest.StartProxy(t, n.srv.Listener.Addr().String())
	far.Shape(redistest.Traffic{Latency: 200 * time.Millisecond})
	p := newPage(t, "http://"+far.Addr())
	// The option silence also limits the time for an answer, so a short one fails on a busy
	// machine.
	p.do("connect", map[string]any{"rooms": []string{"lobby"}, "silence": 8000})
	redistest.Soon(t, "it is open", func() bool { return len(p.of("open")) == 1 })
	received := n.hub.Stats().Received
	p.do("stall", 9000)
	redistest.Soon(t, "it asks", func() bool { return n.hub.Stats().Received > received })
	p.do("stall", 9000) // the answer arrives meanwhile
	p.do("send", "say", said{}, map[string]any{"room": "lobby"})
	equal(t, "sockets", uint64(1), n.hub.Stats().Opened)
	p.do("close")
}

// services runs a service for the tests' calls, and returns a client.
func (s *stand) services(t testing.TB) *gateways.Client {
	t.Helper()
	topic := s.name + ":calls"
	svc := gateways.NewService(s.rdb, topic, gateways.ServiceConfig{})
	gateways.Handle(svc, "double", func(_ context.Context, n int) (int, error) {
		if n < 0 {
			return 0, gateways.Errorf("odd", "that is odd")
		}
		return 2 * n, nil
	})
	gateways.HandleStream(svc, "count", func(_ context.Context, n int, send func(int) error) error {
		for i := range n {
			if err := send(i); err != nil {
				return err
			}
		}
		return nil
	})
	gateways.Handle(svc, "sleep", func(ctx context.Context, _ any) (int, error) {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	})
	gateways.Handle(svc, "fail", func(context.Context, any) (int, error) { return 0, errors.New("a detail") })
	gateways.Handle(svc, "text", func(context.Context, any) (string, error) { return `say "hi"`, nil })
	svc.HandleFunc("whoami", func(_ context.Context, r *gateways.Request) (gateways.Response, error) {
		user, _ := r.Headers.Get(gateways.HeaderIdentity)
		session, _ := r.Headers.Get(ws.HeaderSession)
		return gateways.Response{Body: fmt.Appendf(nil, "[%q,%q]", user, session)}, nil
	})
	rig.Start(t, svc.Graph())
	c := gateways.NewClient(s.rdb, topic, patient)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("close client: %v", err)
		}
	})
	return c
}

func TestScript(t *testing.T) {
	srv := httptest.NewServer(ws.Script())
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	equal(t, "type", "text/javascript; charset=utf-8", res.Header.Get("Content-Type"))
	equal(t, "body", string(ws.ClientJS()), string(body))
	req, _ := http.NewRequest(http.MethodGet, srv.URL, nil)
	req.Header.Set("If-None-Match", res.Header.Get("ETag"))
	res, err = http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	equal(t, "status when the browser has it", http.StatusNotModified, res.StatusCode)
	http.DefaultClient.CloseIdleConnections()
}
