package examples

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// post sends JSON over HTTP. It returns the status, the body, and the cookie to send from now on.
func post(t *testing.T, url, cookie, body string) (int, string, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range resp.Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
			t.Errorf("the cookie can be read or sent by others: %v", c)
		}
		cookie = c.Name + "=" + c.Value
	}
	return resp.StatusCode, string(b), cookie
}

// login reserves a name, and returns the header with its cookie.
func login(t *testing.T, page, name string) http.Header {
	t.Helper()
	status, text, cookie := post(t, page+"login", "", fmt.Sprintf(`{"name":%q}`, name))
	if status != http.StatusNoContent {
		t.Fatalf("%s can't log in: %d %s", name, status, text)
	}
	return http.Header{"Cookie": {cookie}}
}

// chatLine is a line as sockets receive it.
type chatLine struct{ ID, From, To, Room, Text string }

type chatTold struct {
	Lines []chatLine
	Users []string
	Why   string
}

func text(s string) members { return members{"text": s} }

// TestChatSurvivesAGateway kills the gateway of all users during a conversation. They continue on
// another gateway. No line is lost or repeated, and the lines keep their order.
func TestChatSurvivesAGateway(t *testing.T) {
	t.Parallel()
	const lines = 60
	env := []string{"REDIS_URL=" + redistest.Start(t).URL()}
	start(t, env, nil, "chat", "-role", "worker")
	doomed := start(t, env, nil, "chat", "-role", "gateway", "-addr", "localhost:0")
	first, second := open(t, doomed), open(t, start(t, env, nil, "chat", "-role", "gateway", "-addr", "localhost:0"))

	type person struct {
		*socket
		name   string
		header http.Header
		heard  []string
	}
	again := func(p *person) { // on the other gateway, from its last position
		p.socket = dial(
			t,
			second,
			p.header,
			members{"rooms": []string{"lobby"}, "cursor": p.cursor, "resume": p.Resume},
		)
		if !p.Resumed {
			t.Fatalf("%s is not known to the other gateway", p.name)
		}
	}
	people := make([]*person, 8) // several, because the rate is limited for each
	for i := range people {
		name := fmt.Sprint("p", i)
		header := login(t, first, name)
		people[i] = &person{
			socket: dial(t, first, header, members{"rooms": []string{"lobby"}}),
			name:   name,
			header: header,
		}
	}
	listener := people[0]
	for n := range lines {
		speaker := people[1+n%7]
		if n == lines/2 {
			doomed.signal(t, syscall.SIGKILL)
		}
		said := func() bool { // returns whether the line was acknowledged
			if speaker.say(n+1, "lobby", "say", text(fmt.Sprint("line ", n))) != nil {
				return false
			}
			for {
				f, err := speaker.next()
				switch {
				case err != nil:
					return false
				case f.Kind == "ack" && f.ID == fmt.Sprint(n+1):
					return true
				case f.Kind == "error":
					t.Fatalf("%+v", f)
				}
			}
		}
		if !said() {
			again(speaker)
			if !said() {
				t.Fatal("the other gateway is gone, too")
			}
		}
	}
	var want []string
	for n := range lines {
		want = append(want, fmt.Sprint("line ", n))
	}
	for len(listener.heard) < lines {
		f, err := listener.next()
		if err != nil {
			again(listener)
			continue
		}
		if f.Kind == "gap" {
			t.Fatal("there is a gap")
		}
		if f.Kind == "msg" && f.Type == "line" {
			listener.heard = append(listener.heard, decode[chatLine](t, f.Data).Text)
		}
	}
	if diff := cmp.Diff(want, listener.heard); diff != "" {
		t.Errorf("lines (-said +heard):\n%s", diff)
	}
	// No line is repeated: the next one is this last line.
	people[1].say(1000, "lobby", "say", text("the end"))
	if last := message[chatLine](listener.socket, "line"); last.Text != "the end" {
		t.Errorf("%q came behind the last line", last.Text)
	}
	late := dial(t, second, login(t, second, "late"), members{"rooms": []string{"lobby"}})
	var kept []string
	for _, l := range message[chatTold](late, "past").Lines {
		kept = append(kept, l.Text)
	}
	if diff := cmp.Diff(append(want, "the end")[lines+1-50:], kept); diff != "" {
		t.Errorf("what one who comes late is told (-want +got):\n%s", diff)
	}
}

