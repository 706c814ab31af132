package examples

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// The views are those of plain loops over the events, on a real server and in process.
func TestLedgerCheck(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{"redis-server": withPath(), "in-process": {"PATH=/nowhere"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := run(t, env, nil, "ledger", "-check", "-transfers", "300")
			want(
				t,
				out,
				"flowchart",
				"transfers 300 in ",
				"sum       0",
				"result    equals a plain loop over the events",
			)
		})
	}
}

// A transfer is refused for every reason that there is, with a problem that names it.
func TestLedgerHTTP(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"REDIS_URL=" + redistest.Start(t).URL()}, nil, "ledger", "-addr", "localhost:0")
	url := open(t, p)
	redistest.Soon(t, "the accounts are there", func() bool {
		_, accounts := exchange(t, "GET", url+"accounts", "")
		_, lines := exchange(t, "GET", url+"accounts/bob/statement", "")
		return strings.Contains(accounts, `"id":"bob"`) && strings.Contains(lines, "Welcome")
	})
	reply, body := exchange(t, "POST", url+"transfers", `{"id":"a","from":"ann","to":"bob","amount":700}`)
	etag := reply.Header.Get("ETag")
	if reply.StatusCode != http.StatusCreated || !strings.Contains(body, strings.Trim(etag, `"`)) {
		t.Fatalf("%d %s", reply.StatusCode, body)
	}
	for _, c := range []struct {
		what, path, body, match string
		status                  int
		says                    string
	}{
		{"repeated", "transfers", `{"id":"a","from":"ann","to":"bob","amount":700}`, "", 200, `"repeated":true`},
		{"expected", "transfers", `{"from":"ann","to":"bob","amount":1}`, etag, 201, `"version"`},
		{"late", "transfers", `{"from":"ann","to":"bob","amount":2}`, etag, 409, `"amount":1`},
		{"nonsense version", "transfers", `{"from":"ann","to":"bob","amount":2}`, `"x"`, 400, "not an entry ID"},
		{"poor", "transfers", `{"from":"ann","to":"bob","amount":1000000}`, "", 422, "not enough money"},
		{"nobody", "transfers", `{"from":"ann","to":"nobody","amount":1}`, "", 404, "not found"},
		{"itself", "transfers", `{"from":"ann","to":"ann","amount":1}`, "", 400, "same account"},
		{"nothing", "transfers", `{"from":"ann","to":"bob","amount":0}`, "", 400, "amount"},
		{"no number", "transfers", `{"from":"ann","to":"bob","amount":"NaN"}`, "", 400, "invalid"},
		{"unknown field", "transfers", `{"frm":"ann"}`, "", 400, "unknown field"},
		{"long", "transfers", `{"note":"` + strings.Repeat("x", 5000) + `"}`, "", 400, "too large"},
		{"an ID of others", "transfers", `{"id":"a","from":"bob","to":"eve","amount":1}`, "", 409, "another transfer"},
		{"a new account", "accounts", `{"owner":"Zoe Q"}`, "", 201, `"zoe-q"`},
		{"twice", "accounts", `{"owner":"Zoe Q"}`, "", 409, `"status":409`},
		{"no name", "accounts", `{"owner":" "}`, "", 400, "invalid"},
		{"a rebuild", "projections/statements/rebuild", `{}`, "", 202, `"build":"1.2"`},
		{"of nothing", "projections/x/rebuild", `{}`, "", 404, "not found"},
	} {
		var headers []string
		if c.match != "" {
			headers = append(headers, "If-Match: "+c.match)
		}
		reply, body := exchange(t, "POST", url+c.path, c.body, headers...)
		if reply.StatusCode != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s, want %d with %s", c.what, reply.StatusCode, body, c.status, c.says)
		}
		media := "application/json"
		if c.status >= 400 {
			media = "application/problem+json"
		}
		if got := reply.Header.Get("Content-Type"); got != media {
			t.Errorf("%s: Content-Type %s", c.what, got)
		}
	}
	interrupted(t, p)
}

