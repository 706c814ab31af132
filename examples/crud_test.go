package examples

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// exchange performs an HTTP request, and returns the reply and its body. Headers have the form
// "Name: value".
func exchange(t *testing.T, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	reply, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	b, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply, string(b)
}

func TestCrud(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{"in-process server": noServer(t), "REDIS_URL": {"REDIS_URL=" + redistest.Start(t).URL()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, env, nil, "crud", "-addr", "localhost:0")
			crud(t, open(t, p))
			want(t, p.stdout.text(), "flowchart")
			interrupted(t, p)
			if text := p.stderr.text(); strings.Contains(text, "buy milk") || strings.Contains(text, " WRN ") {
				t.Error("payloads in the log, or a warning")
			}
		})
	}
}

// crud tests the resource, step by step.
func crud(t *testing.T, url string) {
	todos := url + "todos"
	for _, step := range []struct {
		method, url, body, ifMatch string
		status                     int
		header, value              string
		got                        string // the body, or its beginning
	}{
		{"GET", todos, "", "", 200, "Content-Type", "application/json", `[]`},
		{"POST", todos, `{"title":"buy milk"}`, "", 201, "Location", "/todos/1", `{"id":"1","title":"buy milk","done":false,"version":1}`},
		{"POST", todos, `{"title":"Drink tea"}`, "", 201, "ETag", `"1"`, `{"id":"2"`},
		{"POST", todos, `{"title":"BUY MILK"}`, "", 409, "", "", `{"error":{"code":"conflict"`},
		{"POST", todos, `{"title":" "}`, "", 400, "", "", `{"error":{"code":"invalid_request","message":"a title has`},
		{"POST", todos, `{"title":7}`, "", 400, "", "", `{"error":{"code":"invalid_request","message":"\"title\" must be a string, not number","field":"title"}}`},
		{"POST", todos, `{"title":"a","title":"b"}`, "", 400, "", "", `{"error":{"code":"invalid_request"`},
		{"POST", todos, `{"title":"` + strings.Repeat("a", 5000) + `"}`, "", 413, "", "", `{"error":{"code":"too_large"`},
		{"GET", todos + "/1", "", "", 200, "ETag", `"1"`, `{"id":"1"`},
		{"GET", todos + "/9", "", "", 404, "", "", `{"error":{"code":"not_found"`},
		{"PATCH", todos + "/1", `{"done":true}`, `"1"`, 200, "ETag", `"2"`, `{"id":"1","title":"buy milk","done":true,"version":2}`},
		{"PATCH", todos + "/1", `{"done":false}`, `"1"`, 412, "", "", `{"error":{"code":"changed"`},
		{"PATCH", todos + "/1", `{"title":"Buy oat milk","id":"2"}`, "", 200, "ETag", `"3"`, `{"id":"1","title":"Buy oat milk"`},
		{"PATCH", todos + "/1", `{}`, "three", 400, "", "", `{"error":{"code":"invalid_request","message":"If-Match must be`},
		{"GET", todos + "?done=true", "", "", 200, "", "", `[{"id":"1"`},
		{"GET", todos + "?done=maybe", "", "", 400, "", "", `{"error":{"code":"invalid_request","message":"the query's \"done\" must be true or false","field":"done"}}`},
		{"PUT", todos + "/1", `{}`, "", 405, "Allow", "DELETE, GET, HEAD, PATCH", ""},
		{"DELETE", todos + "/1", "", "", 204, "", "", ""},
		{"DELETE", todos + "/1", "", "", 404, "", "", `{"error":{"code":"not_found"`},
		{"GET", todos, "", "", 200, "", "", `[{"id":"2","title":"Drink tea","done":false,"version":1}]`},
	} {
		reply, body := exchange(t, step.method, step.url, step.body, "If-Match: "+step.ifMatch)
		if reply.StatusCode != step.status || !strings.HasPrefix(body, step.got) ||
			step.header != "" && reply.Header.Get(step.header) != step.value {
			t.Errorf("%s %s %.60s: %d %s %v", step.method, step.url, step.body, reply.StatusCode, body, reply.Header)
		}
	}
	if reply, body := exchange(t, "GET", url, ""); !strings.Contains(body, "<title>To do</title>") ||
		reply.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("the page: %d %.100s", reply.StatusCode, body)
	}
}