// TestChatRules: a name belongs to one user, and the sender of a refused request receives the
// reason.
func TestChatRules(t *testing.T) {
	t.Parallel()
	at := open(t, start(t, noServer(t), nil, "chat", "-addr", "localhost:0"))
	ann := login(t, at, "Ann")
	for _, c := range []struct {
		body   string
		status int
	}{
		{`{"name":"ann"}`, http.StatusConflict}, // another spelling of Ann
		{`{"name":""}`, http.StatusUnprocessableEntity},
		{`{"name":"a b"}`, http.StatusUnprocessableEntity},
		{`{"name":"@ann"}`, http.StatusUnprocessableEntity},
		{`{"name":"<b>"}`, http.StatusUnprocessableEntity},
		{`{"name":"` + strings.Repeat("x", 21) + `"}`, http.StatusUnprocessableEntity},
		{`{"name":"` + strings.Repeat("x", 5000) + `"}`, http.StatusBadRequest},
		{`no`, http.StatusBadRequest},
	} {
		if status, text, _ := post(t, at+"login", "", c.body); status != c.status {
			t.Errorf("login of %.40s: %d %s", c.body, status, text)
		}
	}
	for _, h := range []http.Header{{}, {"Cookie": {"chat=made-up"}}, {"Cookie": ann["Cookie"], "Origin": {"https://elsewhere.example"}}} {
		if status := handshake(t, at, h); status != http.StatusUnauthorized && status != http.StatusForbidden {
			t.Errorf("%v opens a socket: %d", h, status)
		}
	}

	a := dial(t, at, ann, members{"rooms": []string{"lobby"}})
	b := dial(t, at, login(t, at, "Bob"), members{"rooms": []string{"lobby", "UPPER", "a b"}})
	for _, c := range []struct{ said, why string }{
		{"/dance", "unknown command /dance"},
		{"/msg Nobody hi", "no user is named Nobody"},
		{"/msg", "write /msg, a name"},
		{"   ", "is empty"},
		{strings.Repeat("x", 1001), "up to 1000 letters"},
		{strings.Repeat("x\n", 40), "breaks up to 30 times"},
	} {
		a.say(0, "lobby", "say", text(c.said))
		if got := message[chatTold](a, "refused"); !strings.Contains(got.Why, c.why) {
			t.Errorf("%.20q: %q", c.said, got.Why)
		}
	}
	a.say(0, "lobby", "nonsense", nil)
	if got := message[chatTold](a, "refused"); !strings.Contains(got.Why, "unknown message type") {
		t.Errorf("%q", got.Why)
	}
	// A client cannot choose its sender name: the server sets from.
	a.say(0, "lobby", "say", members{"text": "I am Bob", "from": "Bob"})
	if l := message[chatLine](b, "line"); l.From != "Ann" {
		t.Errorf("it is from %q", l.From)
	}
	a.say(0, "lobby", "say", text("/msg bob psst"))
	if l := message[chatLine](b, "line"); l.Text != "psst" || l.To != "Bob" || l.Room != "" {
		t.Errorf("%+v", l)
	}
	if l := message[chatLine](a, "line"); l.Text != "I am Bob" {
		t.Errorf("%+v", l)
	}
	if l := message[chatLine](a, "line"); l.Text != "psst" {
		t.Errorf("%+v", l)
	}
	redistest.Soon(t, "lines that come too fast are refused", func() bool { // on a slow machine they may be slow enough
		for i := range 20 {
			b.say(0, "lobby", "say", text(fmt.Sprint("spam ", i)))
		}
		b.say(0, "lobby", "say", text("/done"))
		got := message[chatTold](b, "refused")
		fast := strings.Contains(got.Why, "not so fast")
		for !strings.Contains(got.Why, "/done") {
			got = message[chatTold](b, "refused")
		}
		return fast
	})
	// The room receives a new list of users when Bob leaves. Users that are silent for long count as gone.
	a.say(0, "lobby", "here", nil)
	b.say(0, "lobby", "here", nil)
	b.say(0, "lobby", "bye", nil)
	a.want("Bob has left", func(f frame) bool {
		return f.Type == "who" && slices.Equal(decode[chatTold](t, f.Data).Users, []string{"Ann"})
	})
	// A socket that is still open cannot use a released name.
	if status, _, _ := post(t, at+"logout", ann.Get("Cookie"), ""); status != http.StatusNoContent {
		t.Errorf("logout: %d", status)
	}
	a.say(77, "lobby", "say", text("a ghost"))
	if f := a.want("the answer", func(f frame) bool { return f.ID == "77" }); f.Code != "unauthorized" {
		t.Errorf("%+v", f)
	}
	login(t, at, "Ann") // the name is free
}