// Two processes take transfers. They are killed in turn, and a projection is rebuilt meanwhile. Each
// transfer happens once, and the views are those of a plain loop.
func TestLedgerKilled(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	env := []string{"REDIS_URL=" + server.URL()}
	launch := func() (*process, string) {
		p := start(t, env, nil, "ledger", "-addr", "localhost:0")
		return p, open(t, p)
	}
	var urls [2]atomic.Value
	var running [2]*process
	for i := range running {
		p, url := launch()
		running[i] = p
		urls[i].Store(url)
	}
	const transfers, callers = 120, 4
	var made atomic.Int64
	var all sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	names := strings.Fields("ann bob cleo dan")
	for n := range callers {
		all.Go(func() {
			for i := n; i < transfers; i += callers {
				body := fmt.Sprintf(
					`{"id":"t-%d","from":%q,"to":%q,"amount":%d}`,
					i,
					names[i%4],
					names[(i+1+i/7%3)%4],
					1+i,
				)
				for try := i; ; try++ { // the same transfer, to either process, until one has answered
					reply, err := client.Post(urls[try%2].Load().(string)+"transfers", "application/json",
						bytes.NewBufferString(body))
					if err != nil {
						<-time.After(10 * time.Millisecond)
						continue
					}
					reply.Body.Close()
					if reply.StatusCode == http.StatusCreated || reply.StatusCode == http.StatusOK {
						break
					}
					if reply.StatusCode != http.StatusServiceUnavailable {
						t.Errorf("status %d for %s", reply.StatusCode, body)
						break
					}
				}
				made.Add(1)
			}
		})
	}
	for round := range 4 {
		redistest.Soon(t, "transfers are made", func() bool { return made.Load() >= int64(20*(round+1)) })
		exchange(t, "POST", urls[(round+1)%2].Load().(string)+"projections/balances/rebuild", "{}")
		victim := running[round%2]
		if err := victim.cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		<-victim.done
		p, url := launch()
		running[round%2] = p
		urls[round%2].Store(url)
	}
	all.Wait()
	_, body := exchange(t, "GET", urls[0].Load().(string)+"accounts", "")
	var rows []struct{ Balance int64 }
	if err := json.Unmarshal([]byte(body), &rows); err != nil || len(rows) != 7 {
		t.Errorf("accounts %s, %v", body, err)
	}
	out := run(t, env, nil, "ledger", "-check", "-transfers", "0")
	want(t, out, "sum       0", "result    equals a plain loop over the events")
	// 7 accounts, 6 first transfers and those that were made, with two events each.
	want(t, out, fmt.Sprintf("events    %d\n", 7+2*(6+transfers)))
	interrupted(t, running[:]...)
}

// A page transfers money, sees a conflict, and rebuilds a projection.
func TestLedgerInABrowser(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"REDIS_URL=" + redistest.Start(t).URL()}, nil, "ledger", "-addr", "localhost:0")
	url := open(t, p)
	page := tab(t)
	browse(t, page, chromedp.Navigate(url))
	shows(t, page, "the accounts", `document.querySelectorAll("#accounts li").length === 7`)
	shows(t, page, "that it is live", `document.querySelector("#state[data-state=live]")`)
	click(t, page, `#accounts button[data-id=bob]`)
	shows(t, page, "the statement of Bob", `document.querySelectorAll("#lines tr").length === 1`)
	browse(t, page, chromedp.Click(chromedp.CSS("#transfer button")))
	shows(t, page, "that it was sent", `document.querySelector("#result[data-kind=good]")`)
	shows(
		t,
		page,
		"the new balance",
		`document.querySelector("#accounts button[data-id=bob] b").textContent === "1,025.00"`,
	)
	shows(t, page, "its line", `document.querySelectorAll("#lines tr").length === 2`)
	shows(t, page, "the sum", `document.querySelector("#sum").textContent === "0.00"`)
	browse(t, page, chromedp.Click(chromedp.CSS(`.projection[data-name=statements] button`)))
	shows(t, page, "the rebuilt projection",
		`document.querySelector(".projection[data-name=statements] p").textContent.startsWith("build 1.2 serves")`)
	shows(t, page, "the statement as before", `document.querySelectorAll("#lines tr").length === 2`)
	screenshot(t, page, "ledger")
	dark(t, page)
	screenshot(t, page, "ledger-dark")
	interrupted(t, p)
	if text := p.stderr.text(); strings.Contains(text, "ERR") {
		t.Errorf("the log has an error:\n%s", text)
	}
}
