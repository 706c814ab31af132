package examples

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/redisio/dead"
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

// askNotify sends a request to notify, and returns the body of the answer.
func askNotify(t *testing.T, method, url, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s %v", method, url, answer.Status, text, err)
	}
	return string(text)
}

// sentNote is a note that was published.
type sentNote struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

func sendNote(t *testing.T, url, to, kind, title string) (n sentNote) {
	t.Helper()
	text := askNotify(t, "POST", url+"notes", fmt.Sprintf(`{"to":%q,"kind":%q,"title":%q}`, to, kind, title))
	if err := json.Unmarshal([]byte(text), &n); err != nil || n.ID == "" {
		t.Fatalf("%s, %v", text, err)
	}
	return n
}

// Notes reach their receivers from any process, without configuration and with a server that
// processes share.
func TestNotify(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{"in-process server": noServer(t), "REDIS_URL": {"REDIS_URL=" + redistest.Start(t).URL()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, env, nil, "notify", "-addr", "localhost:0", "-every", "500ms")
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
	again := restart(t, env, url, "notify", "-every", "0")
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

// Providers fail and lose replies, and one of two processes is killed in the middle. Each
// notification reaches each channel that its user wants, and no other, and the provider delivers it
// once. A notification that can never be delivered becomes a dead letter.
func TestNotifyDelivers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb, env := server.Client(t), []string{"REDIS_URL=" + server.URL()}
	var processes [2]*process
	var urls [2]string
	for i := range processes {
		processes[i] = start(t, env, nil, "notify", "-addr", "localhost:0", "-every", "0", "-fail", "0.5")
		urls[i] = open(t, processes[i])
	}
	askNotify(t, "PUT", urls[0]+"preferences?user=ann", `{"kinds":{"warning":["mail","webhook"]}}`)
	askNotify(t, "PUT", urls[1]+"preferences?user=bob", `{"kinds":{"warning":["push"]}}`)
	askNotify(t, "PUT", urls[0]+"preferences?user=eve", `{"kinds":{"warning":["mail","push"],"success":["webhook"]}}`)
	var wanted [3][]string // by mail, push and webhook
	var refused []string   // eve has no device
	for i := range 30 {
		if i == 20 {
			processes[1].signal(t, syscall.SIGKILL)
			processes[1].wait(t)
			urls[1] = urls[0]
		}
		id := sendNote(t, urls[i%2], "everyone", "warning", "The roof leaks").ID
		wanted[0] = append(wanted[0], "mail:ann:"+id, "mail:eve:"+id)
		wanted[1] = append(wanted[1], "push:bob:"+id)
		wanted[2] = append(wanted[2], "webhook:ann:"+id)
		refused = append(refused, "push:eve:"+id)
	}
	repeats := 0
	for i, name := range []string{"mail", "push", "webhook"} {
		redistest.Soon(t, "all is delivered by "+name, func() bool {
			n, err := rdb.ZCard(t.Context(), "{notify}:accepted:"+name).Result()
			waiting, _ := rdb.XLen(t.Context(), "{notify}:"+name).Result()
			return err == nil && n >= int64(len(wanted[i])) &&
				waiting <= 2 // a finished entry may stay until the next one
		})
		got, err := rdb.ZRange(t.Context(), "{notify}:accepted:"+name, 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		slices.Sort(wanted[i])
		if diff := cmp.Diff(wanted[i], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		n, _ := rdb.HGet(t.Context(), "{notify}:provider:"+name, "duplicates").Int()
		repeats += n
	}
	if repeats == 0 {
		t.Error("no reply was lost: the providers had nothing to deduplicate")
	}
	redistest.Soon(t, "what can't be delivered is dead", func() bool {
		n, err := rdb.XLen(t.Context(), "{notify}:push:dead").Result()
		return err == nil && n >= int64(len(refused))
	})
	letters := make(map[string]bool)
	for d, err := range dead.All(t.Context(), rdb, "{notify}:push:dead", dead.Filter{Error: "no such address"}) {
		if err != nil {
			t.Fatal(err)
		}
		var what struct{ ID string }
		data, _ := d.Original.Get("data")
		if err := json.Unmarshal(data, &what); err != nil {
			t.Fatal(err)
		}
		letters[what.ID] = true
	}
	for _, id := range refused {
		if !letters[id] {
			t.Errorf("%s is no dead letter", id)
		}
	}
	interrupted(t, processes[0])
}

// After a quiet time, one mail has all notes for the digest, although two processes share the work.
func TestNotifyDigest(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb, env := server.Client(t), []string{"REDIS_URL=" + server.URL()}
	first := start(t, env, nil, "notify", "-addr", "localhost:0", "-every", "0", "-quiet", "1500ms")
	second := start(t, env, nil, "notify", "-addr", "localhost:0", "-every", "0", "-quiet", "1500ms")
	urls := []string{open(t, first), open(t, second)}
	for began := time.Now(); ; { // on a busy machine, posting may take longer than the quiet time
		var notes []sentNote
		for i := range 6 {
			notes = append(notes, sendNote(t, urls[i%2], "ann", "info", "Some news"))
		}
		slices.SortFunc(notes, func(a, b sentNote) int {
			if d := a.At.UnixMilli() - b.At.UnixMilli(); d != 0 {
				return int(d)
			}
			return strings.Compare(a.ID, b.ID)
		})
		ids := sha256.New()
		for _, n := range notes {
			ids.Write([]byte(n.ID))
		}
		whole := "digest:ann:" + hex.EncodeToString(ids.Sum(nil)[:6])
		redistest.Soon(t, "nothing waits for a digest", func() bool {
			inbox := askNotify(t, "GET", urls[0]+"inbox?user=ann", "")
			n, err := rdb.Exists(t.Context(), "{notify}:digest:ann", "{notify}:digests").Result()
			waiting, _ := rdb.XLen(t.Context(), "{notify}:mail").Result()
			return strings.Contains(inbox, notes[5].ID) && err == nil && n == 0 && waiting <= 1
		})
		sent, err := rdb.ZRange(t.Context(), "{notify}:accepted:mail", 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(sent, whole) {
			break
		}
		if time.Since(began) > redistest.Patience {
			t.Fatalf("no digest has all notes: sent are %v, not %s", sent, whole)
		}
	}
	interrupted(t, first, second)
}

// Two tabs at two processes show the same number of unread notes. Preferences and providers are set
// in the page.
func TestNotifyInTwoTabs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	env := []string{"REDIS_URL=" + server.URL()}
	first := start(t, env, nil, "notify", "-addr", "localhost:0", "-every", "0", "-fail", "0")
	second := start(t, env, nil, "notify", "-addr", "localhost:0", "-every", "0", "-fail", "0")
	urls, tabs := []string{open(t, first), open(t, second)}, []context.Context{tab(t), tab(t)}
	for i, page := range tabs {
		browse(t, page, chromedp.Navigate(urls[i]+"?user=ann"))
		shows(t, page, "it is live", `document.querySelector("#state[data-state=live]")`)
	}
	both := func(what, unread string) {
		t.Helper()
		for _, page := range tabs {
			shows(t, page, what, `document.querySelector("#count").textContent === "`+unread+`"`)
		}
	}
	sendNote(t, urls[0], "ann", "warning", "The roof leaks")
	sendNote(t, urls[1], "everyone", "success", "It stopped")
	sendNote(t, urls[1], "bob", "success", "Not for ann")
	sendNote(t, urls[1], "ann", "info", "It rained")
	both("three unread notes", "3")
	browse(t, tabs[0], chromedp.Click(chromedp.CSS("#feed li:last-child button")))
	both("that one is read", "2")
	screenshot(t, tabs[0], "notify-inbox")
	browse(t, tabs[1], chromedp.Click(chromedp.CSS("#all")))
	both("that all are read", "0")
	browse(t, tabs[0], chromedp.Navigate(urls[1]+"?user=ann"))
	shows(t, tabs[0], "the notes again", `document.querySelectorAll("#feed li.read").length === 3`)
	both("that all are read", "0")
	if text := askNotify(t, "GET", urls[0]+"inbox?user=ann", ""); !strings.Contains(text, `"unread":0`) {
		t.Errorf("the server counts otherwise: %s", text)
	}
	shows(t, tabs[0], "the preferences", `document.querySelector("#preferences[data-loaded]")`)
	browse(t, tabs[0], chromedp.Click(chromedp.CSS(`#preferences input[name=warning][value=push]`)))
	redistest.Soon(t, "the preferences are saved", func() bool {
		return strings.Contains(askNotify(t, "GET", urls[0]+"preferences?user=ann", ""), `"warning":["mail","webhook"]`)
	})
	now := time.Now().UTC()
	from := now.Hour()*60 + now.Minute() + 24*60 - 30
	askNotify(t, "PUT", urls[0]+"preferences?user=bob", fmt.Sprintf(
		`{"kinds":{"warning":["push"]},"quiet":{"from":%d,"to":%d}}`, from%(24*60), (from+60)%(24*60)))
	sendNote(t, urls[1], "bob", "warning", "In the quiet hours")
	redistest.Soon(t, "the push waits for their end", func() bool {
		later := server.Client(t).ZRangeWithScores(t.Context(), "{notify}:push:later", 0, -1).Val()
		end := now.Truncate(time.Minute).Add(30 * time.Minute)
		return len(later) == 1 && time.UnixMilli(int64(later[0].Score)).Equal(end)
	})
	if text := askNotify(t, "GET", urls[0]+"inbox?user=bob", ""); !strings.Contains(text, "In the quiet hours") {
		t.Errorf("the inbox lacks the note: %s", text)
	}
	shows(t, tabs[0], "the providers", `document.querySelector("#provider-mail[data-mode=ok]")`)
	browse(t, tabs[0], chromedp.Click(chromedp.CSS(`#provider-mail input[value=failing] + span`)))
	shows(t, tabs[1], "that mail fails", `document.querySelector("#provider-mail[data-mode=failing]")`)
	sendNote(t, urls[0], "ann", "warning", "By mail and webhook")
	failed := `Number(document.querySelector("#provider-mail [data-count=failed] dd").textContent) > 0`
	shows(t, tabs[1], "that it was tried", failed)
	browse(t, tabs[1], chromedp.Click(chromedp.CSS(`#provider-mail input[value=ok] + span`)))
	shows(t, tabs[0], "that it is delivered",
		`document.querySelector("#log").textContent.includes("mail to ann: By mail and webhook")`)
	interrupted(t, first, second)
}
