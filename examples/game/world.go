package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// The arena's measures. Lengths are in units; the world counts in parts of a unit, so that it is
// exact and the same on every machine.
const (
	arenaWidth  = 1600
	arenaHeight = 900
	shipRadius  = 26
	sparkRadius = 9

	part = 64 // of a unit
)

// Times are in ticks.
const (
	ticksPerSecond = 20
	podiumTicks    = 6 * ticksPerSecond // between two rounds
	dashTicks      = 6                  // a dash strikes for so long
	dashPause      = 28                 // from one dash to the next
	shieldTicks    = 24                 // protection of a ship that was hit
	ripeTicks      = 9                  // until a spilled spark can be taken
	mintTicks      = 6                  // from one new spark to the next
)

// Bounds of a world.
const (
	maxPlayers = 12
	maxSparks  = 160 // on the floor
)

// Input is the input of a player, from the next step on.
type Input struct {
	Player int
	X, Y   int  // the direction, -100 to 100 each: how hard the stick is pushed
	Dash   bool // once
}

// world is one arena: ships that collect sparks, and strike them out of each other by dashing. It
// is a plain value that only its methods change: the same seed and the same calls make the same
// world, anywhere.
//
// Sparks are conserved: each minted spark is on the floor, held by a player, or burnt. Sparks of a
// player that leaves burn, and so do those of a finished round.
type world struct {
	rand    *rand.Rand
	tick    int
	length  int  // of a round, in ticks
	podium  bool // the round is over, and its winner shown
	ends    int  // tick at which the round, or the podium, ends
	players []*player
	sparks  []spark
	lastID  int // of players and sparks

	minted, burnt int

	log   events // what has happened since the last snapshot
	shown shown  // what the last snapshot showed
}

type vector struct{ x, y int } // in parts of a unit

type player struct {
	id       int
	name     string
	hue      int // index of the colour; two players of a world never share one
	at, v    vector
	want     vector // -100 to 100
	face     vector // the last direction; a dash at rest uses it
	score    int
	dashing  int // tick until which a dash strikes
	rested   int // tick from which the next dash is possible
	shielded int // tick until which it cannot be hit
}

type spark struct {
	id    int
	at, v vector
	ripe  int // tick from which it can be taken
}

// events have happened since the last snapshot. Pages show them and play sounds.
type events struct {
	taken [][2]int // spark, player
	hits  [][3]int // attacker, victim, sparks spilled
}

// newWorld returns a world with rounds of the given number of ticks.
func newWorld(seed uint64, round int) *world {
	w := &world{rand: rand.New(rand.NewPCG(seed, 0x5eed)), tick: 1, length: round, ends: round}
	for range 14 {
		w.mint()
	}
	return w
}

// join adds a player, and returns its id; false when the arena is full.
func (w *world) join(name string) (int, bool) {
	if len(w.players) >= maxPlayers {
		return 0, false
	}
	w.lastID++
	p := &player{id: w.lastID, name: name, hue: w.freeHue(), face: vector{100, 0}, shielded: w.tick + shieldTicks}
	for range 8 { // takes the place that is farthest from other ships
		at := w.anywhere(shipRadius)
		if p.at == (vector{}) || w.room(at) > w.room(p.at) {
			p.at = at
		}
	}
	w.players = append(w.players, p)
	return p.id, true
}

// leave removes a player. Its sparks burn.
func (w *world) leave(id int) {
	w.players = slices.DeleteFunc(w.players, func(p *player) bool {
		if p.id == id {
			w.burnt += p.score
		}
		return p.id == id
	})
}

func (w *world) player(id int) *player {
	for _, p := range w.players {
		if p.id == id {
			return p
		}
	}
	return nil
}

// step advances the world by one tick. If a player has several inputs, the last direction counts,
// and any of them may dash. The order of different players' inputs makes no difference. Inputs of
// players that have left are ignored.
func (w *world) step(inputs []Input) {
	w.tick++
	for _, in := range inputs {
		if p := w.player(in.Player); p != nil {
			w.steer(p, in)
		}
	}
	for _, p := range w.players {
		p.move()
	}
	for i, p := range w.players {
		for _, q := range w.players[i+1:] {
			w.bump(p, q)
		}
	}
	for i := range w.sparks {
		w.sparks[i].slide()
	}
	if !w.podium {
		w.take()
		if w.tick%mintTicks == 0 && len(w.sparks) < min(12+4*len(w.players), maxSparks) {
			w.mint()
		}
	}
	if w.tick >= w.ends {
		w.turn()
	}
}

// turn ends the round, or begins the next one.
func (w *world) turn() {
	w.podium = !w.podium
	if w.podium {
		w.ends = w.tick + podiumTicks
		return
	}
	w.ends = w.tick + w.length
	for _, p := range w.players {
		w.burnt += p.score
		p.score = 0
	}
}

// take gives sparks to the ships that touch them, to the nearest if there are several.
func (w *world) take() {
	w.sparks = slices.DeleteFunc(w.sparks, func(s spark) bool {
		if w.tick < s.ripe {
			return false
		}
		var by *player
		best := (shipRadius + sparkRadius) * part
		for _, p := range w.players {
			if d := length(p.at.minus(s.at)); d < best {
				by, best = p, d
			}
		}
		if by == nil {
			return false
		}
		by.score++
		w.log.taken = append(w.log.taken, [2]int{s.id, by.id})
		return true
	})
}

// spill throws n of a player's sparks on the floor around it. They burn if the floor has maxSparks.
func (w *world) spill(p *player, n int) {
	p.score -= n
	for range n {
		if len(w.sparks) >= maxSparks {
			w.burnt++
			continue
		}
		w.lastID++
		v := vector{w.rand.IntN(2001) - 1000, w.rand.IntN(2001) - 1000}
		w.sparks = append(
			w.sparks,
			spark{id: w.lastID, at: p.at, v: v.scaled((10+w.rand.IntN(12))*part, length(v)), ripe: w.tick + ripeTicks},
		)
	}
}

// mint makes a spark at a random place.
func (w *world) mint() {
	w.lastID++
	w.minted++
	w.sparks = append(w.sparks, spark{id: w.lastID, at: w.anywhere(sparkRadius + 20)})
}

func (w *world) anywhere(margin int) vector {
	return vector{
		(margin + w.rand.IntN(arenaWidth-2*margin)) * part,
		(margin + w.rand.IntN(arenaHeight-2*margin)) * part,
	}
}

// room returns the distance from a place to the nearest ship.
func (w *world) room(at vector) int {
	nearest := math.MaxInt
	for _, p := range w.players {
		nearest = min(nearest, length(p.at.minus(at)))
	}
	return nearest
}

func (w *world) freeHue() int {
	for hue := range maxPlayers {
		if !slices.ContainsFunc(w.players, func(p *player) bool { return p.hue == hue }) {
			return hue
		}
	}
	return 0
}
