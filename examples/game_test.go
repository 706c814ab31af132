package examples

import (
	"context"
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// arena is the state that the game's page reports.
type arena struct {
	Online bool
	Tick   int
	Sparks []struct{ X, Y float64 }
	Ships  []ship
}

type ship struct {
	Name  string
	X, Y  float64
	Score int
}

// ship returns the ship with a name, or a zero one.
func (a arena) ship(name string) ship {
	for _, s := range a.Ships {
		if s.Name == name {
			return s
		}
	}
	return ship{}
}

func look(t *testing.T, tab context.Context) arena {
	t.Helper()
	return see(t, tab, chromedp.Evaluate[arena]("arena()"))
}

// enter opens the game's page and joins a room.
func enter(t *testing.T, at, room, name string) context.Context {
	t.Helper()
	page := tab(t)
	browse(t, page, chromedp.Navigate(at+"?room="+room),
		chromedp.SetValue(chromedp.CSS("#name"), name), chromedp.Click(chromedp.CSS("#play")))
	redistest.Soon(t, name+" plays", func() bool { return look(t, page).ship(name).Name == name })
	return page
}

// key presses or releases a key.
func key(t *testing.T, page context.Context, what, code string) {
	t.Helper()
	see(
		t,
		page,
		chromedp.Evaluate[bool](fmt.Sprintf("dispatchEvent(new KeyboardEvent('key%s', {code: %q}))", what, code)),
	)
}

// hunt steers a ship from spark to spark until it has the score.
func hunt(t *testing.T, page context.Context, name string, score int) {
	t.Helper()
	held := make(map[string]bool)
	steer := func(want map[string]bool) {
		for _, code := range []string{"KeyW", "KeyA", "KeyS", "KeyD"} {
			if want[code] != held[code] {
				key(t, page, map[bool]string{true: "down", false: "up"}[want[code]], code)
				held[code] = want[code]
			}
		}
	}
	redistest.Soon(t, name+" finds sparks", func() bool {
		a := look(t, page)
		me := a.ship(name)
		best, dx, dy := math.Inf(1), 0.0, 0.0
		for _, k := range a.Sparks {
			if d := math.Hypot(k.X-me.X, k.Y-me.Y); d < best {
				best, dx, dy = d, k.X-me.X, k.Y-me.Y
			}
		}
		steer(map[string]bool{"KeyD": dx > 12, "KeyA": dx < -12, "KeyS": dy > 12, "KeyW": dy < -12})
		return me.Score >= score
	})
	steer(nil)
}

// TestGameInTwoWindows: two pages at two gateways share one world, and each sees the other's ship.
func TestGameInTwoWindows(t *testing.T) {
	t.Parallel()
	env := []string{"REDIS_URL=" + redistest.Start(t).URL()}
	start(t, env, nil, "game", "-role", "world", "-round", "1h") // its end would take the scores away
	first := open(t, start(t, env, nil, "game", "-role", "gateway", "-addr", "localhost:0"))
	second := open(t, start(t, env, nil, "game", "-role", "gateway", "-addr", "localhost:0"))

	welcome := tab(t)
	browse(t, welcome, chromedp.Navigate(first), chromedp.WaitVisible(chromedp.CSS("#play")))
	screenshot(t, welcome, "game-start")

	ann, bob := enter(t, first, "two", "Ann"), enter(t, second, "two", "Bob <b>&amp;")
	redistest.Soon(t, "both see both", func() bool {
		return look(t, ann).ship("Bob <b>&amp;").Name != "" && look(t, bob).ship("Ann").Name != ""
	})
	before := look(t, bob).ship("Ann")
	key(t, ann, "down", "KeyD")
	key(t, ann, "down", "Space")
	redistest.Soon(t, "Bob sees Ann move", func() bool {
		at := look(t, bob).ship("Ann")
		return math.Hypot(at.X-before.X, at.Y-before.Y) > 50
	})
	screenshot(t, ann, "game-play")
	key(t, ann, "up", "KeyD")
	hunt(t, ann, "Ann", 3)
	redistest.Soon(t, "Bob sees her score", func() bool { return look(t, bob).ship("Ann").Score >= 3 })
	redistest.Soon(t, "the board has it", func() bool {
		return see(t, bob, chromedp.Evaluate[bool](`Boolean(document.querySelector("#board li")?.textContent.startsWith("Ann"))`))
	})
	screenshot(t, bob, "game-score")
}

// TestGameOnAPhone: a finger steers.
func TestGameOnAPhone(t *testing.T) {
	t.Parallel()
	at := open(t, start(t, withPath(), nil, "game", "-addr", "localhost:0"))
	page := tab(t)
	browse(
		t,
		page,
		chromedp.EmulateViewport(780, 360, chromedp.EmulateMobile, chromedp.EmulateTouch),
		chromedp.Navigate(at+"?room=phone"),
		chromedp.SetValue(chromedp.CSS("#name"), "Thumb"),
		chromedp.Click(chromedp.CSS("#play")),
	)
	redistest.Soon(t, "it plays", func() bool { return look(t, page).ship("Thumb").Name != "" })
	before := look(t, page).ship("Thumb")
	see(t, page, chromedp.Evaluate[bool](`(() => {
		const at = (type, x, y) => document.querySelector("#arena").dispatchEvent(new PointerEvent(type, {pointerId: 7, clientX: x, clientY: y, bubbles: true}));
		HTMLElement.prototype.setPointerCapture = () => {}; // there is no finger
		at("pointerdown", 200, 200);
		return at("pointermove", 200 + (arena().ships[0].x < 800 ? 60 : -60), 200);
	})()`))
	redistest.Soon(t, "it goes sideways", func() bool { return math.Abs(look(t, page).ship("Thumb").X-before.X) > 80 })
	screenshot(t, page, "game-phone")
}

// TestGameGoesOn: the standby replaces a dead world, and a new gateway on the same port replaces a
// dead one. The pages reconnect by themselves.
func TestGameGoesOn(t *testing.T) {
	t.Parallel()
	env := []string{"REDIS_URL=" + redistest.Start(t).URL()}
	// runs reports whether a process has the world, and waits whether it stands by.
	runs := func(p *process) bool {
		text := p.stderr.text()
		return strings.LastIndex(text, "graph started graph=world") > strings.LastIndex(text, "standing by")
	}
	waits := func(p *process) bool { return strings.Contains(p.stderr.text(), "standing by") && !runs(p) }
	world := start(t, env, nil, "game", "-role", "world", "-round", "1h")
	redistest.Soon(t, "the world runs", func() bool { return runs(world) })
	standby := start(t, env, nil, "game", "-role", "world", "-round", "1h")
	redistest.Soon(t, "the other one stands by", func() bool {
		if waits(world) && runs(standby) { // the machine was so busy that it lost the world
			world, standby = standby, world
		}
		return runs(world) && waits(standby)
	})
	gateway := start(t, env, nil, "game", "-role", "gateway", "-addr", "localhost:0")
	at := open(t, gateway)
	page := enter(t, at, "r", "Ann")

	world.signal(t, syscall.SIGKILL)
	world.wait(t)
	frozen := look(t, page).Tick
	redistest.Soon(t, "she plays in another world", func() bool {
		return runs(standby) && look(t, page).Tick != frozen
	})
	hunt(t, page, "Ann", look(t, page).ship("Ann").Score+1)

	gateway.signal(t, syscall.SIGKILL)
	redistest.Soon(t, "the page tells", func() bool {
		return see(
			t,
			page,
			chromedp.Evaluate[bool](
				`!document.querySelector("#notice").hidden && document.querySelector("#notice").textContent.includes("reconnecting")`,
			),
		)
	})
	screenshot(t, page, "game-reconnecting")
	restart(t, env, at, "game", "-role", "gateway")
	redistest.Soon(t, "it is connected again", func() bool {
		return look(t, page).Online && see(t, page, chromedp.Evaluate[bool](`document.querySelector("#notice").hidden`))
	})
	hunt(t, page, "Ann", look(t, page).ship("Ann").Score+1)

	standby.signal(t, syscall.SIGTERM) // it ends cleanly
	if code := standby.wait(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// TestGameHasOneWorld: a process that has lost the world stops it, and stands by.
func TestGameHasOneWorld(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client(t)
	world := start(t, []string{"REDIS_URL=" + server.URL()}, nil, "game", "-role", "world")
	owner := func() string { return rdb.Get(context.Background(), "{arena}:world").Val() }
	redistest.Soon(t, "it has the world", func() bool {
		return owner() != "" && strings.Contains(world.stderr.text(), "graph started graph=world")
	})
	mine := owner()
	if err := rdb.Set(context.Background(), "{arena}:world", "somebody else", 0).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "it stands by", func() bool { return strings.Contains(world.stderr.text(), "standing by") })
	want(t, world.stderr.text(), "another process has the world now")
	if err := rdb.Del(context.Background(), "{arena}:world").Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "it has the world again", func() bool {
		return owner() == mine && strings.Count(world.stderr.text(), "graph started graph=world") >= 2
	})
	stop(t, world)
	if owner() != "" {
		t.Error("it keeps the world behind its end")
	}
}

// TestGameRound: the player with the highest score wins, and the next round begins.
func TestGameRound(t *testing.T) {
	t.Parallel()
	page := enter(t, open(t, start(t, withPath(), nil, "game", "-addr", "localhost:0", "-round", "8s")), "r", "Ann")
	hunt(t, page, "Ann", 2)
	podium := func() string { // it is shown for some seconds only
		return see(t, page, chromedp.Evaluate[string](
			`document.querySelector("#podium").hidden ? "" : document.querySelector("#podium").innerText`))
	}
	text := ""
	redistest.Soon(t, "the round is over", func() bool {
		text = podium()
		return text != ""
	})
	if !strings.Contains(text, "You win") {
		t.Errorf("the page says %q", text)
	}
	screenshot(t, page, "game-podium")
	redistest.Soon(t, "the next round begins", func() bool {
		return podium() == "" && look(t, page).ship("Ann").Score < 2
	})
}

// state is a snapshot as the game's sockets receive it.
type state struct {
	You   int     `json:"you"`
	Tick  int     `json:"t"`
	Base  int     `json:"b"`
	Ships [][]int `json:"p"`
	Names []struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	} `json:"n"`
}

