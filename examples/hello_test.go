package examples

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

const helloReply = `{"ok":"received message!"}`

var openPattern = regexp.MustCompile(`open (http://\S+) in a browser`)

// open waits until an example serves, and returns the URL in its log.
func open(t *testing.T, p *process) string {
	t.Helper()
	var url string
	redistest.Soon(t, p.name+" serves", func() bool {
		if m := openPattern.FindStringSubmatch(p.stderr.text()); m != nil {
			url = m[1]
		}
		return url != ""
	})
	return url
}

// get sends an HTTP request on its own connection.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func greeted(t *testing.T, url string) {
	t.Helper()
	if status, body := get(t, url); status != http.StatusOK || body != helloReply {
		t.Errorf("%d %s", status, body)
	}
}

// interrupted ends processes by Ctrl-C, and requires the exit status 0.
func interrupted(t *testing.T, all ...*process) {
	t.Helper()
	for _, p := range all {
		p.signal(t, syscall.SIGINT)
	}
	for _, p := range all {
		if code := p.wait(t); code != 0 {
			t.Errorf("%s: exit status %d after Ctrl-C", p.name, code)
		}
	}
}

func TestHello(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"in-process server":    noServer(t),
		"private redis-server": withPath(),
		"REDIS_URL":            {"REDIS_URL=" + redistest.Start(t).URL()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, env, nil, "hello", "-addr", "localhost:0")
			url := open(t, p)
			greeted(t, url)
			if status, _ := get(t, url+"favicon.ico"); status != http.StatusNotFound {
				t.Errorf("another path: %d", status)
			}
			want(t, p.stdout.text(), "flowchart")
			want(
				t,
				p.stderr.text(),
				name,
				"event received",
				"event answered",
				"type=helloWorldEvent",
				"path=/ status=200",
			)
			interrupted(t, p)
			if strings.Contains(p.stderr.text(), " WRN ") {
				t.Error("it warns")
			}
			if left, err := os.ReadDir(p.tmp); err != nil || len(left) > 0 {
				t.Errorf("it left %v in the folder for temporary files, %v", left, err)
			}
		})
	}
}

// A browser opens the page and shows the reply.
func TestHelloInABrowser(t *testing.T) {
	t.Parallel()
	p := start(t, noServer(t), nil, "hello", "-addr", "localhost:0")
	page := tab(t)
	browse(t, page, chromedp.Navigate(open(t, p)))
	if shown := see(t, page, chromedp.Text(chromedp.CSS("body"))); shown != helloReply {
		t.Errorf("the browser shows %q", shown)
	}
	screenshot(t, page, "hello")
	interrupted(t, p) // with the browser's connections open
}

// One server and two processors, which share the work, run as separate processes.
func TestHelloRoles(t *testing.T) {
	t.Parallel()
	on := redistest.Start(t)
	rdb, env := on.Client(t), []string{"REDIS_URL=" + on.URL()}
	server := start(t, env, nil, "hello", "-role", "server", "-addr", "localhost:0")
	processors := []*process{
		start(t, env, nil, "hello", "-role", "processor"),
		start(t, env, nil, "hello", "-role", "processor"),
	}
	url := open(t, server)
	redistest.Soon(t, "both processors read", func() bool { // a server without any refuses requests
		all, err := rdb.XInfoConsumers(t.Context(), "my-stream-topic", "service").Result()
		all = slices.DeleteFunc(all, func(c redis.XInfoConsumer) bool { return strings.HasPrefix(c.Name, "redisio:") })
		return err == nil && len(all) == 2
	})
	redistest.Soon(t, "both processors have answered", func() bool {
		for range 20 { // one after the other: of several at once, a busy machine refuses some
			greeted(t, url)
		}
		return !t.Failed() && strings.Contains(processors[0].stderr.text(), "event answered") &&
			strings.Contains(processors[1].stderr.text(), "event answered")
	})
	interrupted(t, processors[0]) // the other one answers all events
	greeted(t, url)
	interrupted(t, processors[1], server)
}

// Each event is logged once: processors do not repeat each other's work.
func TestHelloEachEventOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	env := []string{"REDIS_URL=" + server.URL()}
	p := start(t, env, nil, "hello", "-addr", "localhost:0")
	url := open(t, p)
	const n = 25
	for range n {
		greeted(t, url)
	}
	interrupted(t, p)
	if got := strings.Count(p.stderr.text(), "event received"); got != n {
		t.Errorf("%d events for %d requests", got, n)
	}
	ctx := context.Background()
	pending, err := server.Client(t).XPending(ctx, "my-stream-topic", "service").Result()
	if err != nil || pending.Count != 0 {
		t.Errorf("left pending: %+v, %v", pending, err)
	}
}

// Without a processor the caller receives 503 and no_service, at once or after its timeout, and
// never 500.
func TestHelloWithoutProcessor(t *testing.T) {
	t.Parallel()
	p := start(
		t,
		[]string{"REDIS_URL=" + redistest.Start(t).URL()},
		nil,
		"hello",
		"-role",
		"server",
		"-addr",
		"localhost:0",
	)
	status, body := get(t, open(t, p))
	var failure struct{ Error struct{ Code string } }
	if err := json.Unmarshal([]byte(body), &failure); err != nil ||
		status != http.StatusServiceUnavailable || failure.Error.Code != "no_service" {
		t.Errorf("%d %s", status, body)
	}
	interrupted(t, p)
}

func TestHelloBusyPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := start(t, noServer(t), nil, "hello", "-addr", l.Addr().String())
	if code := p.wait(t); code != 1 {
		t.Errorf("exit status %d", code)
	}
	want(t, p.stderr.text(), "the port is in use", "-addr localhost:3009")
}

func TestHelloCommandLine(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"-role worker":    "give all, processor, server",
		"-role processor": "set REDIS_URL",
		"stray":           `unexpected argument "stray"`,
		"-nonsense":       "not defined",
	} {
		p := start(t, noServer(t), nil, "hello", strings.Fields(args)...)
		if code := p.wait(t); code != 2 {
			t.Errorf("hello %s: exit status %d", args, code)
		}
		want(t, p.stderr.text(), says)
	}
	p := start(t, noServer(t), nil, "hello", "-h")
	if code := p.wait(t); code != 0 {
		t.Errorf("hello -h: exit status %d", code)
	}
	want(t, p.stderr.text(), "Usage: hello", "-role", "REDIS_URL", "localhost:3000")
}

// SIGTERM, which Kubernetes sends, ends the process as Ctrl-C does.
func TestHelloTerminated(t *testing.T) {
	t.Parallel()
	p := start(t, noServer(t), nil, "hello", "-addr", "localhost:0")
	greeted(t, open(t, p))
	p.signal(t, syscall.SIGTERM)
	if code := p.wait(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
