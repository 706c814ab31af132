package sse_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestSSE(t *testing.T) {
	t.Parallel()
	b := rig.NewBoard(t, sse.Config{Retry: 1500 * time.Millisecond})
	c := rig.Subscribe(t, b.URL)
	if c.Status != http.StatusOK {
		t.Fatal(c.Status)
	}
	want := map[string]string{
		"Content-Type":                "text/event-stream; charset=utf-8",
		"Cache-Control":               "no-store, no-transform",
		"X-Accel-Buffering":           "no",
		"X-Content-Type-Options":      "nosniff",
		"Access-Control-Allow-Origin": "",
	}
	for name, value := range want {
		if got := c.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if line, _ := c.Lines.ReadString('\n'); line != "retry: 1500\n" {
		t.Errorf("it begins with %q", line)
	}
	first := b.Add(t, "note", "", "one\ntwo")
	second := b.Add(t, "", "", `{"a":1}`)
	for _, want := range []rig.Message{{ID: first, Type: "note", Data: "one\ntwo"}, {ID: second, Type: "message", Data: `{"a":1}`}} {
		if got, _ := c.Next(); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if s := b.Stats(); s.Clients != 1 || s.Streams != 1 {
		t.Errorf("%+v", s)
	}
	c.End()
	redistest.Soon(t, "the client has left", func() bool { return b.Stats().Clients == 0 })
}

func TestSSEResumes(t *testing.T) {
	t.Parallel()
	b := rig.NewBoard(t, sse.Config{From: "0"})
	var ids []string
	for i := range 5 {
		ids = append(ids, b.Add(t, "n", "", fmt.Sprint(i)))
	}
	for name, c := range map[string]struct {
		url, header string
		want        []string
	}{
		"header":                 {b.URL, ids[2], []string{"3", "4"}},
		"query":                  {b.URL + "?last-event-id=" + ids[3], "", []string{"4"}},
		"the header comes first": {b.URL + "?last-event-id=" + ids[0], ids[3], []string{"4"}},
		"a first visit":          {b.URL, "", []string{"0", "1", "2", "3", "4"}},
	} {
		got := rig.Subscribe(t, c.url, "Last-Event-ID: "+c.header).Data(len(c.want))
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if n := b.Stats().Streams; n != 1 {
		t.Errorf("%d streams are read", n)
	}
}

// A client that reconnects after a trim receives a gap event, then the remaining events.
func TestSSETellsGaps(t *testing.T) {
	t.Parallel()
	b := rig.NewBoard(t, sse.Config{})
	first := b.Add(t, "n", "", "0")
	for i := range 5 {
		b.Add(t, "n", "", fmt.Sprint(i+1))
	}
	b.RDB.XTrimMaxLen(t.Context(), b.Topic, 2)
	c := rig.Subscribe(t, b.URL, "Last-Event-ID: "+first)
	gap, _ := c.Next()
	if gap.Type != "gap" || gap.Data != `{"from":"`+first+`","to":"`+gap.ID+`","missed":-1}` {
		t.Errorf("got %+v", gap)
	}
	if diff := cmp.Diff([]string{"4", "5"}, c.Data(2)); diff != "" {
		t.Errorf("behind the gap (-want +got):\n%s", diff)
	}
}

// The IDs that clients send may be anything.
func TestSSEForgedIDs(t *testing.T) {
	t.Parallel()
	b := rig.NewBoard(t, sse.Config{})
	last := b.Add(t, "n", "", "before")
	for _, id := range []string{"x", "$", "+", "-", "1-", "99999999999999999999-0",
		"18446744073709551615-18446744073709551615", "1-1",
		strings.Repeat("1", 5000), "1-0 ; FLUSHALL", "0x1-0"} {
		c := rig.Subscribe(t, b.URL, "Last-Event-ID: "+id)
		if c.Status != http.StatusOK {
			t.Fatalf("%.40q: %d", id, c.Status)
		}
		gap, _ := c.Next()
		if gap.Type != "gap" || !strings.HasSuffix(gap.Data, `"missed":-1}`) || strings.Contains(gap.Data, "FLUSHALL") {
			t.Errorf("%.40q: %+v", id, gap)
		}
		c.End()
	}
	if n := b.RDB.XLen(t.Context(), b.Topic).Val(); n != 1 || last == "" {
		t.Errorf("the stream has %d entries", n)
	}
}

// A client receives only the topics of its feed. Topics are the keys of events.
func TestSSEFeeds(t *testing.T) {
	t.Parallel()
	var key string
	b := rig.NewBoard(t, sse.Config{Feed: func(r *http.Request, _ gateways.Identity) (sse.Feed, error) {
		switch user := r.Header.Get("User"); user {
		case "":
			return sse.Feed{}, gateways.Errorf(gateways.CodeUnauthorized, "who are you?")
		case "mallory":
			return sse.Feed{}, errors.New("a reason that is nobody's business")
		case "nobody":
			return sse.Feed{}, nil
		case "deaf":
			return sse.Feed{Key: key}, nil
		default:
			return sse.Feed{Key: key, Topics: []string{user, "all"}}, nil
		}
	}})
	key = b.Topic
	for user, want := range map[string]int{"": 401, "mallory": 403, "nobody": 404} {
		c := rig.Subscribe(t, b.URL+"?key=secrets&stream=secrets", "User: "+user)
		body, _ := io.ReadAll(c.Body)
		if c.Status != want || strings.Contains(string(body), "business") {
			t.Errorf("%q: %d %s", user, c.Status, body)
		}
	}
	ann, bob, deaf := rig.Subscribe(
		t,
		b.URL,
		"User: ann",
	), rig.Subscribe(
		t,
		b.URL,
		"User: bob",
	), rig.Subscribe(
		t,
		b.URL,
		"User: deaf",
	)
	b.Add(t, "n", "ann", "for ann")
	b.Add(t, "n", "bob", "for bob")
	b.Add(t, "n", "", "for nobody")
	b.Add(t, "n", "all", "for all")
	if diff := cmp.Diff([]string{"for ann", "for all"}, ann.Data(2)); diff != "" {
		t.Errorf("ann (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"for bob", "for all"}, bob.Data(2)); diff != "" {
		t.Errorf("bob (-want +got):\n%s", diff)
	}
	deaf.End()
	for {
		m, ok := deaf.Next()
		if !ok {
			break
		}
		t.Errorf("who wants nothing gets %+v", m)
	}
}

// Line breaks in a type would forge fields; in data they begin lines of data. Types of the
// gateway's own can't be forged.
func TestSSEInjection(t *testing.T) {
	t.Parallel()
	b := rig.NewBoard(t, sse.Config{From: "0"})
	b.Add(t, "evil\ndata: forged\n\nevent: x", "", "1")
	b.Add(t, "evil\rdata: forged", "", "2")
	b.Add(t, "gap", "", "{}")
	b.Add(t, "overflow", "", "{}")
	b.Add(t, "bad\xff", "", "{}")
	b.Add(t, "ok", "", "a\r\nid: 999-0\revent: forged\n\ndata: x\n\n")
	b.Add(t, "ok", "", "\xff\x00")
	b.RDB.XAdd(t.Context(), redistest.Entry(b.Topic, "no", "data"))
	c := rig.Subscribe(t, b.URL)
	got, _ := c.Next()
	if want := "a\nid: 999-0\nevent: forged\n\ndata: x\n\n"; got.Type != "ok" || got.Data != want ||
		strings.HasPrefix(got.ID, "999") {
		t.Errorf("got %+v", got)
	}
	if got, _ := c.Next(); got.Data != "\uFFFD\x00" {
		t.Errorf("got %+v", got)
	}
}

// A silent connection receives heartbeats. They advance the ID past the events of other clients.
func TestSSEHeartbeats(t *testing.T) {
	t.Parallel()
	var key string
	b := rig.NewBoard(
		t,
		sse.Config{Heartbeat: 5 * time.Millisecond, Feed: func(*http.Request, gateways.Identity) (sse.Feed, error) {
			return sse.Feed{Key: key, Topics: []string{"mine"}}, nil
		}},
	)
	key = b.Topic
	c := rig.Subscribe(t, b.URL)
	other := b.Add(t, "n", "another's", "x")
	for c.Id != other {
		line, err := c.Lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, ":") {
			c.Beats++
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			c.Id = strings.TrimSpace(id)
		}
	}
	b.Add(t, "n", "mine", "y")
	if diff := cmp.Diff([]string{"y"}, c.Data(1)); diff != "" || c.Beats == 0 {
		t.Errorf("%d heartbeats; %s", c.Beats, diff)
	}
}

func TestSSETooMany(t *testing.T) {
	t.Parallel()
	var n int
	var b *rig.Board
	b = rig.NewBoard(
		t,
		sse.Config{MaxClients: 2, MaxStreams: 1, Feed: func(r *http.Request, _ gateways.Identity) (sse.Feed, error) {
			return sse.Feed{Key: b.Topic + r.URL.Query().Get("k"), All: true}, nil
		}},
	)
	first := rig.Subscribe(t, b.URL)
	refused := func(url string) {
		t.Helper()
		n++
		c := rig.Subscribe(t, url)
		if c.Status != http.StatusServiceUnavailable || c.Header.Get("Retry-After") == "" {
			t.Errorf("%d, Retry-After %q", c.Status, c.Header.Get("Retry-After"))
		}
	}
	refused(b.URL + "?k=2") // a second stream
	second := rig.Subscribe(t, b.URL)
	refused(b.URL) // a third client
	if s := b.Stats(); s.Clients != 2 || s.Refused != int64(n) {
		t.Errorf("%+v", s)
	}
	first.End()
	second.End()
	redistest.Soon(t, "there is room again", func() bool { return b.Stats().Clients == 0 })
	if c := rig.Subscribe(t, b.URL); c.Status != http.StatusOK {
		t.Errorf("afterwards: %d", c.Status)
	}
}

// A client that does not read is disconnected, and holds no more than its queue.
func TestSSESlowReader(t *testing.T) {
	t.Parallel()
	b := rig.NewBoard(t, sse.Config{WriteTimeout: 50 * time.Millisecond, Queue: 4})
	tries := int64(0) // a busy machine may cut off a client at once
	redistest.Soon(t, "it is connected", func() bool {
		s := b.Stats()
		if s.Clients == 0 && s.Broken == tries {
			tries++
			c := rig.Dial(t, strings.TrimSuffix(strings.TrimPrefix(b.URL, "http://"), "/"))
			fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		return s.Clients == 1
	})
	big := strings.Repeat("x", 256<<10)
	redistest.Soon(t, "it is cut off", func() bool {
		b.Add(t, "n", "", big)
		b.RDB.XTrimMaxLen(t.Context(), b.Topic, 10)
		return b.Stats().Clients == 0
	})
	if s := b.Stats(); s.Broken != tries {
		t.Errorf("%+v", s)
	}
}

// gated is a connection with writes that block until the test lets them through.
type gated struct {
	*httptest.ResponseRecorder
	began chan struct{} // a write begins
	pass  chan struct{} // and may go on
}

func (g *gated) FlushError() error {
	g.began <- struct{}{}
	<-g.pass
	return nil
}

func TestSSEOverflow(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		policy sse.Overflow
		want   []string
	}{
		"pause":       {sse.OverflowPause, []string{"n 0", "n 1", "n 2", "n 3", "n 4", "n 5", "n 6", "n 7", "n 8", "n 9"}},
		"drop oldest": {sse.OverflowDropOldest, []string{"n 0", "gap 5", "n 6", "n 7", "n 8", "n 9"}},
		"close":       {sse.OverflowClose, []string{"n 0", "overflow {}"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := rig.NewBoard(t, sse.Config{Overflow: test.policy, Queue: 4, Heartbeat: redistest.Patience})
			watch := rig.Subscribe(t, b.URL) // reads all events, so the other client could have them too
			b.Live(t)
			ctx, cancel := context.WithCancel(t.Context())
			w := &gated{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
			served := make(chan struct{})
			go func() {
				defer close(served)
				b.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
			}()
			<-w.began
			w.pass <- struct{}{}
			b.Add(t, "n", "", "0")
			<-w.began // the first event is being written
			watch.Data(1)
			for i := range 9 {
				b.Add(t, "n", "", fmt.Sprint(i+1))
				watch.Data(1)
			}
			rig.Subscribe(t, b.URL).End() // it begins when all clients have been given the last event
			var got []string
			for len(got) < len(test.want) {
				w.pass <- struct{}{} // nothing is written until the next pass
				select {
				case <-w.began:
				case <-served:
				}
				got = nil
				c := &rig.SSEClient{T: t, Lines: bufio.NewReader(strings.NewReader(w.Body.String()))}
				for m, ok := c.Next(); ok; m, ok = c.Next() {
					if m.Type == "gap" {
						m.Data = strings.TrimSuffix(m.Data[strings.LastIndex(m.Data, ":")+1:], "}")
					}
					got = append(got, m.Type+" "+m.Data)
				}
			}
			cancel()
			select {
			case w.pass <- struct{}{}:
				<-served
			case <-served:
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSSEConfig(t *testing.T) {
	t.Parallel()
	bad := sse.New(
		nil,
		sse.Config{
			Overflow:     9,
			From:         "$",
			Queue:        -1,
			Heartbeat:    -1,
			Retry:        -1,
			WriteTimeout: -1,
			MaxClients:   -1,
			MaxStreams:   -1,
			Origins:      []string{"*", "example.com"},
			Credentials:  true,
		},
	)
	var fields []string
	for _, err := range rig.Flat(bad.Validate()) {
		var c *redisio.ConfigError
		if errors.As(err, &c) && c.Fix != "" {
			fields = append(fields, c.Field)
		}
	}
	want := []string{
		"Key",
		"Overflow",
		"From",
		"Queue",
		"Heartbeat",
		"Retry",
		"WriteTimeout",
		"MaxClients",
		"MaxStreams",
		"Credentials",
		"Origins",
		"rdb",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if got := rig.Ask(bad, rig.Asked(http.MethodGet, "/", "")); got.Status != http.StatusInternalServerError {
		t.Errorf("it serves: %d", got.Status)
	}
}

func TestSSEMethods(t *testing.T) {
	t.Parallel()
	b := rig.NewBoard(t, sse.Config{})
	if got := rig.Ask(b, rig.Asked(http.MethodPost, "/", "{}")); got.Status != http.StatusMethodNotAllowed ||
		got.Header.Get("Allow") == "" {
		t.Errorf("POST: %+v", got)
	}
	if got := rig.Ask(b, rig.Asked(http.MethodHead, "/", "")); got.Status != http.StatusOK || got.Body != "" ||
		!strings.HasPrefix(got.Header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("HEAD: %+v", got)
	}
	if got := rig.Ask(b, rig.Asked(http.MethodOptions, "/", "")); got.Status != http.StatusNoContent ||
		got.Header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("OPTIONS: %+v", got)
	}
}

func TestSSECrossOrigin(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg                sse.Config
		origin             string
		allow, credentials string
	}{
		"none by default": {sse.Config{}, "https://a.example", "", ""},
		"one of them":     {sse.Config{Origins: []string{"https://a.example"}, Credentials: true}, "https://a.example", "https://a.example", "true"},
		"not one of them": {sse.Config{Origins: []string{"https://a.example"}, Credentials: true}, "https://a.example.evil", "", ""},
		"null":            {sse.Config{Origins: []string{"https://a.example"}}, "null", "", ""},
		"all":             {sse.Config{Origins: []string{"*"}}, "https://b.example", "*", ""},
	} {
		b := rig.NewBoard(t, test.cfg)
		c := rig.Subscribe(t, b.URL, "Origin: "+test.origin)
		if got := c.Header.Get("Access-Control-Allow-Origin"); got != test.allow {
			t.Errorf("%s: allows %q", name, got)
		}
		if got := c.Header.Get("Access-Control-Allow-Credentials"); got != test.credentials {
			t.Errorf("%s: credentials %q", name, got)
		}
		if len(test.cfg.Origins) > 0 && c.Header.Get("Vary") != "Origin" {
			t.Errorf("%s: a cache may mix origins", name)
		}
		pre := rig.Ask(
			b,
			rig.Asked(
				http.MethodOptions,
				"/",
				"",
				"Origin: "+test.origin,
				"Access-Control-Request-Method: GET",
				"Access-Control-Request-Headers: last-event-id",
			),
		)
		if got := pre.Header.Get("Access-Control-Allow-Headers") != ""; got != (test.allow != "") {
			t.Errorf("%s: preflight %+v", name, pre)
		}
	}
}

// HTTP/2 carries events too.
func TestSSEHTTP2(t *testing.T) {
	t.Parallel()
	for timeout := time.Second; !http2(t, timeout); timeout *= 2 { // a busy machine may be slower than a second
		if timeout > redistest.Patience/8 {
			t.Fatal("a silent client is cut off")
		}
	}
}

// http2 reports whether a client is served for longer than the WriteTimeout.
func http2(t *testing.T, timeout time.Duration) bool {
	t.Helper()
	s := rig.NewStand(t)
	g := sse.New(
		s.RDB,
		sse.Config{Key: s.Topic, WriteTimeout: timeout, Heartbeat: timeout * 3 / 2},
	)
	srv := httptest.NewUnstartedServer(g)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	b := &rig.Board{Stand: s, Handler: g}
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(tr.CloseIdleConnections)
	c := rig.SubscribeBy(t, &http.Client{Transport: tr}, srv.URL)
	defer c.End()
	b.Add(t, "n", "", "0")
	if _, ok := c.Next(); !ok {
		return false
	}
	for c.Beats < 2 { // longer than WriteTimeout: a silent client is not slow
		line, err := c.Lines.ReadString('\n')
		if err != nil {
			return false
		}
		if strings.HasPrefix(line, ":") {
			c.Beats++
		}
	}
	b.Add(t, "n", "", "1")
	m, ok := c.Next()
	if ok && m.Data != "1" {
		t.Errorf("got %+v", m)
	}
	return ok
}

// When a server stops, its clients resume at another server.
func TestSSEGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	b := rig.NewBoard(t, sse.Config{})
	c := rig.Subscribe(t, b.URL)
	b.Add(t, "n", "", "0")
	c.Data(1)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	if m, ok := c.Next(); ok {
		t.Errorf("after the end: %+v", m)
	}
	b.Add(t, "n", "", "1")
	other := sse.New(b.RDB, sse.Config{Key: b.Topic})
	t.Cleanup(func() {
		if err := other.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	addr, _ := rig.Up(t, other, web.ServerConfig{})
	if diff := cmp.Diff([]string{"1"}, rig.Subscribe(t, "http://"+addr, "Last-Event-ID: "+c.Id).Data(1)); diff != "" {
		t.Error(diff)
	}
}

func TestSSECloses(t *testing.T) {
	t.Parallel()
	b := rig.NewBoard(t, sse.Config{})
	c := rig.Subscribe(t, b.URL)
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if m, ok := c.Next(); ok {
		t.Errorf("after the end: %+v", m)
	}
	if c := rig.Subscribe(t, b.URL); c.Status != http.StatusServiceUnavailable || c.Header.Get("Retry-After") == "" {
		t.Errorf("afterwards: %d", c.Status)
	}
}

func TestServeStream(t *testing.T) {
	t.Parallel()
	seq := func(fail error, values ...int) func(func(int, error) bool) {
		return func(yield func(int, error) bool) {
			for _, v := range values {
				if !yield(v, nil) {
					return
				}
			}
			if fail != nil {
				yield(0, fail)
			}
		}
	}
	serve := func(fail error, values []int, headers ...string) rig.Reply {
		w := httptest.NewRecorder()
		sse.ServeStream(w, rig.Asked(http.MethodGet, "/", "", headers...), seq(fail, values...))
		return rig.Reply{Status: w.Code, Header: w.Result().Header, Body: w.Body.String()}
	}
	gone := gateways.Errorf(gateways.CodeNotFound, "no such thing")
	if got := serve(nil,
		[]int{1, 2}); got.Body != "id: 1\ndata: 1\n\nid: 2\ndata: 2\n\nid: 3\nevent: end\ndata: {}\n\n" {
		t.Errorf("two values: %q", got.Body)
	}
	if got := serve(nil, nil); got.Body != "id: 1\nevent: end\ndata: {}\n\n" {
		t.Errorf("none: %q", got.Body)
	}
	if got := serve(gone, nil); got.Status != http.StatusNotFound {
		t.Errorf("an error at once: %+v", got)
	}
	if got := serve(gone, []int{1}); got.Status != http.StatusOK ||
		!strings.HasSuffix(
			got.Body,
			"event: failure\ndata: {\"error\":{\"code\":\"not_found\",\"message\":\"no such thing\"}}\n\n",
		) {
		t.Errorf("an error later: %+v", got)
	}
	if got := serve(nil, []int{1}, "Last-Event-ID: 2"); got.Status != http.StatusNoContent {
		t.Errorf("a browser that comes again: %+v", got)
	}
}