// TestGameSnapshotsAreInOrder: each snapshot changes the one before, for all sockets alike. No
// session can play for another.
func TestGameSnapshotsAreInOrder(t *testing.T) {
	t.Parallel()
	at := open(t, start(t, noServer(t), nil, "game", "-addr", "localhost:0"))
	ann := dial(t, at, nil, members{"rooms": []string{"r"}})
	bob := dial(t, at, nil, members{"rooms": []string{"r"}})
	ann.say(0, "r", "play", members{"name": "Ann"})
	me := message[state](ann, "whole").You
	bob.say(0, "r", "play", members{"name": "Bob"})
	seen := message[state](bob, "whole")
	ann.say(0, "r", "move", members{"x": 100})
	for last, moved := seen.Tick, 0; moved < 15; {
		s := message[state](bob, "state")
		if s.Tick <= seen.Tick {
			continue // older than the complete snapshot
		}
		if s.Base != last {
			t.Fatalf("the snapshot of %d changes %d, and %d was the last", s.Tick, s.Base, last)
		}
		last = s.Tick
		for _, p := range s.Ships {
			if p[0] == me {
				moved++
			}
		}
	}
	for _, wrong := range []struct {
		m    members
		code string
	}{
		{members{"kind": "join", "id": "1", "room": "UPPER"}, "too_many_rooms"},
		{members{"kind": "send", "id": "2", "room": "elsewhere", "type": "move", "data": members{}}, "not_joined"},
	} {
		ann.send(wrong.m)
		f := ann.want("the answer", func(f frame) bool { return f.ID == wrong.m["id"] })
		if f.Code != wrong.code {
			t.Errorf("%v: %+v", wrong.m, f)
		}
	}
}
