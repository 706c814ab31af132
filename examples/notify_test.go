package examples

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// publish posts a note to notify, and returns the status of the answer.
func publish(t *testing.T, url, to, title string) int {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	body := fmt.Sprintf(`{"to":%q,"kind":"success","title":%q,"text":"by the test"}`, to, title)
	r, err := c.Post(url+"notes", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode
}

// Notes reach their receivers from any process, without configuration and with a server that
// processes share.
func TestNotify(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{"in-process server": noServer(t), "REDIS_URL": {"REDIS_URL=" + redistest.Start(t).URL()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, env, nil, "notify", "-addr", "localhost:0", "-every", "50ms")
			url := open(t, p)
			feed, page := tab(t), tab(t)
			browse(t, feed, chromedp.Navigate(url+"?user=ann"))
			browse(t, page, chromedp.Navigate(url+"?user=bob"))
			shows(
				t,
				feed,
				"it is live, and the ticks come",
				`document.querySelector("#state[data-state=live]") && document.querySelectorAll("#feed li").length > 2`,
			)
			shows(t, page, "it is live", `document.querySelector("#state[data-state=live]")`)
			if got := publish(t, url, "ann", "only for ann"); got != http.StatusAccepted {
				t.Errorf("publish: %d", got)
			}
			if got := publish(t, url, "ann,bob\n", "nobody's name"); got != http.StatusBadRequest {
				t.Errorf("a bad name: %d", got)
			}
			shows(t, feed, "the note", `document.querySelector("#feed").innerText.includes("only for ann")`)
			publish(t, url, "bob", "only for bob")
			shows(t, page, "its note", `document.querySelector("#feed").innerText.includes("only for bob")`)
			if text := see(t, page, chromedp.Text(chromedp.CSS("#feed"))); strings.Contains(text, "only for ann") {
				t.Error("bob sees what is for ann")
			}
			if status, _ := get(t, url+"events"); status != http.StatusUnauthorized {
				t.Errorf("events for nobody: %d", status)
			}
			want(t, p.stdout.text(), "flowchart")
			interrupted(t, p)
		})
	}
}

// A page publishes. After its server has restarted, the page receives everything published
// meanwhile.
func TestNotifyInABrowser(t *testing.T) {
	t.Parallel()
	env := []string{"REDIS_URL=" + redistest.Start(t).URL()}
	first := start(t, env, nil, "notify", "-addr", "localhost:0", "-every", "0")
	url := open(t, first)
	other := start(t, env, nil, "notify", "-addr", "localhost:0", "-every", "0")
	page := tab(t)
	browse(t, page, chromedp.Navigate(url))
	shows(t, page, "it is live", `document.querySelector("#state[data-state=live]")`)
	browse(t, page, chromedp.Click(chromedp.CSS("#send button")))
	shows(t, page, "what was published", `document.querySelectorAll("#feed li").length === 1`)
	publish(t, open(t, other), "ann", "From another process")
	publish(t, open(t, other), "everyone", "<b>All</b> \u2603")
	shows(
		t,
		page,
		"what another process published",
		`document.querySelectorAll("#feed li").length === 3 && document.querySelector("#feed").innerText.includes("<b>All</b>")`,
	)
	shows(t, page, "it at rest", `document.getAnimations().length === 0`)
	screenshot(t, page, "notify")
	dark(t, page)
	screenshot(t, page, "notify-dark")

	interrupted(t, first)
	shows(t, page, "that it is cut off", `document.querySelector("#state[data-state=connecting]")`)
	publish(t, open(t, other), "ann", "While you were away")
	again := start(
		t,
		env,
		nil,
		"notify",
		"-addr",
		strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/"),
		"-every",
		"0",
	)
	shows(
		t,
		page,
		"what it missed, once",
		`document.querySelectorAll("#feed li").length === 4 && document.querySelector("#feed li").innerText.includes("While you were away")`,
	)
	publish(t, url, "ann", "And on it goes")
	shows(t, page, "what comes then", `document.querySelectorAll("#feed li").length === 5`)
	interrupted(t, again, other)
}
