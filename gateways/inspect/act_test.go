package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// lines is a log that tests read.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// anne may do everything.
func anne(*http.Request, Action) (string, error) { return "anne", nil }

// acting is a configuration with all actions.
func acting(log *slog.Logger) Config {
	return Config{App: "shop", AllowActions: true, Authorize: anne, ShowPayloads: true, Log: log}
}

// send asks a page for something, and returns the status and the result.
func send(t *testing.T, p *Page, body string, change ...func(*http.Request)) (int, outcome) {
	t.Helper()
	r := httptest.NewRequest("POST", "/inspect/act", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	var o outcome
	if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return w.Code, o
}

// answered is send, once no process and no Redis was too slow for the action on a busy machine.
func answered(t *testing.T, p *Page, body string) (status int, o outcome) {
	t.Helper()
	redistest.Soon(t, "all processes answer in time", func() bool {
		status, o = send(t, p, body)
		return !late(o)
	})
	return status, o
}

func late(o outcome) bool {
	return slices.ContainsFunc(o.Lines, func(line string) bool {
		return strings.Contains(line, "did not answer within") || strings.Contains(line, "is gone: it reported last") ||
			strings.Contains(line, "Redis does not answer") || strings.Contains(line, "its answer can't be read")
	})
}

func TestMistakesOfActions(t *testing.T) {
	for want, cfg := range map[string]Config{
		"inspect.Config.Authorize: is nil, but AllowActions is set": {AllowActions: true},
		"inspect.Config.ShowPayloads: is set without AllowActions":  {ShowPayloads: true},
		"inspect.Config.Authorize: is set, but AllowActions is not": {Authorize: anne},
		"inspect.Config.DeadKeys: has an empty key":                 {DeadKeys: []string{"a", ""}},
	} {
		if err := New(nil, nil, cfg).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := New(nil, nil, acting(nil)).Validate(); err != nil {
		t.Error(err)
	}
}

// Requests that may not act are refused with a reason. None of them reaches a graph.
func TestActionsAreRefused(t *testing.T) {
	var log lines
	cfg := acting(log.logger())
	cfg.Authorize = func(r *http.Request, a Action) (string, error) {
		if who := r.Header.Get("X-User"); who != "anne" {
			return who, errors.New("only anne may " + string(a.Do))
		}
		return "anne", nil
	}
	show := parts.New()
	g := started(t, show, orders("billing"))
	p := New(nil, show, cfg)
	as := func(name string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-User", name) }
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { as("anne")(r); r.Header.Set(name, value) }
	}
	const pause = `{"do":"pause","graph":"billing"}`
	ids := strings.Repeat(`"1-1",`, maxIDs) + `"1-1"`
	for name, c := range map[string]struct {
		page   *Page
		body   string
		change func(*http.Request)
		status int
		text   string
	}{
		"method":        {p, pause, func(r *http.Request) { r.Method = "GET" }, 405, "actions need POST"},
		"other site":    {p, pause, header("Sec-Fetch-Site", "cross-site"), 403, "from the page itself only"},
		"other origin":  {p, pause, header("Origin", "https://evil.example"), 403, "from the page itself only"},
		"form":          {p, pause, header("Content-Type", "text/plain"), 415, "application/json"},
		"no JSON":       {p, "pause", as("anne"), 400, "invalid character"},
		"unknown field": {p, `{"do":"pause","graph":"billing","force":true}`, as("anne"), 400, "unknown field"},
		"unknown verb":  {p, `{"do":"delete","graph":"billing"}`, as("anne"), 400, "use pause, resume"},
		"view":          {p, `{"do":"view","key":"k","ids":["1-1"]}`, as("anne"), 400, "open the dead letter"},
		"no graph":      {p, `{"do":"drain"}`, as("anne"), 400, "name the graph"},
		"both":          {p, `{"do":"drop","graph":"billing","key":"k","ids":["1-1"]}`, as("anne"), 400, "choose one"},
		"no ids":        {p, `{"do":"drop","key":"k"}`, as("anne"), 400, "select a dead letter"},
		"many ids":      {p, `{"do":"drop","key":"k","ids":[` + ids + `]}`, as("anne"), 400, "select fewer"},
		"bad id":        {p, `{"do":"drop","key":"k","ids":["*"]}`, as("anne"), 400, "no entry ID"},
		"large":         {p, `{"do":"` + strings.Repeat("x", maxBody) + `"}`, as("anne"), 413, "exceeds 8 MiB"},
		"not anne":      {p, pause, as("eve"), 403, "not allowed: only anne may pause"},
		"no Redis":      {p, `{"do":"drop","key":"k","ids":["1-1"]}`, as("anne"), 404, "no Redis client"},
		"no actions":    {New(nil, show, Config{}), pause, as("anne"), 403, "set Config.AllowActions"},
	} {
		status, o := send(t, c.page, c.body, c.change)
		if status != c.status || o.OK || !strings.Contains(o.Text, c.text) {
			t.Errorf("%s: %d %+v, want %d %s", name, status, o, c.status, c.text)
		}
	}
	if g.State() != flow.Active {
		t.Errorf("the graph is %v", g.State())
	}
	const refused = `msg="inspect: action" who=eve do=pause graph=billing result="refused: only anne may pause"`
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, refused) {
		t.Errorf("the log:\n%s", got)
	}
}

// A graph is paused, resumed and drained in one process or in all; each process answers for itself.
func TestGraphsOfAllProcesses(t *testing.T) {
	srv := redistest.Start(t)
	var logs [3]lines
	var pages [3]*Page
	var running [3]*flow.Running
	for i := range pages {
		show := parts.New()
		running[i] = started(t, show, quiet("billing"))
		cfg := acting(logs[i].logger())
		if i == 2 {
			cfg = Config{App: "shop", Log: logs[i].logger()}
		}
		pages[i] = New(client(t, srv.Addr()), show, cfg)
		run(t, pages[i])
	}
	here, other, deaf := pages[0].own.process, pages[1].own.process, pages[2].own.process
	redistest.Soon(t, "the processes know each other", func() bool { return len(looks(pages[0], "").Processes) == 3 })
	states := func() string {
		return fmt.Sprint(running[0].State(), " ", running[1].State(), " ", running[2].State())
	}
	says := func(body, text, want string, all ...string) {
		t.Helper()
		status, o := answered(t, pages[0], body)
		if status != 200 || o.Text != text || states() != want || len(o.Lines) != len(all) {
			t.Errorf("%s: %d %+v, states %s", body, status, o, states())
		}
		for _, line := range all {
			if !strings.Contains(strings.Join(o.Lines, "\n")+"\n", line+"\n") {
				t.Errorf("%s: %q lacks %q", body, o.Lines, line)
			}
		}
	}
	refuses := deaf + ": takes no actions: set Config.AllowActions there"
	says(`{"do":"pause","graph":"billing"}`, "billing is paused in 2 of 3 processes.", "paused paused active",
		here+": paused", other+": paused", refuses)
	says(`{"do":"resume","graph":"billing","process":"`+other+`"}`, "billing is resumed.", "paused active active",
		other+": active")
	says(
		`{"do":"drain","graph":"billing","process":"`+deaf+`"}`,
		"billing was not drained.",
		"paused active active",
		refuses,
	)
	says(
		`{"do":"pause","graph":"bill","process":"`+other+`"}`,
		other+" does not run bill, or has left.",
		"paused active active",
	)
	says(`{"do":"pause","graph":"bill"}`, "No process runs bill any more.", "paused active active")
	var o outcome
	redistest.Soon(t, "it drains", func() bool {
		_, o = send(t, pages[0], `{"do":"drain","graph":"billing","process":"`+other+`"}`)
		return !late(o) || running[1].State() != flow.Active // its answer may be late, too
	})
	if !late(o) && (!o.OK || o.Text != "billing is draining.") {
		t.Errorf("drain: %+v", o)
	}
	if err := running[1].Wait(); err != nil {
		t.Error(err)
	}
	if _, o = answered(t, pages[0], `{"do":"pause","graph":"billing","process":"`+other+`"}`); o.OK ||
		!strings.Contains(o.Lines[0], "the graph is ended") {
		t.Errorf("an ended graph: %+v", o)
	}
	asked := `who="anne at ` + here + `" do=pause graph=billing process=` + other + ` result=paused`
	if got := logs[1].String(); !strings.Contains(got, asked) {
		t.Errorf("the log of the other process:\n%s", got)
	}
	if got := logs[0].String(); !strings.Contains(got, "who=anne do=pause graph=billing result=") {
		t.Errorf("the log of this process:\n%s", got)
	}
}

// Commands for a process wait for a short time, and only a few of them. A process that is gone is not
// asked.
func TestCommandsAreBounded(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	p := New(rdb, parts.New(), acting(silentLog))
	void := `1 {"do":"pause","graph":"g"}`
	target := newShared(rdb, "shop", "x")
	retried(t, "commands are taken", func() error {
		if err := rdb.RPush(t.Context(), p.shared.todo("x"), void, "no command").Err(); err != nil {
			return err
		}
		all, err := target.take(t.Context())
		if len(all) != 0 {
			t.Errorf("commands that are void: %+v", all)
		}
		return err
	})
	for range maxCommands {
		if err := rdb.RPush(t.Context(), p.shared.todo("x"), void).Err(); err != nil {
			t.Fatal(err)
		}
	}
	var all []answer
	redistest.Soon(t, "Redis answers", func() bool {
		all = p.shared.ask(t.Context(), command{Do: ActPause, Graph: "g"}, []string{"x"})
		return !strings.Contains(all[0].Text, "Redis does not answer")
	})
	if all[0].OK || !strings.Contains(all[0].Text, "too many commands") {
		t.Errorf("a full list: %+v", all)
	}
	gone := *p.own.collect(t.Context())
	gone.Process, gone.Obeys = "gone", true
	gone.Graphs = []GraphReport{shop(1, 1, 0)}
	packed, err := pack(&gone)
	if err != nil {
		t.Fatal(err)
	}
	rdb.Set(t.Context(), p.shared.key+"gone", packed, 0)
	rdb.ZAdd(t.Context(), p.shared.index, redis.Z{Score: 1, Member: "gone"})
	var o outcome
	redistest.Soon(t, "the page knows the process", func() bool {
		_, o = send(t, p, `{"do":"pause","graph":"shop"}`)
		return o.Text != "No process runs shop any more."
	})
	if o.OK || o.Text != "shop was not paused." || !strings.Contains(o.Lines[0], "gone: is gone: it reported last") {
		t.Errorf("a process that is gone: %+v", o)
	}
}

// Without Redis this process still acts, and says of the others that they were not asked.
func TestActionsWithRedisAway(t *testing.T) {
	srv := redistest.Start(t)
	show := parts.New()
	g := started(t, show, orders("billing"))
	cfg := acting(silentLog)
	cfg.DeadKeys = []string{"orders:dead"}
	p := New(client(t, srv.Addr()), show, cfg)
	silentOne := *p.own.collect(t.Context())
	silentOne.Process = "other"
	rdb := client(t, srv.Addr())
	published(t, newShared(rdb, "shop", "other"), &silentOne)
	alive := redis.Z{Score: float64(time.Now().Add(time.Hour).UnixMilli()), Member: "other"} // however slow this is
	if err := rdb.ZAdd(t.Context(), p.shared.index, alive).Err(); err != nil {
		t.Fatal(err)
	}
	if s := seen(t, p, ""); len(s.Processes) != 2 {
		t.Fatalf("%d processes", len(s.Processes))
	}
	srv.Kill(t)
	status, o := send(t, p, `{"do":"pause","graph":"billing"}`)
	if status != 200 || o.OK || g.State() != flow.Paused || o.Text != "billing is paused in 1 of 2 processes." ||
		!strings.Contains(strings.Join(o.Lines, "\n"), "was not asked, because Redis does not answer") {
		t.Errorf("%d %+v, the graph is %v", status, o, g.State())
	}
	status, o = send(t, p, `{"do":"drop","key":"orders:dead","ids":["1-1"]}`)
	if status != 200 || o.OK || !strings.Contains(strings.Join(o.Lines, "\n"), "Then Redis failed") {
		t.Errorf("drop: %d %+v", status, o)
	}
	if got := get(t, p, "GET", "/letters?key=orders:dead"); got.StatusCode != 503 {
		t.Errorf("the list: %d", got.StatusCode)
	}
}
