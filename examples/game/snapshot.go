package main

import (
	"maps"
	"slices"
)

// snapshot is the world as the page receives it: all of it, or the changes since the last snapshot.
// Ships and sparks are short lists of numbers, because the world sends twenty snapshots a second.
type snapshot struct {
	Tick   int      `json:"t,omitempty"`
	Base   int      `json:"b,omitempty"` // the snapshot that this one changes; 0: this one is complete
	Round  *round   `json:"r,omitempty"` // when it has changed
	Names  []named  `json:"n,omitempty"` // new players
	Ships  [][]int  `json:"p,omitempty"` // player, x, y, score, state
	Sparks [][3]int `json:"s,omitempty"` // spark, x, y
	Left   []int    `json:"l,omitempty"` // players that left
	Taken  [][2]int `json:"k,omitempty"` // spark, player
	Hits   [][3]int `json:"h,omitempty"` // attacker, victim, sparks spilled
}

type round struct {
	Podium bool `json:"podium"`
	Ends   int  `json:"ends"` // tick
}

type named struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	Hue  int    `json:"hue"`
}

// States of a ship, as bits.
const (
	stateDashing = 1 << iota
	stateShielded
	stateRested // it can dash
)

// shown is the state that the players have seen last.
type shown struct {
	tick   int
	round  round
	names  map[int]named
	ships  map[int][]int
	sparks map[int][3]int
}

// changes returns the changes since its last call, and false if nothing has changed.
func (w *world) changes() (snapshot, bool) {
	before, now := w.shown, w.show()
	s := snapshot{Tick: w.tick, Base: before.tick, Taken: w.log.taken, Hits: w.log.hits}
	if now.round != before.round {
		s.Round = &now.round
	}
	for _, p := range w.players {
		if name := now.names[p.id]; name != before.names[p.id] {
			s.Names = append(s.Names, name)
		}
		if ship := now.ships[p.id]; !slices.Equal(ship, before.ships[p.id]) {
			s.Ships = append(s.Ships, ship)
		}
	}
	for _, k := range w.sparks {
		if now.sparks[k.id] != before.sparks[k.id] {
			s.Sparks = append(s.Sparks, now.sparks[k.id])
		}
	}
	for _, id := range sorted(before.ships) {
		if _, stays := now.ships[id]; !stays {
			s.Left = append(s.Left, id)
		}
	}
	w.log = events{}
	if s.Round == nil && len(s.Names)+len(s.Ships)+len(s.Sparks)+len(s.Left)+len(s.Taken)+len(s.Hits) == 0 {
		return snapshot{}, false
	}
	w.shown = now
	return s, true
}

// whole returns the complete state of the last call of changes, for new players. The next snapshot
// changes it.
func (w *world) whole() snapshot {
	if w.shown.names == nil {
		w.changes()
	}
	now := w.shown
	s := snapshot{Tick: now.tick, Round: &now.round, Ships: [][]int{}, Sparks: [][3]int{}}
	for _, id := range sorted(now.ships) {
		s.Names, s.Ships = append(s.Names, now.names[id]), append(s.Ships, now.ships[id])
	}
	for _, id := range sorted(now.sparks) {
		s.Sparks = append(s.Sparks, now.sparks[id])
	}
	return s
}

// show returns the visible state.
func (w *world) show() shown {
	now := shown{tick: w.tick, round: round{w.podium, w.ends}, names: make(map[int]named, len(w.players)),
		ships: make(map[int][]int, len(w.players)), sparks: make(map[int][3]int, len(w.sparks))}
	for _, p := range w.players {
		now.names[p.id] = named{p.id, p.name, p.hue}
		state := 0
		if w.tick < p.dashing {
			state |= stateDashing
		}
		if w.tick < p.shielded {
			state |= stateShielded
		}
		if w.tick+1 >= p.rested {
			state |= stateRested
		}
		now.ships[p.id] = []int{p.id, p.at.x / part, p.at.y / part, p.score, state}
	}
	for _, k := range w.sparks {
		now.sparks[k.id] = [3]int{k.id, k.at.x / part, k.at.y / part}
	}
	return now
}

func sorted[V any](m map[int]V) []int { return slices.Sorted(maps.Keys(m)) }
