package examples

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// chromium is a headless Chromium for all tests. It has no sandbox, because it opens only our
// pages.
var chromium = sync.OnceValues(func() (*browser, error) {
	opts := append(
		chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.WindowSize(1100, 760),
		chromedp.WSURLReadTimeout(redistest.Patience),
		chromedp.Flag("disable-dev-shm-usage", true),
	)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	b := &browser{ctx: ctx, close: func() { cancel(); stop() }}
	if err := chromedp.Do(ctx); err != nil {
		b.close()
		return nil, errors.Join(errors.New("the tests need Chromium on PATH: make setup installs it on Debian"), err)
	}
	return b, nil
})

type browser struct {
	ctx   context.Context
	close func()
}

var opened sync.Once // done once a test has opened the browser

var closeBrowser = func() {}

// browsing limits the number of tests with tabs. More would only wait for the machine to draw them.
var (
	browsing = make(chan struct{}, 2)
	tabs     sync.Map // of *testing.T
)

// tab opens a tab with its own cookies and storage. The tab closes with the test. The test fails if
// the page throws an exception, or if a step takes longer than patience.
func tab(t *testing.T) context.Context {
	t.Helper()
	b, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	opened.Do(func() { closeBrowser = b.close })
	if _, another := tabs.LoadOrStore(t, true); !another {
		browsing <- struct{}{}
		t.Cleanup(func() { <-browsing })
	}
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	exceptions := chromedp.Events(ctx, runtime.ExceptionThrown)
	t.Cleanup(func() {
		cancel()
		for e, err := range exceptions { // ends with the tab
			if err != nil {
				break
			}
			t.Errorf("the page threw: %v", &chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails})
		}
	})
	return ctx
}

// browse performs steps in a tab.
func browse(t *testing.T, tab context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, done := context.WithTimeout(tab, time.Duration(len(steps))*redistest.Patience)
	defer done()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("in the browser: %v", err)
	}
}

// see performs one step in a tab, and returns its result.
func see[T any](t *testing.T, tab context.Context, look chromedp.Action[T]) T {
	t.Helper()
	ctx, done := context.WithTimeout(tab, redistest.Patience)
	defer done()
	v, err := chromedp.Run(ctx, look)
	if err != nil {
		t.Fatalf("in the browser: %v", err)
	}
	return v
}

// shows waits until a JavaScript expression is true in a page. Elements may still be absent.
func shows(t *testing.T, tab context.Context, what, js string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the page shows\n%s", see(t, tab, chromedp.Text(chromedp.CSS("body"))))
		}
	}()
	js = `(() => {
		try {
			return Boolean(` + js + `);
		} catch (e) {
			if (e instanceof TypeError) return false;
			throw e;
		}
	})()`
	redistest.Soon(t, "the page shows "+what, func() bool { return see(t, tab, chromedp.Evaluate[bool](js)) })
}

// click clicks an element that the page may draw again at any time. A click of the driver would miss it then.
func click(t *testing.T, tab context.Context, selector string) {
	t.Helper()
	shows(t, tab, selector, fmt.Sprintf(`document.querySelector(%q).dispatchEvent(
		new MouseEvent("click", {bubbles: true}))`, selector))
}

// slowly clicks like a user. It calls meanwhile between pressing and releasing the button.
func slowly(t *testing.T, tab context.Context, selector string, meanwhile func()) {
	t.Helper()
	at := see(t, tab, chromedp.Evaluate[input.DispatchMouseEventParams](fmt.Sprintf(
		`(({x, y, width, height}) => ({x: x + width / 2, y: y + height / 2}))(document.querySelector(%q).getBoundingClientRect())`,
		selector,
	)))
	at.Button, at.ClickCount = input.MouseButtonLeft, 1
	for _, at.Type = range []input.DispatchMouseEventType{input.DispatchMouseEventTypeMousePressed,
		input.DispatchMouseEventTypeMouseReleased} {
		if _, err := chromedp.Call(tab, input.DispatchMouseEvent, at); err != nil {
			t.Fatal(err)
		}
		if at.Type == input.DispatchMouseEventTypeMousePressed {
			meanwhile()
		}
	}
}

// press types keys as a keyboard does. If the page prevents the default of a keydown event, the key
// types nothing.
func press(keys string) chromedp.Action[chromedp.Void] {
	return chromedp.KeyEvent(keys, func(k *input.DispatchKeyEventParams) {
		if k.Type == input.DispatchKeyEventTypeKeyDown {
			k.Type = input.DispatchKeyEventTypeRawKeyDown
		}
	})
}

// dark emulates a user preference for dark pages.
func dark(t *testing.T, tab context.Context) {
	t.Helper()
	if _, err := chromedp.Call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}); err != nil {
		t.Fatal(err)
	}
}

// screenshot takes a picture of a tab. The file is name.png in the folder $SCREENSHOTS, or in a
// temporary folder of the test.
func screenshot(t *testing.T, tab context.Context, name string) {
	t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	png := see(t, tab, chromedp.CaptureScreenshot())
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".png"), png,
		0o644)); err != nil {
		t.Fatal(err)
	}
}