// handshake returns the HTTP status of a handshake.
func handshake(t *testing.T, page string, h http.Header) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, page+"ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range h {
		r.Header[name] = values
	}
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
		"Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key":     "dGhlIHNhbXBsZSBub25jZQ=="} {
		r.Header.Set(name, value)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// comeIn opens the chat's page and logs in.
func comeIn(t *testing.T, at, name string) context.Context {
	t.Helper()
	page := tab(t)
	browse(t, page, chromedp.Navigate(at), chromedp.WaitVisible(chromedp.CSS("#name")))
	if name == "Ann" {
		screenshot(t, page, "chat-welcome")
	}
	browse(t, page, chromedp.SendKeys(chromedp.CSS("#name"), name+"\r"), chromedp.WaitVisible(chromedp.CSS("#text")))
	return page
}

// write types a line and sends it.
func write(t *testing.T, page context.Context, line string) {
	t.Helper()
	browse(t, page, chromedp.SendKeys(chromedp.CSS("#text"), line+"\r"))
}

// reads waits until a part of a page has a text.
func reads(t *testing.T, page context.Context, selector, text string) {
	t.Helper()
	redistest.Soon(t, fmt.Sprintf("%q in %s", text, selector), func() bool {
		return strings.Contains(
			see(
				t,
				page,
				chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q)?.innerText ?? ""`, selector)),
			),
			text,
		)
	})
}

// TestChatInTwoWindows: two users talk through two gateways.
func TestChatInTwoWindows(t *testing.T) {
	t.Parallel()
	env := []string{"REDIS_URL=" + redistest.Start(t).URL()}
	start(t, env, nil, "chat", "-role", "worker")
	start(t, env, nil, "chat", "-role", "worker")
	first := open(t, start(t, env, nil, "chat", "-role", "gateway", "-addr", "localhost:0"))
	second := open(t, start(t, env, nil, "chat", "-role", "gateway", "-addr", "localhost:0"))
	ann, bob := comeIn(t, first, "Ann"), comeIn(t, second, "Bob")
	reads(t, ann, "#users", "Bob")
	write(t, ann, "Good morning! Has anybody seen the new arena?")
	write(t, ann, "It runs at http://localhost:3003, bring a friend.")
	reads(t, bob, "#lines", "bring a friend")
	write(t, bob, `<img src=x onerror="document.title='broken'"> is just text here, & so is <b>this</b>`)
	redistest.Soon(t, "what he wrote is sent and gone", func() bool {
		return see(t, bob, chromedp.Evaluate[string](`document.querySelector("#text").value`)) == ""
	})
	write(t, bob, "/me waves")
	reads(t, ann, "#lines", `<img src=x onerror="document.title='broken'">`)
	reads(t, ann, "#lines", "Bob waves")
	if n := see(t, ann, chromedp.Evaluate[int](`document.querySelectorAll("#lines img, #lines b").length`)); n != 0 {
		t.Errorf("what somebody wrote became %d elements", n)
	}
	see(t, ann, chromedp.Evaluate[bool](`(() => { // it is shown for some seconds only
		const at = document.querySelector("#typing");
		new MutationObserver(() => { window.told = (window.told ?? "") + at.innerText; }).observe(at, {childList: true});
		return true;
	})()`))
	browse(t, bob, chromedp.SendKeys(chromedp.CSS("#text"), "I have"))
	shows(t, ann, "that Bob is typing", `window.told.includes("Bob is typing")`)
	screenshot(t, ann, "chat-light")
	write(t, bob, " won twice already!")
	reads(t, ann, "#lines", "I have won twice already")

	// A direct conversation.
	reads(t, ann, "#users", "Bob")
	slowly(t, ann, `#users button[title="Write to Bob"]`, func() { // a line during the click must not remove the button
		write(t, bob, "By the way:")
		reads(t, ann, "#lines", "By the way:")
	})
	reads(t, ann, "#title", "Bob")
	write(t, ann, "Shall we play after lunch?")
	reads(t, bob, "#directs", "Ann")
	reads(t, bob, "#directs em", "1")
	browse(t, bob, chromedp.Click(chromedp.CSS("#directs button")))
	reads(t, bob, "#lines", "Shall we play after lunch?")
	write(t, bob, "/nonsense")
	reads(t, bob, "#lines", "Unknown command /nonsense")

	dark(t, bob)
	screenshot(t, bob, "chat-dark")
}

// TestChatPagesGoOn: lines survive a reload of the page, and a change of its gateway.
func TestChatPagesGoOn(t *testing.T) {
	t.Parallel()
	env := []string{"REDIS_URL=" + redistest.Start(t).URL()}
	start(t, env, nil, "chat", "-role", "worker")
	gateway := start(t, env, nil, "chat", "-role", "gateway", "-addr", "localhost:0")
	first, second := open(t, gateway), open(t, start(t, env, nil, "chat", "-role", "gateway", "-addr", "localhost:0"))
	ann, bob := comeIn(t, first, "Ann"), comeIn(t, second, "Bob")
	write(t, bob, "The kettle is on.")
	reads(t, ann, "#lines", "The kettle is on.")

	browse(t, ann, chromedp.SendKeys(chromedp.CSS("#new"), "Tea Time\r"))
	reads(t, ann, "#title", "tea-time")
	write(t, ann, "Biscuits, anyone?")
	reads(t, bob, "#rooms", "tea-time")
	browse(t, ann, chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS("#text")))
	reads(t, ann, "#title", "tea-time")
	reads(t, ann, "#lines", "Biscuits, anyone?")
	reads(t, ann, "#rooms", "lobby")

	// Ann's gateway dies, and another takes its place. Lines written meanwhile are not lost.
	browse(t, ann, chromedp.Click(chromedp.CSS(`#rooms li[data-name=lobby] button`)))
	reads(t, ann, "#lines", "The kettle is on.")
	gateway.signal(t, syscall.SIGKILL)
	gateway.wait(t)
	reads(t, ann, "#status", "reconnecting")
	write(t, bob, "Ann, are you there?")
	write(t, ann, "Written while I was offline.")
	screenshot(t, ann, "chat-reconnecting")
	restart(t, env, first, "chat", "-role", "gateway")
	reads(t, ann, "#lines", "Ann, are you there?")
	reads(t, bob, "#lines", "Written while I was offline.")
	for _, page := range []context.Context{ann, bob} {
		redistest.Soon(t, "nothing comes twice", func() bool {
			return see(
				t,
				page,
				chromedp.Evaluate[int](
					`[...document.querySelectorAll("#lines p")].filter(p => p.innerText === "Written while I was offline.").length`,
				),
			) == 1
		})
	}

	browse(t, ann, chromedp.EmulateViewport(390, 740, chromedp.EmulateMobile, chromedp.EmulateTouch))
	redistest.Soon(t, "the drawer is shut", func() bool {
		return see(
			t,
			ann,
			chromedp.Evaluate[float64](`document.querySelector("#side").getBoundingClientRect().right`),
		) <= 0
	})
	screenshot(t, ann, "chat-phone")
	browse(t, ann, chromedp.Click(chromedp.CSS("#menu")))
	redistest.Soon(t, "the drawer is open", func() bool {
		return see(
			t,
			ann,
			chromedp.Evaluate[float64](`document.querySelector("#side").getBoundingClientRect().left`),
		) == 0
	})
	screenshot(t, ann, "chat-phone-menu")
}

// TestChatEndsCleanly: chat and game run without configuration, on both kinds of servers, and end
// cleanly after Ctrl-C.
func TestChatEndsCleanly(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"chat", "game"} {
		for _, env := range [][]string{withPath(), noServer(t)} {
			p := start(t, env, nil, name, "-addr", "localhost:0")
			at := open(t, p)
			if status, body := get(t, at); status != http.StatusOK || !strings.Contains(body, "<!doctype html>") {
				t.Errorf("%s: %d %.40s", name, status, body)
			}
			busy := start(t, env, nil, name, "-addr", strings.TrimSuffix(strings.TrimPrefix(at, "http://"), "/"))
			if code := busy.wait(t); code != 1 {
				t.Errorf("%s on a busy port: exit status %d", name, code)
			}
			want(t, busy.stderr.text(), "the port is in use", "-addr")
			p.signal(t, syscall.SIGINT)
			if code := p.wait(t); code != 0 {
				t.Errorf("%s: exit status %d after an interrupt", name, code)
			}
			want(t, p.stdout.text(), "flowchart")
			if strings.Contains(p.stderr.text(), " ERR ") || strings.Contains(p.stderr.text(), " WRN ") {
				t.Errorf("%s warns:\n%s", name, p.stderr.text())
			}
		}
	}
}
