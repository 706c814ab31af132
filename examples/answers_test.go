package examples

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// asked asks a question at a node of answers, and returns the ID of the answer.
func asked(t *testing.T, url, question string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"Text": question})
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	var id struct{ ID string }
	redistest.Soon(t, "a service is there", func() bool {
		r, err := c.Post(url+"answers", "application/json", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusAccepted && json.NewDecoder(r.Body).Decode(&id) == nil
	})
	return id.ID
}

// following is a client of an answer's events.
type following struct {
	t     *testing.T
	lines *bufio.Scanner
	id    string // of the last event
	close func()
}

// followed follows an answer at a node, after the event with an ID.
func followed(t *testing.T, url, answer, after string) *following {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*redistest.Patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"answers/"+answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	got, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	f := &following{t: t, lines: bufio.NewScanner(got.Body), id: after, close: func() { cancel(); got.Body.Close() }}
	t.Cleanup(f.close)
	if got.StatusCode != http.StatusOK {
		t.Fatalf("status %d", got.StatusCode)
	}
	return f
}

// next returns the next event; the type "" is the end of the connection.
func (f *following) next() (typ, data string) {
	f.t.Helper()
	typ = "message"
	for f.lines.Scan() {
		name, value, _ := strings.Cut(f.lines.Text(), ": ")
		switch {
		case name == "id":
			f.id = value
		case name == "event":
			typ = value
		case name == "data":
			data = value
		case name == "" && data != "":
			return typ, data
		}
	}
	return "", ""
}

// words returns the next n words, or all up to the end, and the state at the end.
func (f *following) words(n int) (text, state string) {
	f.t.Helper()
	var b strings.Builder
	for i := 0; n <= 0 || i < n; i++ {
		switch typ, data := f.next(); typ {
		case "message":
			b.WriteString(data)
		case "end":
			return b.String(), data
		default:
			f.t.Fatalf("event %q %q after %q", typ, data, b.String())
		}
	}
	return b.String(), ""
}

// A follower continues at another node when its node is killed. One stop ends the answer for all.
func TestAnswers(t *testing.T) {
	t.Parallel()
	env := []string{"REDIS_URL=" + redistest.Start(t).URL()}
	service := start(t, env, nil, "answers", "-role", "service", "-pace", "10ms")
	first := start(t, env, nil, "answers", "-role", "web", "-addr", "localhost:0")
	one := open(t, first)
	second := start(t, env, nil, "answers", "-role", "web", "-addr", "localhost:0")
	two := open(t, second)
	id := asked(t, one, "Why is the sky blue?")
	page := followed(t, one, id, "")
	before, _ := page.words(5)
	first.signal(t, syscall.SIGKILL)
	first.wait(t)
	after, state := followed(t, two, id, page.id).words(0)
	if state != `{"state":"done"}` {
		t.Errorf("the end: %s", state)
	}
	if all, _ := followed(t, two, id, "").words(0); all != before+after ||
		!strings.HasPrefix(all, "“Why is the sky blue?”") {
		t.Errorf("in two parts:\n%s|%s\nat once:\n%s", before, after, all)
	}

	interrupted(t, service)
	start(t, env, nil, "answers", "-role", "service", "-pace", "100ms") // so slow that it does not end before the stop
	third := open(t, start(t, env, nil, "answers", "-role", "web", "-addr", "localhost:0"))
	id = asked(t, two, "How long is a piece of string?")
	pages := []*following{followed(t, two, id, ""), followed(t, third, id, "")}
	for _, p := range pages {
		p.words(2)
	}
	r, err := http.NewRequest(http.MethodDelete, third+"answers/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	got.Body.Close()
	if got.StatusCode != http.StatusNoContent {
		t.Errorf("stop: %d", got.StatusCode)
	}
	for _, p := range pages {
		if _, state := p.words(0); state != `{"state":"stopped"}` {
			t.Errorf("after the stop: %s", state)
		}
	}
	if status, _ := get(t, two+"answers/unknown"); status != http.StatusNotFound {
		t.Errorf("an unknown answer: %d", status)
	}
	interrupted(t, second)
}

// Another service continues the answer of one that is killed in the middle: no word is missing,
// doubled or sent again.
func TestAnswersOfAKilledService(t *testing.T) {
	t.Parallel()
	env := []string{"REDIS_URL=" + redistest.Start(t).URL()}
	first := start(t, env, nil, "answers", "-role", "service", "-pace", "20ms")
	url := open(t, start(t, env, nil, "answers", "-role", "web", "-addr", "localhost:0"))
	id := asked(t, url, "What is a stream?")
	page := followed(t, url, id, "")
	before, _ := page.words(10)
	first.signal(t, syscall.SIGKILL)
	first.wait(t)
	start(t, env, nil, "answers", "-role", "service", "-pace", "1ms")
	after, state := page.words(0)
	if state != `{"state":"done"}` {
		t.Errorf("the end: %s", state)
	}
	again := asked(t, url, "What is a stream?") // equal questions have equal answers
	if whole, _ := followed(t, url, again, "").words(0); whole != before+after {
		t.Errorf("with a kill:\n%s\nwithout:\n%s", before+after, whole)
	}
}

// A page is reloaded in the middle and opened twice. Its stop ends both.
func TestAnswersInABrowser(t *testing.T) {
	t.Parallel()
	p := start(t, noServer(t), nil, "answers", "-addr", "localhost:0", "-pace", "150ms") // for a minute
	url := open(t, p)
	page := tab(t)
	browse(t, page, chromedp.Navigate(url), chromedp.SendKeys(chromedp.CSS("#ask input"), "Does it go on?"),
		chromedp.Click(chromedp.CSS("#ask button")))
	const words = `Number.parseInt(document.querySelector("#count").textContent)`
	shows(t, page, "some words", words+` > 3`)
	before := see(t, page, chromedp.Evaluate[int](words))
	browse(t, page, chromedp.Reload())
	shows(t, page, "the answer, and that it goes on", words+` > `+"3 + "+jsonOf(t, before))
	shows(t, page, "it in the list", `document.querySelector("#recent [aria-current]").textContent === "Does it go on"`)
	other := tab(t)
	browse(t, other, chromedp.Navigate(see(t, page, chromedp.Evaluate[string]("location.href"))))
	shows(t, other, "the answer too", words+` > 3 && document.querySelector("#state").dataset.state === "open"`)
	browse(t, other, chromedp.Click(chromedp.CSS("#stop")))
	for _, tab := range []context.Context{page, other} {
		shows(t, tab, "that it was stopped", `document.querySelector("#state").dataset.state === "stopped"`)
		shows(t, tab, "no button", `document.querySelector("#stop").hidden`)
	}
	want(t, p.stdout.text(), "flowchart")
	interrupted(t, p)
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
