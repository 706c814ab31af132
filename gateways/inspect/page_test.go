package inspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// chromium is a headless Chromium for all tests. It has no sandbox, because it opens only our page.
var chromium = sync.OnceValues(func() (context.Context, error) {
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true))
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	closeBrowser = func() { cancel(); stop() }
	if err := chromedp.Do(ctx); err != nil {
		return nil, errors.Join(errors.New("the tests need Chromium on PATH: make setup installs it on Debian"), err)
	}
	return ctx, nil
})

var closeBrowser = func() {}

// size is a size of a screen.
type size struct {
	name          string
	width, height int64
}

var sizes = []size{{"desktop", 1360, 900}, {"tablet", 820, 1100}, {"phone", 390, 844}}

// tab opens a page in a tab of its own. The test fails if the page throws.
func tab(t *testing.T, url string, s size, dark bool) context.Context {
	t.Helper()
	browser, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	exceptions := chromedp.Events(ctx, runtime.ExceptionThrown)
	logs := chromedp.Events(ctx, runtime.ConsoleAPICalled)
	t.Cleanup(func() {
		cancel()
		for e, err := range exceptions { // ends with the tab
			if err != nil {
				break
			}
			t.Errorf("the page threw: %v", &chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails})
		}
		for e, err := range logs {
			if err != nil {
				break
			}
			t.Errorf("the page logged: %s", e.Type)
		}
	})
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.EmulateViewport(s.width, s.height), chromedp.Navigate(url))
	return ctx
}

func do(t *testing.T, tab context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, time.Duration(len(steps))*redistest.Patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("in the browser: %v", err)
	}
}

// look evaluates a JavaScript expression in the page.
func look[T any](t *testing.T, tab context.Context, js string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, redistest.Patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js))
	if err != nil {
		t.Fatalf("in the browser: %v", err)
	}
	return v
}

// shows waits until a JavaScript expression is true.
func shows(t *testing.T, tab context.Context, what, js string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the page shows\n%s", look[string](t, tab, "document.body.innerText"))
		}
	}()
	redistest.Soon(t, "the page shows "+what, func() bool { return look[bool](t, tab, "Boolean("+js+")") })
}

// picture writes a picture of the whole page into $SCREENSHOTS, or a folder of the test.
func picture(t *testing.T, tab context.Context, name string) {
	t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(tab, redistest.Patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	file := filepath.Join(dir, name+".png")
	if err = errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(file, png, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// site serves a page below /tools/inspect/.
func site(t *testing.T, p *Page) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/tools/inspect/", p)
	srv := httptest.NewServer(mux)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL + "/tools/inspect/"
}

// started starts a graph that ends with the test.
func started(t *testing.T, show *parts.Set, g *flow.Graph) *flow.Running {
	t.Helper()
	r, err := g.Start(show.Watch(context.WithoutCancel(t.Context())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Stop() })
	return r
}

var silent = flow.Log(silentLog)

// orders is a busy graph: "price" is its bottleneck.
func orders(name string) *flow.Graph {
	src := source.Values(func(yield func(int64) bool) {
		for n := int64(0); yield(n); n++ {
		}
	}, flow.Name("orders"))
	checked := operators.Map(src, flow.Pure(func(n int64) int64 { return n / 1000 }), flow.Name("check"))
	priced := operators.Map(checked, func(ctx context.Context, n int64) (int64, error) {
		return n, flow.Sleep(ctx, 5*time.Millisecond)
	}, flow.Name("price"), flow.Workers(2))
	shards := operators.Partition(priced, 3, func(n int64) int64 { return n })
	for i := range shards {
		shards[i] = operators.Filter(shards[i], flow.Pure(func(n int64) bool { return n%2 == 0 }),
			flow.Name(fmt.Sprintf("rules %d", i)))
	}
	return flow.New(name, flow.To(operators.FanIn(shards...), sink.Discard[int64](flow.Name("invoices"))), silent)
}

// quiet is a graph without messages.
func quiet(name string) *flow.Graph {
	return flow.New(name, flow.To(source.Every(time.Hour, time.Time.UnixNano), sink.Discard[int64]()), silent)
}

// broken is a graph in which all messages fail.
func broken(name string) *flow.Graph {
	src := source.Every(20*time.Millisecond, time.Time.UnixNano, flow.Name("events"))
	failing := operators.Map(src, func(context.Context, int64) (int, error) {
		return 0, errors.New("connect to <b>db-1</b>: connection refused")
	}, flow.Name("store"))
	return flow.New(name, flow.To(failing, sink.Discard[int]()), flow.Faults(flow.Drop), silent)
}
