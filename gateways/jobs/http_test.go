package jobs_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func (b *board) mux(cfg jobs.HTTPConfig[string]) *http.ServeMux {
	mux, h := http.NewServeMux(), b.HTTP(cfg)
	mux.Handle("/jobs", h)
	mux.Handle("/jobs/{id}", h)
	return mux
}

func jobOf(t testing.TB, r rig.Reply) (j jobs.Job) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.Body), &j); err != nil {
		t.Fatalf("%d %q: %v", r.Status, r.Body, err)
	}
	return j
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{})
	mux := b.mux(jobs.HTTPConfig[string]{List: true})
	post := rig.Ask(mux, rig.Asked("POST", "/jobs?priority=high", "x", "Idempotency-Key: once"))
	j := jobOf(t, post)
	if post.Status != http.StatusAccepted || post.Header.Get("Location") != "/jobs/once" || j.ID != "once" ||
		j.Priority != "high" || j.State != jobs.Queued {
		t.Fatalf("post: %+v", post)
	}
	if again := rig.Ask(mux, rig.Asked("POST", "/jobs", "x", "Idempotency-Key: once")); again.Status != http.StatusOK {
		t.Errorf("again: %+v", again)
	}
	get := rig.Ask(mux, rig.Asked("GET", "/jobs/once", ""))
	tag := get.Header.Get("ETag")
	if get.Status != http.StatusOK || len(tag) < 3 {
		t.Errorf("get: %+v", get)
	}
	same := rig.Ask(mux, rig.Asked("GET", "/jobs/once", "", "If-None-Match: "+tag))
	if same.Status != http.StatusNotModified {
		t.Errorf("not modified: %+v", same)
	}
	if late := rig.Ask(mux, rig.Asked("GET", "/jobs/once?wait=10ms", "", "If-None-Match: "+tag)); late.Status !=
		http.StatusNotModified {
		t.Errorf("a wait without a change: %+v", late)
	}
	if head := rig.Ask(mux, rig.Asked("HEAD", "/jobs/once", "", "Accept: text/event-stream")); head.Status !=
		http.StatusOK || head.Header.Get("ETag") != tag {
		t.Errorf("head: %+v", head)
	}
	below := http.StripPrefix("/api", mux)
	got := rig.Ask(below, rig.Asked("POST", "/api/jobs", "x", `Idempotency-Key: "once"`))
	if got.Status != http.StatusOK || got.Header.Get("Location") != "/api/jobs/once" {
		t.Errorf("below a prefix: %+v", got)
	}
	b.work(t, echo)
	for j.State != jobs.Done {
		next := rig.Ask(mux, rig.Asked("GET", "/jobs/once?wait=50s", "", "If-None-Match: "+tag))
		if tag = next.Header.Get("ETag"); next.Status != http.StatusOK {
			t.Fatalf("long-poll: %+v", next)
		}
		j = jobOf(t, next)
	}
	if string(j.Result) != `"did x"` {
		t.Errorf("result %s", j.Result)
	}
	if list := rig.Ask(mux, rig.Asked("GET", "/jobs", "")); !strings.Contains(list.Body, `"id":"once"`) {
		t.Errorf("list: %+v", list)
	}
	later, _, err := b.Submit(t.Context(), "y", jobs.In(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if del := rig.Ask(mux, rig.Asked("DELETE", "/jobs/"+later, "")); del.Status != http.StatusOK ||
		jobOf(t, del).State != jobs.Cancelled {
		t.Errorf("delete: %+v", del)
	}
}

func TestHTTPRefuses(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{MaxPayload: 50, MaxQueued: 1})
	mux := b.mux(jobs.HTTPConfig[string]{Authorize: func(r *http.Request, j jobs.Job) error {
		if r.Header.Get("User") == "panic" {
			panic("boom")
		}
		if j.Owner != "" && j.Owner != r.Header.Get("User") {
			return errors.New("not yours")
		}
		return nil
	}})
	old := "00000000000aaaaaaaaaaaaaaaa" // of 1970
	b.submit(t, "x", jobs.ID("hers"), jobs.Owner("ann"))
	for _, test := range []struct {
		name, method, target, body string
		header                     string
		status                     int
		code                       gateways.Code
	}{
		{"unknown", "GET", "/jobs/nonsense", "", "", 404, gateways.CodeNotFound},
		{"unknown events", "GET", "/jobs/nonsense", "", "Accept: text/event-stream", 404, gateways.CodeNotFound},
		{"invalid ID", "GET", "/jobs/a%20b", "", "", 404, gateways.CodeNotFound},
		{"expired", "GET", "/jobs/" + old, "", "", 410, gateways.CodeNotFound},
		{"cancel expired", "DELETE", "/jobs/" + old, "", "", 410, gateways.CodeNotFound},
		{"too large", "POST", "/jobs", strings.Repeat("x", 51), "", 413, gateways.CodeTooLarge},
		{"full", "POST", "/jobs", "x", "", 503, gateways.CodeOverloaded},
		{"priority", "POST", "/jobs?priority=urgent", "x", "", 400, gateways.CodeInvalid},
		{"idempotency key", "POST", "/jobs", "x", "Idempotency-Key: a b", 400, gateways.CodeInvalid},
		{"wait", "GET", "/jobs/hers?wait=soon", "", "User: ann", 400, gateways.CodeInvalid},
		{"key of another", "POST", "/jobs", "x", "Idempotency-Key: hers", 409, gateways.CodeConflict},
		{"dots", "POST", "/jobs", "x", "Idempotency-Key: ..", 400, gateways.CodeInvalid},
		{"no list", "GET", "/jobs", "", "", 405, gateways.CodeInvalid},
		{"method", "PUT", "/jobs/hers", "x", "", 405, gateways.CodeInvalid},
		{"of another", "GET", "/jobs/hers", "", "User: bob", 404, gateways.CodeNotFound},
		{"cancel of another", "DELETE", "/jobs/hers", "", "User: bob", 404, gateways.CodeNotFound},
		{"panic", "GET", "/jobs/hers", "", "User: panic", 500, gateways.CodeInternal},
		{"another origin", "POST", "/jobs", "x", "Sec-Fetch-Site: cross-site", 403, gateways.CodeForbidden},
	} {
		headers := []string{}
		if test.header != "" {
			headers = append(headers, test.header)
		}
		got := rig.Ask(mux, rig.Asked(test.method, test.target, test.body, headers...))
		if got.Status != test.status || got.Failure(t).Code != test.code {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
	if got := rig.Ask(mux, rig.Asked("DELETE", "/jobs/hers", "", "User: ann")); got.Status != 200 {
		t.Errorf("her own: %+v", got)
	}
}

// A cancel after the end is a conflict.
func TestHTTPConflict(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{})
	b.work(t, echo)
	id := b.submit(t, "x")
	if _, err := b.Wait(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	got := rig.Ask(b.mux(jobs.HTTPConfig[string]{}), rig.Asked("DELETE", "/jobs/"+id, ""))
	if got.Status != http.StatusConflict || got.Failure(t).Code != gateways.CodeConflict {
		t.Errorf("%+v", got)
	}
}

// streamed reads the events of a request until f returns true or the answer ends.
func streamed(t testing.TB, url string, f func(jobs.Job) bool) (last jobs.Job, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	got, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	lines := bufio.NewScanner(got.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			last = jobs.Job{}
			if err := json.Unmarshal([]byte(data), &last); err != nil {
				t.Fatal(err)
			}
			if f(last) {
				break
			}
		}
	}
	return last, got.StatusCode
}

func TestHTTPEvents(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{})
	addr, _ := rig.Up(t, b.mux(jobs.HTTPConfig[string]{List: true}), web.ServerConfig{})
	id := b.submit(t, "x")
	other := b.submit(t, "y", jobs.In(time.Hour))
	began := false
	var states []jobs.State
	last, _ := streamed(t, "http://"+addr+"/jobs/"+id, func(j jobs.Job) bool {
		if !began {
			began = true
			b.work(t, echo)
		}
		states = append(states, j.State)
		return false
	})
	if len(states) < 2 || states[0] != jobs.Queued || last.State != jobs.Done || string(last.Result) != `"did x"` {
		t.Errorf("%v, last %+v", states, last)
	}
	last, _ = streamed(t, "http://"+addr+"/jobs/"+id, func(jobs.Job) bool { return false })
	if last.State != jobs.Done {
		t.Errorf("after the end: %+v", last)
	}
	r := rig.Asked("GET", "/jobs/"+id, "", "Accept: text/event-stream",
		fmt.Sprint("Last-Event-ID: ", last.Version))
	if got := rig.Ask(b.mux(jobs.HTTPConfig[string]{}), r); got.Status != http.StatusNoContent {
		t.Errorf("a reconnect after the end: %+v", got)
	}
	seen := make(map[string]bool)
	streamed(t, "http://"+addr+"/jobs", func(j jobs.Job) bool {
		if seen[j.ID] = true; len(seen) == 2 && j.State == jobs.Scheduled {
			if err := b.Cancel(t.Context(), other); err != nil {
				t.Error(err)
			}
		}
		return j.State == jobs.Cancelled
	})
}
