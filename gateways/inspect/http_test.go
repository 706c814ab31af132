package inspect

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func get(t *testing.T, p *Page, method, path string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Result()
}

func TestFilesOfThePage(t *testing.T) {
	p := New(nil, parts.New(), Config{})
	for path, want := range map[string]struct {
		status int
		typ    string
	}{
		"/inspect/":            {200, "text/html; charset=utf-8"},
		"/":                    {200, "text/html; charset=utf-8"},
		"/a/b/page.js":         {200, "text/javascript; charset=utf-8"},
		"/a/b/draw.js":         {200, "text/javascript; charset=utf-8"},
		"/a/b/words.js":        {200, "text/javascript; charset=utf-8"},
		"/inspect/act.js":      {200, "text/javascript; charset=utf-8"},
		"/inspect/dead.js":     {200, "text/javascript; charset=utf-8"},
		"/inspect/style.css":   {200, "text/css; charset=utf-8"},
		"/inspect/icon.svg":    {200, "image/svg+xml"},
		"/inspect/report.json": {200, "application/json"},
		"/inspect/else":        {404, "text/plain; charset=utf-8"},
	} {
		got := get(t, p, "GET", path)
		if got.StatusCode != want.status || got.Header.Get("Content-Type") != want.typ {
			t.Errorf("%s: %d %s", path, got.StatusCode, got.Header.Get("Content-Type"))
		}
		policy := got.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") ||
			got.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, got.Header)
		}
	}
	for _, method := range []string{"POST", "DELETE", "PUT"} {
		if got := get(t, p, method, "/inspect/"); got.StatusCode != 405 || got.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, got.StatusCode)
		}
	}
}

// Nothing of the page is inline or elsewhere, and no text becomes markup.
func TestNothingInline(t *testing.T) {
	inline := regexp.MustCompile(
		`(?i)<script>|<style|\sstyle=|\son[a-z]+=|javascript:|src="?(https?:)?//|href="(https?:)?//|href="/`,
	)
	unsafe := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function`)
	files, err := fs.Glob(static, "static/*")
	if err != nil || len(files) != len(assets) {
		t.Fatalf("%d files, %d assets, %v", len(files), len(assets), err)
	}
	for _, name := range files {
		text, err := static.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := unsafe.Find(text); m != nil {
			t.Errorf("%s has %s", name, m)
		}
		if m := inline.Find(text); m != nil && strings.HasSuffix(name, ".html") {
			t.Errorf("%s has %s", name, m)
		}
	}
}

func TestConfigMistakes(t *testing.T) {
	p := New(nil, nil, Config{App: strings.Repeat("{", 101), MaxViewers: -1})
	err := p.Validate()
	if err == nil || strings.Count(err.Error(), "inspect.Config.") != 3 {
		t.Errorf("got %v", err)
	}
	if run := p.Run(t.Context()); run == nil {
		t.Error("it runs")
	}
	if got := get(t, p, "GET", "/"); got.StatusCode != 500 {
		t.Errorf("status %d", got.StatusCode)
	}
}

// event reads the next state that a page receives.
func event(t *testing.T, body *bufio.Reader) (s struct {
	overview
	Graph *graphView
}) {
	t.Helper()
	for {
		line, err := body.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(data), &s); err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
}

func open(t *testing.T, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func TestLive(t *testing.T) {
	show := parts.New()
	started(t, show, orders("billing"))
	p := New(nil, show, Config{App: "shop", MaxViewers: 1})
	url := site(t, p)
	first := open(t, url+"live?graph=billing")
	body := bufio.NewReader(first.Body)
	s := event(t, body)
	if s.App != "shop" || len(s.Graphs) != 1 || s.Graph == nil || len(s.Graph.Stages) != 9 || len(s.Processes) != 1 ||
		!s.Processes[0].Here {
		t.Errorf("the first event: %+v", s)
	}
	redistest.Soon(t, "the page gets rates", func() bool { // a board that costs much is refreshed less often
		s = event(t, body)
		return s.Graph != nil && s.Graph.Rate > 0 && s.Graph.stage("price").Busy != nil
	})
	if second := open(t, url+"live"); second.StatusCode != 503 || second.Header.Get("Retry-After") == "" {
		t.Errorf("one page too many: %d", second.StatusCode)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		t.Errorf("the page's end: %v", err)
	}
}
