package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// gqlReply is a response of GraphQL.
type gqlReply struct {
	Data       json.RawMessage
	Errors     []gqlError
	Extensions struct{ Calls int }
}

type gqlError struct {
	Message    string
	Path       []any
	Extensions struct{ Code string }
}

// askGraphql sends an operation, and returns the status and the response. Headers are "Name: value".
func askGraphql(t *testing.T, url, query string, variables any, headers ...string) (int, gqlReply) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"graphql", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	got, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	var rep gqlReply
	_ = json.NewDecoder(got.Body).Decode(&rep) // some refusals are text
	return got.StatusCode, rep
}

const addReview = `mutation($r: NewReview!) { addReview(review: $r) { id } }`

func gqlReview(book, text string, stars int) any {
	return map[string]any{"r": map[string]any{"book": book, "by": "a test", "stars": stars, "text": text}}
}

// addReviewTo adds a review.
func addReviewTo(t *testing.T, url, book, text string) {
	t.Helper()
	if status, r := askGraphql(t, url, addReview, gqlReview(book, text, 4)); status != http.StatusOK ||
		len(r.Errors) > 0 {
		t.Fatalf("add a review: %d, %+v", status, r)
	}
}

// gqlLink is a WebSocket that speaks graphql-transport-ws.
type gqlLink struct {
	t    *testing.T
	conn *websocket.Conn
	in   <-chan received
}

type gqlMessage struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

func dialGraphql(t *testing.T, url string) *gqlLink {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"graphql",
		&websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		t.Fatal(err)
	}
	return &gqlLink{t, conn, receive(t, conn)}
}

// gqlReady is dialGraphql, with the greeting.
func gqlReady(t *testing.T, url string) *gqlLink {
	t.Helper()
	l := dialGraphql(t, url)
	l.send("", "connection_init", nil)
	if m, err := l.next(); err != nil || m.Type != "connection_ack" {
		t.Fatalf("not acknowledged: %+v, %v", m, err)
	}
	return l
}

func (l *gqlLink) send(id, typ string, payload any) {
	l.t.Helper()
	m := gqlMessage{ID: id, Type: typ}
	if payload != nil {
		m.Payload, _ = json.Marshal(payload)
	}
	data, _ := json.Marshal(m)
	if err := l.conn.Write(l.t.Context(), websocket.MessageText, data); err != nil {
		l.t.Fatal(err)
	}
}

func (l *gqlLink) subscribe(id, query string, variables any) {
	l.t.Helper()
	l.send(id, "subscribe", map[string]any{"query": query, "variables": variables})
}

func (l *gqlLink) next() (m gqlMessage, err error) {
	l.t.Helper()
	data, err := next(l.t, l.in)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(data, &m)
}

// gqlAdded is a result of the subscription.
type gqlAdded struct {
	Data struct {
		ReviewAdded struct {
			Cursor string
			Gap    *struct{ Missed *int }
			Review *struct {
				Text string
				Book struct {
					Title  string
					Author struct{ Name string }
				}
			}
		}
	}
	Errors []gqlError
}

const reviewAdded = `subscription($book: ID, $after: String) { reviewAdded(book: $book, after: $after) {
	cursor gap { missed } review { text book { title author { name } } } } }`

// added returns the next result.
func (l *gqlLink) added() (a gqlAdded, err error) {
	m, err := l.next()
	if err == nil && m.Type != "next" {
		err = fmt.Errorf("got %+v, %s", m, m.Payload)
	}
	if err == nil {
		err = json.Unmarshal(m.Payload, &a)
	}
	if err == nil && len(a.Errors) > 0 {
		err = fmt.Errorf("got %+v", a.Errors)
	}
	return a, err
}