// If several requests change the same version of an item, one succeeds. The others fail with 412.
func TestCrudConcurrentChanges(t *testing.T) {
	t.Parallel()
	p := start(t, noServer(t), nil, "crud", "-addr", "localhost:0")
	todos := open(t, p) + "todos"
	exchange(t, "POST", todos, `{"title":"once"}`)
	statuses := make(chan int, 10)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			status := http.StatusServiceUnavailable
			for status == http.StatusServiceUnavailable { // a busy machine refuses some of ten at once
				reply, body := exchange(t, "PATCH", todos+"/1", `{"done":true}`, `If-Match: "1"`)
				if status = reply.StatusCode; !strings.Contains(body, `"overloaded"`) {
					break
				}
			}
			statuses <- status
		})
	}
	all.Wait()
	close(statuses)
	count := make(map[int]int)
	for s := range statuses {
		count[s]++
	}
	if count[200] != 1 || count[412] != 9 {
		t.Errorf("%v", count)
	}
	interrupted(t, p)
}

// The page, used by mouse and by keyboard.
func TestCrudPage(t *testing.T) {
	t.Parallel()
	p := start(t, noServer(t), nil, "crud", "-addr", "localhost:0")
	url := open(t, p)
	page := tab(t)
	browse(t, page, chromedp.Navigate(url))
	shows(t, page, "that there is nothing", `!document.querySelector("#empty").hidden`)
	field := chromedp.CSS("#title")
	for i, title := range []string{"Buy oat milk", "Water the plants on the balcony", "Call Ada about Saturday",
		"<b>Read</b> a book"} {
		browse(t, page, chromedp.SendKeys(field, title+kb.Enter))
		shows(t, page, title, `document.querySelectorAll("#items li").length === `+string(rune('1'+i)))
	}
	shows(
		t,
		page,
		"titles as text",
		`document.querySelector("#items li:last-child .title").textContent === "<b>Read</b> a book"`,
	)
	browse(t, page, chromedp.Click(chromedp.CSS("#items li:nth-child(2) input[type=checkbox]")))
	shows(t, page, "one done", `document.querySelector("#count").textContent === "3 open, 1 done"`)

	browse(t, page, chromedp.SendKeys(field, "buy OAT milk"+kb.Enter)) // the title exists
	shows(t, page, "the problem", `document.querySelector("#problem").textContent.includes("already")`)
	screenshot(t, page, "crud")

	// The keyboard selects the first item and marks it as done, then selects and edits another.
	browse(t, page, press(kb.ArrowDown), press(" "))
	shows(t, page, "two done", `document.querySelector("#count").textContent === "2 open, 2 done"`)
	shows(t, page, "the focus kept", `document.activeElement.dataset.id === "1"`)
	browse(t, page, press(kb.ArrowDown), press(kb.ArrowDown), press("e"))
	shows(t, page, "a field to edit", `document.activeElement.matches("li input[type=text]")`)
	browse(t, page, press("Call Bob"+kb.Enter))
	shows(t, page, "the new title", `document.querySelector("[data-id='3'] .title")?.textContent === "Call Bob"`)

	// A click elsewhere while an item is edited takes effect at once, and the focus stays where the
	// click put it.
	browse(t, page, press("e"), chromedp.Click(chromedp.CSS("[data-id='4'] input[type=checkbox]")))
	shows(t, page, "three done", `document.querySelector("#count").textContent === "1 open, 3 done"`)
	browse(t, page, chromedp.Click(chromedp.CSS("[data-id='4'] .edit")), press("Read"), chromedp.Click(field))
	shows(t, page, "its title", `document.querySelector("[data-id='4'] .title")?.textContent === "Read"`)
	shows(t, page, "the focus where it was put", `document.activeElement.id === "title"`)
	browse(t, page, press(kb.ArrowDown), press(kb.ArrowDown), press("n"))
	shows(t, page, "the field for another, as it was", `document.activeElement.value === "buy OAT milk"`)
	browse(t, page, press(kb.ArrowDown), press(kb.ArrowDown), press(kb.ArrowDown), press(kb.Delete))
	shows(t, page, "one less", `document.querySelectorAll("#items li").length === 3`)

	// Another client removes an item. The page reports the error, and shows the current list.
	exchange(t, "DELETE", url+"todos/4", "")
	browse(t, page, chromedp.Click(chromedp.CSS("[data-id='4'] input[type=checkbox]")))
	shows(
		t,
		page,
		"that it is gone",
		`document.querySelectorAll("#items li").length === 2 && document.querySelector("#problem").textContent === "Item not found"`,
	)

	browse(t, page, chromedp.Click(chromedp.CSS("[data-show=done]")))
	shows(t, page, "what is done", `document.querySelectorAll("#items li.done").length === 2`)
	dark(t, page)
	screenshot(t, page, "crud-dark")
	_, body := exchange(t, "GET", url+"todos", "")
	var left []struct {
		ID   string
		Done bool
	}
	if err := json.Unmarshal([]byte(body), &left); err != nil || len(left) != 2 || !left[0].Done || !left[1].Done {
		t.Errorf("left: %s", body)
	}
	interrupted(t, p)
}
