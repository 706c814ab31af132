package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways/ws"
)

// stage calls arenas with its own clock.
type stage struct {
	arenas *arenas
	now    time.Time
	told   []told
}

func newStage() *stage {
	return &stage{arenas: newArenas(1, roundTicks), now: time.Unix(1_700_000_000, 0)}
}

func (s *stage) tell(m told) { s.told = append(s.told, m) }

// heard returns the kinds of the messages to a room or a session since the last call.
func (s *stage) heard(whom string) (kinds []string) {
	rest := s.told[:0:0]
	for _, m := range s.told {
		if m.to == ws.Room(whom) || m.to == ws.Session(whom) {
			kinds = append(kinds, m.kind)
		} else {
			rest = append(rest, m)
		}
	}
	s.told = rest
	return kinds
}

func (s *stage) ticks(n int) {
	for range n {
		s.now = s.now.Add(time.Second / ticksPerSecond)
		s.arenas.tick(s.now, s.tell)
	}
}

func TestPlayersComeAndGo(t *testing.T) {
	s := newStage()
	s.arenas.play(s.now, "r", "ann", "Ann", s.tell)
	s.arenas.play(s.now, "r", "bob", "Bob", s.tell)
	if got := s.heard("ann"); !cmp.Equal(got, []string{"whole"}) {
		t.Fatalf("ann is told %v", got)
	}
	s.ticks(1)
	if got := s.heard("r"); !cmp.Equal(got, []string{"state"}) {
		t.Fatalf("the room is told %v", got)
	}
	for range 20 { // bob is silent
		s.ticks(ticksPerSecond)
		s.arenas.move(s.now, "r", "ann", said{X: 1}, s.tell)
	}
	if r := s.arenas.rooms["r"]; len(r.seats) != 1 || len(r.world.players) != 1 {
		t.Fatalf("%d seats, %d players", len(r.seats), len(r.world.players))
	}
	s.heard("r")
	s.arenas.move(s.now, "r", "bob", said{X: 1}, s.tell)
	if got := s.heard("bob"); !cmp.Equal(got, []string{"whole", "rejoin"}) {
		t.Fatalf("bob, back, is told %v", got)
	}
	s.arenas.away(s.now, "r", "ann")
	s.ticks(int(grace/time.Second) * ticksPerSecond)
	if len(s.arenas.rooms) != 1 {
		t.Fatal("ann's grace is too short")
	}
	s.ticks(2)
	if len(s.arenas.rooms) != 0 {
		t.Fatal("an empty room stays")
	}
	s.heard("r")
	s.ticks(ticksPerSecond)
	if len(s.told) != 0 {
		t.Errorf("nobody plays, and is told %+v", s.told)
	}
}

func TestWhoComesBackInTimeKeepsItsPlace(t *testing.T) {
	s := newStage()
	s.arenas.play(s.now, "r", "ann", "Ann", s.tell)
	s.arenas.rooms["r"].world.players[0].score = 7
	s.arenas.move(s.now, "r", "ann", said{X: 100}, s.tell)
	s.ticks(3)
	s.arenas.away(s.now, "r", "ann")
	s.ticks(ticksPerSecond)
	s.arenas.play(s.now, "r", "ann", "Ann", s.tell)
	s.ticks(5 * ticksPerSecond)
	if p := s.arenas.rooms["r"].world.players; len(p) != 1 || p[0].score < 7 || p[0].want != (vector{}) {
		t.Errorf("players: %+v", p)
	}
}

func TestRoomsKeepToThemselves(t *testing.T) {
	s := newStage()
	s.arenas.play(s.now, "a", "ann", "Ann", s.tell)
	s.arenas.play(s.now, "b", "bob", "Bob", s.tell)
	s.arenas.move(s.now, "b", "ann", said{X: 100}, s.tell)
	s.arenas.away(s.now, "b", "ann")
	if got := s.heard("ann"); !cmp.Equal(got, []string{"whole", "rejoin"}) {
		t.Errorf("ann is told %v", got)
	}
	s.ticks(1)
	s.arenas.move(s.now, "a", "ann", said{X: 100}, s.tell)
	s.arenas.move(s.now, "b", "bob", said{X: 100}, s.tell)
	s.ticks(1)
	if got := len(s.heard("a")) + len(s.heard("b")); got < 2 {
		t.Errorf("the rooms are told %d times", got)
	}
	for _, name := range []string{"a", "b"} {
		if n := len(s.arenas.rooms[name].world.players); n != 1 {
			t.Errorf("%d players in %s", n, name)
		}
	}
}

func TestArenasAreBounded(t *testing.T) {
	s := newStage()
	for i := range maxRooms + 1 {
		s.arenas.play(s.now, fmt.Sprint("room ", i), fmt.Sprint("player ", i), "P", s.tell)
	}
	if got := s.heard(fmt.Sprint("player ", maxRooms)); !cmp.Equal(got, []string{"full"}) {
		t.Errorf("one room too many is told %v", got)
	}
	for i := range maxPlayers {
		s.arenas.play(s.now, "room 0", fmt.Sprint("guest ", i), "P", s.tell)
	}
	if got := s.heard(fmt.Sprint("guest ", maxPlayers-1)); !cmp.Equal(got, []string{"full"}) {
		t.Errorf("one player too many is told %v", got)
	}
	for range 10_000 {
		s.arenas.move(s.now, "room 0", "player 0", said{X: 1, Dash: true}, s.tell)
		s.arenas.move(s.now, "room 0", "guest 0", said{X: 1}, s.tell)
	}
	if n := len(s.arenas.rooms["room 0"].inputs); n != 2 {
		t.Errorf("%d inputs wait for a step", n)
	}
}

// TestALateTickMakesUp: the world keeps the pace of the clock after a late tick, but a tick makes
// up for at most four missed ones.
func TestALateTickMakesUp(t *testing.T) {
	s := newStage()
	s.arenas.play(s.now, "r", "ann", "Ann", s.tell)
	s.now = s.now.Add(3 * time.Second / ticksPerSecond)
	s.arenas.tick(s.now, s.tell)
	if tick := s.arenas.rooms["r"].world.tick; tick != 1+3 {
		t.Errorf("tick %d, want 4", tick)
	}
	s.now = s.now.Add(10 * time.Second)
	s.arenas.tick(s.now, s.tell)
	if tick := s.arenas.rooms["r"].world.tick; tick != 1+3+5 {
		t.Errorf("tick %d, want 9", tick)
	}
	s.ticks(2)
	if tick := s.arenas.rooms["r"].world.tick; tick != 1+3+5+2 {
		t.Errorf("tick %d, want 11", tick)
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "somebody",
		" \t\n":                   "somebody",
		"  Ann   B ":              "Ann B",
		"x\x00y\u202ez":           "x y z",
		strings.Repeat("é", 100):  strings.Repeat("é", maxNameLen),
		"<img src=x>":             "<img src=x>",
		"\xff\xfe":                "\ufffd\ufffd",
		"thirteen char  and more": "thirteen char",
	} {
		if got := cleanName(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