// Ten books with their authors and reviews cost three calls of services, and a key that does not exist
// is no failure of the others in its batch.
func TestGraphqlBatchesCalls(t *testing.T) {
	t.Parallel()
	p := start(t, noServer(t), nil, "graphql", "-addr", "localhost:0")
	url := open(t, p)
	addReviewTo(t, url, "solaris", "strange")
	for query, calls := range map[string]int{
		`{ books { title } }`:                                                        1,
		`{ books { title author { name } } }`:                                        2,
		`{ books { title author { name } reviews { text } } }`:                       3,
		`{ books(first: 3) { author { books { author { name } reviews { by } } } }}`: 4,
	} {
		// A machine under load may need longer than a loader waits, and split a batch. Without batches the
		// number would always be higher.
		redistest.Soon(t, fmt.Sprintf("%s needs %d calls", query, calls), func() bool {
			status, r := askGraphql(t, url, query, nil)
			return status == http.StatusOK && len(r.Errors) == 0 && r.Extensions.Calls == calls
		})
	}
	_, r := askGraphql(t, url, `{ a: author(id: "lem") { name } b: author(id: "nobody") { name } }`, nil)
	if string(r.Data) != `{"a":{"name":"Stanisław Lem"},"b":null}` || len(r.Errors) != 1 ||
		r.Errors[0].Extensions.Code != "not_found" || fmt.Sprint(r.Errors[0].Path) != "[b]" {
		t.Errorf("one of two: %s, %+v", r.Data, r)
	}
	if _, r = askGraphql(t, url, addReview, gqlReview("solaris", "no", 9), nil...); len(r.Errors) != 1 ||
		r.Errors[0].Extensions.Code != "invalid_request" || !strings.Contains(r.Errors[0].Message, "1 to 5") {
		t.Errorf("an error of the service: %+v", r)
	}
	want(t, p.stdout.text(), "flowchart")
	interrupted(t, p)
}

// When its server is killed, a subscription goes on at another one, from its cursor, and misses
// nothing.
func TestGraphqlResumesElsewhere(t *testing.T) {
	t.Parallel()
	env := []string{"REDIS_URL=" + redistest.Start(t).URL()}
	for range 2 {
		start(t, env, nil, "graphql", "-role", "service")
	}
	one := start(t, env, nil, "graphql", "-role", "web", "-addr", "localhost:0")
	two := start(t, env, nil, "graphql", "-role", "web", "-addr", "localhost:0")
	l, url := gqlReady(t, open(t, one)), open(t, two)
	l.subscribe("1", reviewAdded, nil)
	redistest.Soon(t, "a service answers", func() bool { // before, calls are refused
		status, r := askGraphql(t, url, `{ books { id } }`, nil)
		return status == http.StatusOK && len(r.Errors) == 0
	})
	a, err := l.added()
	if err != nil || a.Data.ReviewAdded.Cursor == "" || a.Data.ReviewAdded.Review != nil {
		t.Fatalf("the first result: %+v, %v", a, err)
	}
	cursor, next := a.Data.ReviewAdded.Cursor, 0
	// take takes results until a review was the one that is last.
	take := func(l *gqlLink, last int) {
		t.Helper()
		for next <= last {
			a, err := l.added()
			if err != nil {
				t.Fatal(err)
			}
			got := a.Data.ReviewAdded
			cursor = got.Cursor
			if got.Review == nil && got.Gap == nil {
				continue // a heartbeat
			}
			if got.Gap != nil || got.Review.Text != fmt.Sprint(next) ||
				got.Review.Book.Author.Name != "Virginia Woolf" {
				t.Fatalf("got %+v, not %d", got, next)
			}
			next++
		}
	}
	for i := range 5 {
		addReviewTo(t, url, "orlando", fmt.Sprint(i))
	}
	take(l, 2) // two are on their way, or in the socket
	one.signal(t, syscall.SIGKILL)
	one.wait(t)
	for i := range 5 {
		addReviewTo(t, url, "orlando", fmt.Sprint(5+i))
	}
	l = gqlReady(t, url)
	l.subscribe("again", reviewAdded, map[string]any{"after": cursor, "book": "orlando"})
	take(l, 7)
	addReviewTo(t, url, "emma", "of another book")
	addReviewTo(t, url, "orlando", "10")
	take(l, 10)
	l.send("again", "complete", nil)
	l.subscribe("old", reviewAdded, map[string]any{"after": "1-1"})
	for {
		m, err := l.next()
		if err != nil {
			t.Fatal(err)
		}
		if m.ID == "old" { // the first is a gap: the entries after 1-1 are unknown
			if !strings.Contains(string(m.Payload), `"gap":{`) {
				t.Errorf("behind the end: %s", m.Payload)
			}
			break
		}
	}
	interrupted(t, two)
	if _, err := l.next(); err == nil {
		for err == nil {
			_, err = l.next()
		}
	}
}

