package main

import "math"

// Speeds are in parts of a unit per tick.
const (
	thrust    = 3 * part
	dashSpeed = 46 * part
	topSpeed  = 60 * part // of anything
	drag      = 85        // hundredths of the speed that are left after a tick
)

func (a vector) plus(b vector) vector  { return vector{a.x + b.x, a.y + b.y} }
func (a vector) minus(b vector) vector { return vector{a.x - b.x, a.y - b.y} }

// scaled returns the vector times by/of; zero if of is 0.
func (a vector) scaled(by, of int) vector {
	if of == 0 {
		return vector{}
	}
	return vector{a.x * by / of, a.y * by / of}
}

func (a vector) times(b vector) int { return a.x*b.x + a.y*b.y }

// length rounds down. The square root of a float64 is exact to its last bit, by IEEE 754, so the
// result is the same everywhere.
func length(a vector) int { return int(math.Sqrt(float64(a.times(a)))) }

// shortened returns the vector with a length of at most most.
func (a vector) shortened(most int) vector {
	if l := length(a); l > most {
		return a.scaled(most, l)
	}
	return a
}

// steer applies the input of a player.
func (w *world) steer(p *player, in Input) {
	p.want = vector{min(max(in.X, -100), 100), min(max(in.Y, -100), 100)}.shortened(100)
	if p.want != (vector{}) {
		p.face = p.want
	}
	if in.Dash && w.tick >= p.rested && !w.podium {
		p.v = p.face.scaled(dashSpeed, length(p.face))
		p.dashing, p.rested = w.tick+dashTicks, w.tick+dashPause
	}
}

func (p *player) move() {
	p.v = p.v.plus(p.want.scaled(thrust, 100)).scaled(drag, 100).shortened(topSpeed)
	p.at = p.at.plus(p.v)
	p.at.x, p.v.x = bounce(p.at.x, p.v.x, shipRadius, arenaWidth)
	p.at.y, p.v.y = bounce(p.at.y, p.v.y, shipRadius, arenaHeight)
}

func (s *spark) slide() {
	if s.v == (vector{}) {
		return
	}
	s.v = s.v.scaled(drag, 100)
	s.at = s.at.plus(s.v)
	s.at.x, s.v.x = bounce(s.at.x, s.v.x, sparkRadius, arenaWidth)
	s.at.y, s.v.y = bounce(s.at.y, s.v.y, sparkRadius, arenaHeight)
}

// bounce keeps a coordinate inside the walls, off which the speed comes back weaker.
func bounce(at, v, radius, size int) (int, int) {
	low, high := radius*part, (size-radius)*part
	switch {
	case at < low:
		return low, max(v, -v) * 3 / 4
	case at > high:
		return high, min(v, -v) * 3 / 4
	}
	return at, v
}

// bump separates two ships that touch. They rebound as billiard balls do, and a dashing ship strikes
// sparks out of one that does not dash.
func (w *world) bump(p, q *player) {
	away := q.at.minus(p.at)
	d := length(away)
	overlap := 2*shipRadius*part - d
	if overlap <= 0 {
		return
	}
	if d == 0 {
		away, d = vector{1, 0}, 1
	}
	if closing := p.v.minus(q.v).times(away) / d; closing > 0 {
		push := away.scaled(closing, d)
		p.v, q.v = p.v.minus(push).shortened(topSpeed), q.v.plus(push).shortened(topSpeed)
	}
	apart := away.scaled(overlap/2+1, d)
	p.at, q.at = inside(p.at.minus(apart)), inside(q.at.plus(apart))
	switch pStrikes, qStrikes := w.tick < p.dashing, w.tick < q.dashing; {
	case pStrikes && !qStrikes:
		w.strike(p, q)
	case qStrikes && !pStrikes:
		w.strike(q, p)
	}
}

// strike spills a third of the sparks of the ship that was hit, at least one if it has any.
func (w *world) strike(by, whom *player) {
	if w.podium || w.tick < whom.shielded {
		return
	}
	n := min(whom.score, 1+whom.score/3)
	whom.shielded = w.tick + shieldTicks
	w.spill(whom, n)
	w.log.hits = append(w.log.hits, [3]int{by.id, whom.id, n})
}

// inside returns the nearest place where a ship fits.
func inside(at vector) vector {
	at.x, _ = bounce(at.x, 0, shipRadius, arenaWidth)
	at.y, _ = bounce(at.y, 0, shipRadius, arenaHeight)
	return at
}
