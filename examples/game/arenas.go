package main

import (
	"hash/fnv"
	"strings"
	"time"
	"unicode"

	"github.com/streamerson/streamerson-go/gateways/ws"
)

const (
	maxRooms   = 64
	maxNameLen = 14               // letters of a player's name
	silence    = 12 * time.Second // silent players leave; pages send a message every two seconds
	grace      = 3 * time.Second  // time to come back after the socket was closed
)

// said is a message from a page, of type play or move.
type said struct {
	Name string `json:"name,omitempty"` // play
	X    int    `json:"x,omitempty"`    // move: the direction, -100 to 100
	Y    int    `json:"y,omitempty"`
	Dash bool   `json:"dash,omitempty"`
}

// told is a message to the pages: a snapshot, of type state for a room, and of type whole for a
// session that is new or has missed one. The other types have no value: rejoin (the world does not
// know the session, which must send play again) and full.
type told struct {
	to      ws.Target
	kind    string
	picture whole
}

// whole is a snapshot, and the id of a new player.
type whole struct {
	You int `json:"you,omitempty"`
	snapshot
}

// arenas are the worlds by room. Like a world, they are plain values: their behavior depends only on
// the calls and the times passed to them.
type arenas struct {
	seed  uint64
	round int               // ticks
	rooms map[string]*arena // at most maxRooms
}

// arena is a world and its players.
type arena struct {
	world   *world
	began   time.Time
	stepped int              // steps since it began
	seats   map[string]*seat // by session; at most maxPlayers
	inputs  []Input          // for the next step; at most one for each player
}

// seat is a player's place.
type seat struct {
	id    int
	until time.Time // the player leaves then, unless it sends a message
}

func newArenas(seed uint64, round int) *arenas {
	return &arenas{seed: seed, round: round, rooms: make(map[string]*arena)}
}

// play adds a session as a player, or sends a present player the whole snapshot again.
func (a *arenas) play(now time.Time, room, session, name string, tell func(told)) {
	r := a.rooms[room]
	if r == nil {
		if len(a.rooms) >= maxRooms {
			tell(told{to: ws.Session(session), kind: "full"})
			return
		}
		h := fnv.New64a()
		h.Write([]byte(room))
		r = &arena{world: newWorld(a.seed^h.Sum64(), a.round), began: now, seats: make(map[string]*seat)}
		a.rooms[room] = r
	}
	s := r.seats[session]
	if s == nil {
		id, ok := r.world.join(cleanName(name))
		if !ok {
			tell(told{to: ws.Session(session), kind: "full"})
			return
		}
		s = &seat{id: id}
		r.seats[session] = s
	}
	s.until = now.Add(silence)
	tell(told{ws.Session(session), "whole", whole{s.id, r.world.whole()}})
}

// move stores a player's input for the next step.
func (a *arenas) move(now time.Time, room, session string, in said, tell func(told)) {
	r := a.rooms[room]
	if r == nil || r.seats[session] == nil { // this process is new, or the player was silent for too long
		tell(told{to: ws.Session(session), kind: "rejoin"})
		return
	}
	s := r.seats[session]
	s.until = now.Add(silence)
	next := Input{Player: s.id, X: in.X, Y: in.Y, Dash: in.Dash}
	for i := range r.inputs {
		if r.inputs[i].Player == s.id {
			next.Dash = next.Dash || r.inputs[i].Dash
			r.inputs[i] = next
			return
		}
	}
	r.inputs = append(r.inputs, next)
}

// away stops the ship of a player after its socket was closed. The player leaves unless it returns
// soon.
func (a *arenas) away(now time.Time, room, session string) {
	r := a.rooms[room]
	if r == nil || r.seats[session] == nil {
		return
	}
	a.move(now, room, session, said{}, func(told) {})
	r.seats[session].until = now.Add(grace)
}

// tick advances all worlds to now, sends what has changed, and deletes empty arenas. A late tick
// makes up for a few missed ones.
func (a *arenas) tick(now time.Time, tell func(told)) {
	for name, r := range a.rooms {
		for session, s := range r.seats {
			if now.After(s.until) {
				r.world.leave(s.id)
				delete(r.seats, session)
			}
		}
		if len(r.seats) == 0 {
			delete(a.rooms, name)
			continue
		}
		due := int(now.Sub(r.began) * ticksPerSecond / time.Second)
		if due-r.stepped > 5 {
			r.stepped = due - 5
		}
		for ; r.stepped < due; r.stepped++ {
			r.world.step(r.inputs)
			r.inputs = r.inputs[:0]
		}
		if s, changed := r.world.changes(); changed {
			tell(told{ws.Room(name), "state", whole{snapshot: s}})
		}
	}
}

// cleanName makes a valid name of any text.
func cleanName(s string) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return ' '
	}, s)), " ")
	if r := []rune(s); len(r) > maxNameLen {
		s = strings.TrimSpace(string(r[:maxNameLen]))
	}
	if s == "" {
		return "somebody"
	}
	return s
}
