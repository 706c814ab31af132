package examples

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// The figures are those of plain loops over the same views, on a real server and in process.
func TestAnalyticsCheck(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{"redis-server": withPath(), "in-process": {"PATH=/nowhere"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p *process
			for range 4 { // a pause of four seconds ends all windows, also one of the machine
				p = start(t, env, nil, "analytics", "-check", "-views", "3000", "-seed", "7")
				if p.wait(t) == 0 {
					break
				}
			}
			if code := p.wait(t); code != 0 {
				t.Fatalf("exit status %d", code)
			}
			want(t, p.stdout.text(), "flowchart", "views     3000 in 30 minutes, ",
				"result    equals plain loops over the same views")
		})
	}
}

// The page draws a bar for each minute, and ends as Ctrl-C wants. Late views are in a stream.
func TestAnalyticsInABrowser(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := start(t, []string{"REDIS_URL=" + server.URL()}, nil, "analytics", "-addr", "localhost:0",
		"-views", "3000", "-minute", "100ms")
	url := open(t, p)
	page := tab(t)
	browse(t, page, chromedp.Navigate(url))
	shows(t, page, "minutes that have ended and one that has not",
		`document.querySelectorAll("#chart .bar:not(.early)").length > 2`)
	shows(t, page, "all minutes", `document.querySelectorAll("#chart .bar:not(.early)").length === 30`)
	shows(t, page, "pages, sessions and users", `["pages", "lengths", "users"].every((id) =>
		document.querySelectorAll("#" + id + " li").length > 3)`)
	shows(t, page, "that it is live", `document.querySelector("#state[data-state=live]")`)
	// A click by the test's driver fails if the page draws the bar anew meanwhile.
	shows(t, page, "the minute that was clicked", `document.querySelector("#chart .bar").dispatchEvent(
		new MouseEvent("click", {bubbles: true})) && document.querySelector("#chart .bar.chosen")`)
	screenshot(t, page, "analytics")
	dark(t, page)
	screenshot(t, page, "analytics-dark")
	if keys := server.Client(t).Keys(t.Context(), "analytics:*:late").Val(); len(keys) != 1 {
		t.Errorf("the streams of late views are %v", keys)
	}
	interrupted(t, p)
	if keys := server.Client(t).Keys(t.Context(), "analytics:*").Val(); len(keys) != 0 {
		t.Errorf("streams are left: %v", keys)
	}
	want(t, p.stdout.text(), "flowchart")
	if text := p.stderr.text(); strings.Contains(text, "ERR") {
		t.Errorf("the log has an error:\n%s", text)
	}
}

// Bad flags are refused.
func TestAnalyticsFlags(t *testing.T) {
	t.Parallel()
	p := start(t, noServer(t), nil, "analytics", "-views", "0")
	if code := p.wait(t); code != 2 {
		t.Errorf("exit status %d, want 2", code)
	}
}