// Hostile requests are refused, each with a status or a code.
func TestGraphqlRefuses(t *testing.T) {
	t.Parallel()
	p := start(t, noServer(t), nil, "graphql", "-addr", "localhost:0")
	url := open(t, p)
	deep := `{ author(id: "lem") { ` + strings.Repeat("books { author { ", 10) + "name" +
		strings.Repeat(" } }", 10) + " } }"
	wide := "{ " + strings.Repeat("books { id title year } ", 300) + "}"
	var aliases strings.Builder
	for i := range 30 {
		fmt.Fprintf(&aliases, "a%d: books(first: 50) { id } ", i)
	}
	for name, test := range map[string]struct{ query, message, code string }{
		"deep":      {deep, "depth", ""},
		"long":      {"{ " + strings.Repeat("a", 9<<10) + " }", "length", ""},
		"wide":      {wide, "", ""},
		"expensive": {"{ " + aliases.String() + "}", "1000 objects", "too_complex"},
		"nested lists": {"{ books(first: 50) { a: reviews(first: 50) { id } b: reviews(first: 50) { id } } }",
			"1000 objects", "too_complex"},
		"a large list":  {"{ books(first: 51) { id } }", "1 to 50", "invalid_request"},
		"empty":         {"", "", ""},
		"no field":      {"{ secrets }", "secrets", ""},
		"subscription":  {reviewAdded, "", ""},
		"syntax":        {"{ books {", "", ""},
		"negative list": {"{ books(first: -1) { id } }", "1 to 50", "invalid_request"},
	} {
		status, r := askGraphql(t, url, test.query, nil, "Accept: application/graphql-response+json")
		switch {
		case name == "wide" && len(r.Errors) == 0 && status == http.StatusOK: // repeated fields are merged
		case len(r.Errors) == 0 || !strings.Contains(r.Errors[0].Message, test.message) ||
			test.code != "" && r.Errors[0].Extensions.Code != test.code:
			t.Errorf("%s: %d, %.300s", name, status, fmt.Sprintf("%+v", r.Errors))
		}
	}
	for name, test := range map[string]struct {
		headers []string
		query   string
		want    int
	}{
		"a form":       {[]string{"Content-Type: text/plain"}, "{ books { id } }", http.StatusUnsupportedMediaType},
		"another site": {[]string{"Origin: https://evil.example"}, "{ books { id } }", http.StatusForbidden},
		"a large body": {nil, "# " + strings.Repeat("x", 70<<10), http.StatusRequestEntityTooLarge},
	} {
		if status, _ := askGraphql(t, url, test.query, nil, test.headers...); status != test.want {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status, _ := get(t, url+"graphql?query={books{id}}"); status != http.StatusUpgradeRequired {
		t.Errorf("GET: %d", status)
	}
	interrupted(t, p)
}

// Sockets that break the protocol are closed with its codes. Those of other sites are not opened.
func TestGraphqlSockets(t *testing.T) {
	t.Parallel()
	p := start(t, noServer(t), nil, "graphql", "-addr", "localhost:0")
	url := open(t, p)
	for name, test := range map[string]struct {
		code websocket.StatusCode
		play func(l *gqlLink)
	}{
		"no greeting": {4401, func(l *gqlLink) { l.subscribe("1", reviewAdded, nil) }},
		"two greetings": {4429, func(l *gqlLink) {
			l.send("", "connection_init", nil)
			l.send("", "connection_init", nil)
		}},
		"an id twice": {4409, func(l *gqlLink) {
			l.send("", "connection_init", nil)
			l.subscribe("1", reviewAdded, nil)
			l.subscribe("1", reviewAdded, nil)
		}},
		"nonsense": {4400, func(l *gqlLink) { l.send("", "hello", nil) }},
	} {
		l := dialGraphql(t, url)
		test.play(l)
		var err error
		for err == nil {
			_, err = l.next()
		}
		if websocket.CloseStatus(err) != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, r, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"graphql", &websocket.DialOptions{
		Subprotocols: []string{"graphql-transport-ws"}, HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
	if err == nil || r == nil || r.StatusCode != http.StatusForbidden {
		t.Errorf("another site: %v", err)
	}
	l := gqlReady(t, url)
	l.subscribe("bad", reviewAdded, map[string]any{"after": "yesterday"})
	if m, err := l.next(); err != nil || m.Type != "error" || m.ID != "bad" ||
		!strings.Contains(string(m.Payload), "invalid_request") {
		t.Errorf("a bad cursor: %+v, %s, %v", m, m.Payload, err)
	}
	l.subscribe("query", `{ book(id: "emma") { author { name } } }`, nil)
	if m, err := l.next(); err != nil || m.Type != "next" || !strings.Contains(string(m.Payload), "Jane Austen") {
		t.Errorf("a query: %+v, %s, %v", m, m.Payload, err)
	}
	if m, err := l.next(); err != nil || m.Type != "complete" {
		t.Errorf("the end of a query: %+v, %v", m, err)
	}
	for i := range 21 {
		l.subscribe(fmt.Sprint(i), reviewAdded, nil)
	}
	for m, err := l.next(); m.Type != "error"; m, err = l.next() {
		if err != nil {
			t.Fatal(err)
		}
	}
	interrupted(t, p)
	for err = nil; err == nil; {
		_, err = l.next()
	}
	if code := websocket.CloseStatus(err); code != websocket.StatusGoingAway && !errors.Is(err, context.Canceled) {
		t.Errorf("the end of the server: %v", err)
	}
}

// The page runs queries, shows the schema, and follows reviews through a broken connection.
func TestGraphqlInABrowser(t *testing.T) {
	t.Parallel()
	p := start(t, noServer(t), nil, "graphql", "-addr", "localhost:0")
	url := open(t, p)
	page := tab(t)
	browse(t, page, chromedp.Navigate(url))
	shows(t, page, "the schema",
		`document.querySelector("#schema").innerText.includes("reviewAdded(book: ID, after: String)")`)
	browse(t, page, chromedp.Click(chromedp.CSS("#run")))
	shows(t, page, "the books", `document.querySelector("#result").innerText.includes("Virginia Woolf")`)
	shows(t, page, "the calls", `/^\d+ calls of services$/.test(document.querySelector("#state").innerText)`)
	choose := chromedp.Evaluate[bool](`(() => { const s = document.querySelector("#examples");
		s.value = "Reviews, live"; s.dispatchEvent(new Event("change")); document.querySelector("#run").click(); return true })()`)
	see(t, page, choose)
	shows(t, page, "it is live", `document.querySelector("#state[data-state=live]")`)
	addReviewTo(t, url, "emma", "Clever.")
	shows(t, page, "the review", `document.querySelector("#feed").innerText.includes("Clever.")`)
	browse(t, page, chromedp.Click(chromedp.CSS("#break")))
	addReviewTo(t, url, "emma", "Handsome.")
	shows(t, page, "what came meanwhile", `document.querySelector("#feed").innerText.includes("Handsome.") &&
		document.querySelectorAll("#feed li").length === 2`)
	browse(t, page, chromedp.Click(chromedp.CSS("#stop")))
	shows(t, page, "it has stopped", `document.querySelector("#state[data-state=idle]")`)
	interrupted(t, p)
}
