package gateways_test

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
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestSSE(t *testing.T) {
	t.Parallel()
	b := newBoard(t, gateways.SSEConfig{Retry: 1500 * time.Millisecond})
	c := subscribe(t, b.url)
	if c.status != http.StatusOK {
		t.Fatal(c.status)
	}
	want := map[string]string{
		"Content-Type":                "text/event-stream; charset=utf-8",
		"Cache-Control":               "no-store, no-transform",
		"X-Accel-Buffering":           "no",
		"X-Content-Type-Options":      "nosniff",
		"Access-Control-Allow-Origin": "",
	}
	for name, value := range want {
		if got := c.header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if line, _ := c.lines.ReadString('\n'); line != "retry: 1500\n" {
		t.Errorf("it begins with %q", line)
	}
	first := b.add(t, "note", "", "one\ntwo")
	second := b.add(t, "", "", `{"a":1}`)
	for _, want := range []message{{first, "note", "one\ntwo"}, {second, "message", `{"a":1}`}} {
		if got, _ := c.next(); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if s := b.Stats(); s.Clients != 1 || s.Streams != 1 {
		t.Errorf("%+v", s)
	}
	c.end()
	redistest.Soon(t, "the client has left", func() bool { return b.Stats().Clients == 0 })
}

func TestSSEResumes(t *testing.T) {
	t.Parallel()
	b := newBoard(t, gateways.SSEConfig{From: "0"})
	var ids []string
	for i := range 5 {
		ids = append(ids, b.add(t, "n", "", fmt.Sprint(i)))
	}
	for name, c := range map[string]struct {
		url, header string
		want        []string
	}{
		"header":                 {b.url, ids[2], []string{"3", "4"}},
		"query":                  {b.url + "?last-event-id=" + ids[3], "", []string{"4"}},
		"the header comes first": {b.url + "?last-event-id=" + ids[0], ids[3], []string{"4"}},
		"a first visit":          {b.url, "", []string{"0", "1", "2", "3", "4"}},
	} {
		got := subscribe(t, c.url, "Last-Event-ID: "+c.header).data(len(c.want))
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if n := b.Stats().Streams; n != 1 {
		t.Errorf("%d streams are read", n)
	}
}

// Who comes back after a trim is told what it can't have, and where it goes on.
func TestSSETellsGaps(t *testing.T) {
	t.Parallel()
	b := newBoard(t, gateways.SSEConfig{})
	first := b.add(t, "n", "", "0")
	for i := range 5 {
		b.add(t, "n", "", fmt.Sprint(i+1))
	}
	b.rdb.XTrimMaxLen(t.Context(), b.topic, 2)
	c := subscribe(t, b.url, "Last-Event-ID: "+first)
	gap, _ := c.next()
	if gap.Type != "gap" || gap.Data != `{"from":"`+first+`","to":"`+gap.ID+`","missed":-1}` {
		t.Errorf("got %+v", gap)
	}
	if diff := cmp.Diff([]string{"4", "5"}, c.data(2)); diff != "" {
		t.Errorf("behind the gap (-want +got):\n%s", diff)
	}
}

// The IDs that clients send may be anything.
func TestSSEForgedIDs(t *testing.T) {
	t.Parallel()
	b := newBoard(t, gateways.SSEConfig{})
	last := b.add(t, "n", "", "before")
	for _, id := range []string{"x", "$", "+", "-", "1-", "99999999999999999999-0",
		"18446744073709551615-18446744073709551615", "1-1",
		strings.Repeat("1", 5000), "1-0 ; FLUSHALL", "0x1-0"} {
		c := subscribe(t, b.url, "Last-Event-ID: "+id)
		if c.status != http.StatusOK {
			t.Fatalf("%.40q: %d", id, c.status)
		}
		gap, _ := c.next()
		if gap.Type != "gap" || !strings.HasSuffix(gap.Data, `"missed":-1}`) || strings.Contains(gap.Data, "FLUSHALL") {
			t.Errorf("%.40q: %+v", id, gap)
		}
		c.end()
	}
	if n := b.rdb.XLen(t.Context(), b.topic).Val(); n != 1 || last == "" {
		t.Errorf("the stream has %d entries", n)
	}
}

// A client gets the topics that its feed says, and nothing else; topics are the keys of events.
func TestSSEFeeds(t *testing.T) {
	t.Parallel()
	var key string
	b := newBoard(t, gateways.SSEConfig{Feed: func(r *http.Request) (gateways.Feed, error) {
		switch user := r.Header.Get("User"); user {
		case "":
			return gateways.Feed{}, gateways.Errorf(gateways.CodeUnauthorized, "who are you?")
		case "mallory":
			return gateways.Feed{}, errors.New("a reason that is nobody's business")
		case "nobody":
			return gateways.Feed{}, nil
		case "deaf":
			return gateways.Feed{Key: key}, nil
		default:
			return gateways.Feed{Key: key, Topics: []string{user, "all"}}, nil
		}
	}})
	key = b.topic
	for user, want := range map[string]int{"": 401, "mallory": 403, "nobody": 404} {
		c := subscribe(t, b.url+"?key=secrets&stream=secrets", "User: "+user)
		body, _ := io.ReadAll(c.body)
		if c.status != want || strings.Contains(string(body), "business") {
			t.Errorf("%q: %d %s", user, c.status, body)
		}
	}
	ann, bob, deaf := subscribe(
		t,
		b.url,
		"User: ann",
	), subscribe(
		t,
		b.url,
		"User: bob",
	), subscribe(
		t,
		b.url,
		"User: deaf",
	)
	b.add(t, "n", "ann", "for ann")
	b.add(t, "n", "bob", "for bob")
	b.add(t, "n", "", "for nobody")
	b.add(t, "n", "all", "for all")
	if diff := cmp.Diff([]string{"for ann", "for all"}, ann.data(2)); diff != "" {
		t.Errorf("ann (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"for bob", "for all"}, bob.data(2)); diff != "" {
		t.Errorf("bob (-want +got):\n%s", diff)
	}
	deaf.end()
	for {
		m, ok := deaf.next()
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
	b := newBoard(t, gateways.SSEConfig{From: "0"})
	b.add(t, "evil\ndata: forged\n\nevent: x", "", "1")
	b.add(t, "evil\rdata: forged", "", "2")
	b.add(t, "gap", "", "{}")
	b.add(t, "overflow", "", "{}")
	b.add(t, "bad\xff", "", "{}")
	b.add(t, "ok", "", "a\r\nid: 999-0\revent: forged\n\ndata: x\n\n")
	b.add(t, "ok", "", "\xff\x00")
	b.rdb.XAdd(t.Context(), redistest.Entry(b.topic, "no", "data"))
	c := subscribe(t, b.url)
	got, _ := c.next()
	if want := "a\nid: 999-0\nevent: forged\n\ndata: x\n\n"; got.Type != "ok" || got.Data != want ||
		strings.HasPrefix(got.ID, "999") {
		t.Errorf("got %+v", got)
	}
	if got, _ := c.next(); got.Data != "\uFFFD\x00" {
		t.Errorf("got %+v", got)
	}
}

// A silent connection has heartbeats, which move the ID on past what was for others.
func TestSSEHeartbeats(t *testing.T) {
	t.Parallel()
	var key string
	b := newBoard(
		t,
		gateways.SSEConfig{Heartbeat: 5 * time.Millisecond, Feed: func(*http.Request) (gateways.Feed, error) {
			return gateways.Feed{Key: key, Topics: []string{"mine"}}, nil
		}},
	)
	key = b.topic
	c := subscribe(t, b.url)
	other := b.add(t, "n", "another's", "x")
	for c.id != other {
		line, err := c.lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, ":") {
			c.beats++
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			c.id = strings.TrimSpace(id)
		}
	}
	b.add(t, "n", "mine", "y")
	if diff := cmp.Diff([]string{"y"}, c.data(1)); diff != "" || c.beats == 0 {
		t.Errorf("%d heartbeats; %s", c.beats, diff)
	}
}

func TestSSETooMany(t *testing.T) {
	t.Parallel()
	var n int
	var b *board
	b = newBoard(
		t,
		gateways.SSEConfig{MaxClients: 2, MaxStreams: 1, Feed: func(r *http.Request) (gateways.Feed, error) {
			return gateways.Feed{Key: b.topic + r.URL.Query().Get("k"), All: true}, nil
		}},
	)
	first := subscribe(t, b.url)
	refused := func(url string) {
		t.Helper()
		n++
		c := subscribe(t, url)
		if c.status != http.StatusServiceUnavailable || c.header.Get("Retry-After") == "" {
			t.Errorf("%d, Retry-After %q", c.status, c.header.Get("Retry-After"))
		}
	}
	refused(b.url + "?k=2") // a second stream
	second := subscribe(t, b.url)
	refused(b.url) // a third client
	if s := b.Stats(); s.Clients != 2 || s.Refused != int64(n) {
		t.Errorf("%+v", s)
	}
	first.end()
	second.end()
	redistest.Soon(t, "there is room again", func() bool { return b.Stats().Clients == 0 })
	if c := subscribe(t, b.url); c.status != http.StatusOK {
		t.Errorf("afterwards: %d", c.status)
	}
}

// A client that does not read is cut off, and costs no more than its queue.
func TestSSESlowReader(t *testing.T) {
	t.Parallel()
	b := newBoard(t, gateways.SSEConfig{WriteTimeout: 50 * time.Millisecond, Queue: 4})
	c := dial(t, strings.TrimSuffix(strings.TrimPrefix(b.url, "http://"), "/"))
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	redistest.Soon(t, "it is connected", func() bool { return b.Stats().Clients == 1 })
	big := strings.Repeat("x", 256<<10)
	redistest.Soon(t, "it is cut off", func() bool {
		b.add(t, "n", "", big)
		b.rdb.XTrimMaxLen(t.Context(), b.topic, 10)
		return b.Stats().Clients == 0
	})
	if s := b.Stats(); s.Broken != 1 {
		t.Errorf("%+v", s)
	}
}

// gated is a connection whose writes wait until the test lets them through.
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
		policy gateways.Overflow
		want   []string
	}{
		"pause":       {gateways.OverflowPause, []string{"n 0", "n 1", "n 2", "n 3", "n 4", "n 5", "n 6", "n 7", "n 8", "n 9"}},
		"drop oldest": {gateways.OverflowDropOldest, []string{"n 0", "gap 5", "n 6", "n 7", "n 8", "n 9"}},
		"close":       {gateways.OverflowClose, []string{"n 0", "overflow {}"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBoard(t, gateways.SSEConfig{Overflow: test.policy, Queue: 4})
			watch := subscribe(t, b.url) // reads all: what it has the other could have too
			b.live(t)
			ctx, cancel := context.WithCancel(t.Context())
			w := &gated{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
			served := make(chan struct{})
			go func() {
				defer close(served)
				b.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
			}()
			<-w.began
			w.pass <- struct{}{}
			b.add(t, "n", "", "0")
			<-w.began // and the first is on its way
			watch.data(1)
			for i := range 9 {
				b.add(t, "n", "", fmt.Sprint(i+1))
				watch.data(1)
			}
			var got []string
			for len(got) < len(test.want) {
				w.pass <- struct{}{} // nothing is written from here on until it passes again
				select {
				case <-w.began:
				case <-served:
				}
				got = nil
				c := &sse{t: t, lines: bufio.NewReader(strings.NewReader(w.Body.String()))}
				for m, ok := c.next(); ok; m, ok = c.next() {
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
	bad := gateways.SSE(
		nil,
		gateways.SSEConfig{
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
	for _, err := range flat(bad.Validate()) {
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
	if got := ask(bad, asked(http.MethodGet, "/", "")); got.status != http.StatusInternalServerError {
		t.Errorf("it serves: %d", got.status)
	}
}

func flat(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range many.Unwrap() {
			all = append(all, flat(e)...)
		}
		return all
	}
	return []error{err}
}

func TestSSEMethods(t *testing.T) {
	t.Parallel()
	b := newBoard(t, gateways.SSEConfig{})
	if got := ask(b, asked(http.MethodPost, "/", "{}")); got.status != http.StatusMethodNotAllowed ||
		got.header.Get("Allow") == "" {
		t.Errorf("POST: %+v", got)
	}
	if got := ask(b, asked(http.MethodHead, "/", "")); got.status != http.StatusOK || got.body != "" ||
		!strings.HasPrefix(got.header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("HEAD: %+v", got)
	}
	if got := ask(b, asked(http.MethodOptions, "/", "")); got.status != http.StatusNoContent ||
		got.header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("OPTIONS: %+v", got)
	}
}

func TestSSECrossOrigin(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg                gateways.SSEConfig
		origin             string
		allow, credentials string
	}{
		"none by default": {gateways.SSEConfig{}, "https://a.example", "", ""},
		"one of them":     {gateways.SSEConfig{Origins: []string{"https://a.example"}, Credentials: true}, "https://a.example", "https://a.example", "true"},
		"not one of them": {gateways.SSEConfig{Origins: []string{"https://a.example"}, Credentials: true}, "https://a.example.evil", "", ""},
		"null":            {gateways.SSEConfig{Origins: []string{"https://a.example"}}, "null", "", ""},
		"all":             {gateways.SSEConfig{Origins: []string{"*"}}, "https://b.example", "*", ""},
	} {
		b := newBoard(t, test.cfg)
		c := subscribe(t, b.url, "Origin: "+test.origin)
		if got := c.header.Get("Access-Control-Allow-Origin"); got != test.allow {
			t.Errorf("%s: allows %q", name, got)
		}
		if got := c.header.Get("Access-Control-Allow-Credentials"); got != test.credentials {
			t.Errorf("%s: credentials %q", name, got)
		}
		if len(test.cfg.Origins) > 0 && c.header.Get("Vary") != "Origin" {
			t.Errorf("%s: a cache may mix origins", name)
		}
		pre := ask(
			b,
			asked(
				http.MethodOptions,
				"/",
				"",
				"Origin: "+test.origin,
				"Access-Control-Request-Method: GET",
				"Access-Control-Request-Headers: last-event-id",
			),
		)
		if got := pre.header.Get("Access-Control-Allow-Headers") != ""; got != (test.allow != "") {
			t.Errorf("%s: preflight %+v", name, pre)
		}
	}
}

// HTTP/2 carries events too.
func TestSSEHTTP2(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	g := gateways.SSE(
		s.rdb,
		gateways.SSEConfig{Key: s.topic, WriteTimeout: time.Second, Heartbeat: 1500 * time.Millisecond},
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
	b := &board{stand: s, EventStream: g}
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(tr.CloseIdleConnections)
	c := subscribeBy(t, &http.Client{Transport: tr}, srv.URL)
	b.add(t, "n", "", "0")
	c.data(1)
	for c.beats < 2 { // longer than WriteTimeout: silence is no slowness
		line, err := c.lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, ":") {
			c.beats++
		}
	}
	b.add(t, "n", "", "1")
	if diff := cmp.Diff([]string{"1"}, c.data(1)); diff != "" {
		t.Error(diff)
	}
	c.end()
}

// When a server stops its clients go on elsewhere, where they were.
func TestSSEGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	b := newBoard(t, gateways.SSEConfig{})
	c := subscribe(t, b.url)
	b.add(t, "n", "", "0")
	c.data(1)
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	if m, ok := c.next(); ok {
		t.Errorf("after the end: %+v", m)
	}
	b.add(t, "n", "", "1")
	other := gateways.SSE(b.rdb, gateways.SSEConfig{Key: b.topic})
	t.Cleanup(func() {
		if err := other.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	addr, _ := up(t, other, gateways.ServerConfig{})
	if diff := cmp.Diff([]string{"1"}, subscribe(t, "http://"+addr, "Last-Event-ID: "+c.id).data(1)); diff != "" {
		t.Error(diff)
	}
}

func TestSSECloses(t *testing.T) {
	t.Parallel()
	b := newBoard(t, gateways.SSEConfig{})
	c := subscribe(t, b.url)
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if m, ok := c.next(); ok {
		t.Errorf("after the end: %+v", m)
	}
	if c := subscribe(t, b.url); c.status != http.StatusServiceUnavailable || c.header.Get("Retry-After") == "" {
		t.Errorf("afterwards: %d", c.status)
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
	serve := func(fail error, values []int, headers ...string) reply {
		w := httptest.NewRecorder()
		gateways.ServeStream(w, asked(http.MethodGet, "/", "", headers...), seq(fail, values...))
		return reply{w.Code, w.Result().Header, w.Body.String()}
	}
	gone := gateways.Errorf(gateways.CodeNotFound, "no such thing")
	if got := serve(nil,
		[]int{1, 2}); got.body != "id: 1\ndata: 1\n\nid: 2\ndata: 2\n\nid: 3\nevent: end\ndata: {}\n\n" {
		t.Errorf("two values: %q", got.body)
	}
	if got := serve(nil, nil); got.body != "id: 1\nevent: end\ndata: {}\n\n" {
		t.Errorf("none: %q", got.body)
	}
	if got := serve(gone, nil); got.status != http.StatusNotFound {
		t.Errorf("an error at once: %+v", got)
	}
	if got := serve(gone, []int{1}); got.status != http.StatusOK ||
		!strings.HasSuffix(
			got.body,
			"event: failure\ndata: {\"error\":{\"code\":\"not_found\",\"message\":\"no such thing\"}}\n\n",
		) {
		t.Errorf("an error later: %+v", got)
	}
	if got := serve(nil, []int{1}, "Last-Event-ID: 2"); got.status != http.StatusNoContent {
		t.Errorf("a browser that comes again: %+v", got)
	}
}
