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
	silence    = 12 * time.Second // a player who says nothing for so long is gone; the page speaks every two seconds
	grace      = 3 * time.Second  // one whose socket is gone may come back for so long
)

// said is what a page says, of type play or move.
type said struct {
	Name string `json:"name,omitempty"` // play
	X    int    `json:"x,omitempty"`    // move: the direction, -100 to 100
	Y    int    `json:"y,omitempty"`
	Dash bool   `json:"dash,omitempty"`
}

// told is what the pages are told: a snapshot, of type state for a room, and of type whole for a
// session that is new or has lost the thread. The others have no value: rejoin (the world does not
// know you, say play again) and full.
type told struct {
	to      ws.Target
	kind    string
	picture whole
}

// whole is a snapshot and, for one who is new, who it is in it.
type whole struct {
	You int `json:"you,omitempty"`
	snapshot
}

// arenas are the worlds by room. Like a world they are plain values: what they do depends on the
// calls, and on the times these bring.
type arenas struct {
	seed  uint64
	round int               // ticks
	rooms map[string]*arena // at most maxRooms
}

// arena is a world, and who plays in it.
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
	until time.Time // it is gone then, unless it speaks
}

func newArenas(seed uint64, round int) *arenas {
	return &arenas{seed: seed, round: round, rooms: make(map[string]*arena)}
}

// play seats a session, or gives the one who sits already the whole picture again.
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

// move takes a player's input for the next step.
func (a *arenas) move(now time.Time, room, session string, in said, tell func(told)) {
	r := a.rooms[room]
	if r == nil || r.seats[session] == nil { // this process has begun since, or it was silent for too long
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

// away is for one whose socket is gone: it stops, and leaves unless it comes back soon.
func (a *arenas) away(now time.Time, room, session string) {
	r := a.rooms[room]
	if r == nil || r.seats[session] == nil {
		return
	}
	a.move(now, room, session, said{}, func(told) {})
	r.seats[session].until = now.Add(grace)
}

// tick moves all worlds on to now, tells what has changed, and ends the arenas that are empty. A
// tick that is late makes up for those that did not come, up to a few.
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

// cleanName makes a name of what somebody typed.
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
