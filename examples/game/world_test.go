package main

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// roundTicks is the default length of a round.
const roundTicks = 75 * ticksPerSecond

// sane fails the test if a world breaks its invariants.
func sane(t *testing.T, w *world) {
	t.Helper()
	within := func(what string, id int, at vector, radius int) {
		if at.x < radius*part || at.x > (arenaWidth-radius)*part || at.y < radius*part ||
			at.y > (arenaHeight-radius)*part {
			t.Fatalf("tick %d: %s %d is outside, at %d, %d", w.tick, what, id, at.x/part, at.y/part)
		}
	}
	held, hues := 0, make(map[int]bool)
	for _, p := range w.players {
		within("player", p.id, p.at, shipRadius)
		if v := length(p.v); v > topSpeed {
			t.Fatalf("tick %d: player %d has the speed %d", w.tick, p.id, v/part)
		}
		if p.score < 0 || hues[p.hue] {
			t.Fatalf("tick %d: %+v", w.tick, p)
		}
		held, hues[p.hue] = held+p.score, true
	}
	for _, s := range w.sparks {
		within("spark", s.id, s.at, sparkRadius)
	}
	if w.minted != len(w.sparks)+held+w.burnt {
		t.Fatalf(
			"tick %d: %d minted, but %d on the floor, %d held, %d burnt",
			w.tick,
			w.minted,
			len(w.sparks),
			held,
			w.burnt,
		)
	}
	if len(w.players) > maxPlayers || len(w.sparks) > maxSparks {
		t.Fatalf("tick %d: %d players, %d sparks", w.tick, len(w.players), len(w.sparks))
	}
}

// watcher is the state that a page builds from snapshots.
type watcher struct {
	tick   int
	ships  map[int][]int
	names  map[int]named
	sparks map[int][3]int
	round  round
}

func (v *watcher) see(t *testing.T, s snapshot) {
	t.Helper()
	if s.Base == 0 {
		*v = watcher{ships: map[int][]int{}, names: map[int]named{}, sparks: map[int][3]int{}}
	} else if s.Base != v.tick {
		t.Fatalf("the snapshot of %d changes %d, and %d was the last", s.Tick, s.Base, v.tick)
	}
	v.tick = s.Tick
	for _, n := range s.Names {
		v.names[n.ID] = n
	}
	for _, p := range s.Ships {
		v.ships[p[0]] = p
	}
	for _, id := range s.Left {
		delete(v.ships, id)
		delete(v.names, id)
	}
	for _, k := range s.Sparks {
		v.sparks[k[0]] = k
	}
	for _, k := range s.Taken {
		delete(v.sparks, k[0])
	}
	if s.Round != nil {
		v.round = *s.Round
	}
}

// sees compares the state of a watcher with the world.
func (v *watcher) sees(t *testing.T, w *world) {
	t.Helper()
	now := w.show()
	if diff := cmp.Diff(now.ships, v.ships); diff != "" {
		t.Fatalf("ships at %d (-world +seen):\n%s", w.tick, diff)
	}
	if diff := cmp.Diff(now.sparks, v.sparks); diff != "" {
		t.Fatalf("sparks at %d (-world +seen):\n%s", w.tick, diff)
	}
	if diff := cmp.Diff(now.names, v.names); diff != "" {
		t.Fatalf("names at %d (-world +seen):\n%s", w.tick, diff)
	}
	if v.round != now.round {
		t.Fatalf("round at %d: %+v, seen %+v", w.tick, now.round, v.round)
	}
}

// play decodes the bytes of script as calls of a world, and checks it after each. Most bytes are a
// step.
func play(t *testing.T, w *world, script []byte) {
	var early, late watcher
	early.see(t, w.whole())
	for i, b := range script {
		some := 0
		if n := len(w.players); n > 0 {
			some = w.players[int(b>>2)%n].id
		}
		switch {
		case b%16 == 0:
			if _, ok := w.join("p"); !ok && len(w.players) < maxPlayers {
				t.Fatal("no place")
			}
		case b%64 == 1:
			w.leave(some)
		case b%16 == 2:
			w.step([]Input{{Player: some, X: int(b) * 1000, Y: -int(b), Dash: true}, {Player: 999999, X: 1}})
		case b%16 == 3 && len(w.players) > 1: // the ships dash at each other
			p, q := w.players[0], w.players[1]
			d := q.at.minus(p.at).scaled(100, max(1, length(q.at.minus(p.at))))
			w.step([]Input{{Player: p.id, X: d.x, Y: d.y, Dash: true}, {Player: q.id, X: -d.x, Y: -d.y}})
		default:
			w.step([]Input{{Player: some, X: int(b) - 128, Y: 2 * (int(b<<4) - 128)}})
		}
		sane(t, w)
		if b%3 == 0 {
			if s, changed := w.changes(); changed {
				early.see(t, s)
			}
			early.sees(t, w)
		}
		if i == len(script)/2 {
			late.see(t, w.whole())
			w.step(nil)
			if s, changed := w.changes(); changed {
				early.see(t, s)
				late.see(t, s)
			}
			late.sees(t, w)
		}
	}
}

func FuzzWorld(f *testing.F) {
	f.Add(uint64(1), []byte{0, 16, 3, 3, 3, 19, 7, 200, 2, 66, 1, 65, 0, 4})
	r := rand.New(rand.NewPCG(7, 7))
	for seed := range uint64(4) {
		script := make([]byte, 600)
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		f.Add(seed, script)
	}
	f.Fuzz(func(t *testing.T, seed uint64, script []byte) {
		play(t, newWorld(seed, roundTicks), script[:min(len(script), 600)])
	})
}

func TestTheSameCallsMakeTheSameWorld(t *testing.T) {
	script := make([]byte, 1500)
	r := rand.New(rand.NewPCG(3, 3))
	for i := range script {
		script[i] = byte(r.Uint32())
	}
	end := func(seed uint64) string {
		w := newWorld(seed, roundTicks)
		play(t, w, script)
		b, err := json.Marshal(w.whole())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if diff := cmp.Diff(end(5), end(5)); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
	if end(5) == end(6) {
		t.Error("the seed makes no difference")
	}
}

// TestOrderOfInputs: the last direction of a player's inputs counts. The order between players
// makes no difference.
func TestOrderOfInputs(t *testing.T) {
	start := func() (*world, int, int) {
		w := newWorld(1, roundTicks)
		a, _ := w.join("a")
		b, _ := w.join("b")
		w.player(a).at, w.player(b).at = vector{500 * part, 400 * part}, vector{900 * part, 400 * part}
		return w, a, b
	}
	after := func(inputs ...Input) map[int][]int {
		w, _, _ := start()
		for range 5 {
			w.step(inputs)
		}
		return w.show().ships
	}
	_, a, b := start()
	left, right := Input{Player: a, X: -100}, Input{Player: a, X: 100}
	other := Input{Player: b, Y: 100, Dash: true}
	if diff := cmp.Diff(after(left, right), after(right)); diff != "" {
		t.Errorf("the last one does not hold (-both +last):\n%s", diff)
	}
	if cmp.Equal(after(left, right), after(right, left)) {
		t.Error("the order of one player's inputs makes no difference")
	}
	if diff := cmp.Diff(after(left, right, other), after(other, left, right)); diff != "" {
		t.Errorf("the order of different players' inputs makes a difference:\n%s", diff)
	}
	if diff := cmp.Diff(after(Input{Player: b, Y: 1, Dash: true}, Input{Player: b, Y: 100}), after(other)); diff != "" {
		t.Errorf("a dash is lost:\n%s", diff)
	}
}

func TestSteering(t *testing.T) {
	w := newWorld(1, roundTicks)
	id, _ := w.join("a")
	p := w.player(id)
	p.at = vector{800 * part, 450 * part}
	w.sparks = nil
	w.minted = 0
	for range 10 {
		w.step([]Input{{Player: id, X: 100, Y: 100}})
	}
	if p.at.x <= 800*part || p.at.y <= 450*part {
		t.Errorf("it went to %+v", p.at)
	}
	straight := newWorld(1, roundTicks)
	sid, _ := straight.join("a")
	q := straight.player(sid)
	q.at = vector{800 * part, 450 * part}
	for range 10 {
		straight.step([]Input{{Player: sid, X: 100}})
	}
	if a, b := length(p.v), length(q.v); a > b+part || a < b-part {
		t.Errorf("the speed is %d aslant and %d straight on", a, b)
	}
	w.step([]Input{{Player: id}})
	for range 60 {
		w.step(nil)
	}
	if p.v != (vector{}) {
		t.Errorf("it does not come to rest: %+v", p.v)
	}
	w.changes()
	w.tick, w.ends = w.tick-w.tick%mintTicks, w.tick+roundTicks // no new spark in the next step
	w.changes()
	w.step(nil)
	if s, changed := w.changes(); changed {
		t.Errorf("nothing moves, and a snapshot says %+v", s)
	}
}

func TestDashStrikesSparksOut(t *testing.T) {
	w := newWorld(1, roundTicks)
	a, _ := w.join("a")
	b, _ := w.join("b")
	p, q := w.player(a), w.player(b)
	w.sparks = nil
	p.at, q.at = vector{400 * part, 450 * part}, vector{560 * part, 450 * part}
	p.shielded, q.shielded = 0, 0
	q.score, w.minted = 9, 9
	for range 6 {
		w.step([]Input{{Player: a, X: 100, Dash: true}})
		sane(t, w)
	}
	w.sparks = slices.DeleteFunc(w.sparks, func(k spark) bool { return k.ripe == 0 }) // newly minted ones
	if q.score != 5 || len(w.sparks) != 4 {
		t.Errorf("it has %d left, %d were spilled", q.score, len(w.sparks))
	}
	s, _ := w.changes()
	if diff := cmp.Diff([][3]int{{a, b, 4}}, s.Hits); diff != "" {
		t.Errorf("hits (-want +got):\n%s", diff)
	}
	if q.v.x <= 0 {
		t.Error("it is not pushed away")
	}
	// While shielded, it loses no more sparks.
	p.rested = 0
	p.at = q.at.minus(vector{3 * shipRadius * part, 0})
	w.step([]Input{{Player: a, X: 100, Dash: true}})
	if q.score != 5 {
		t.Error("it was struck again at once")
	}
}

func TestSparksGoToTheNearest(t *testing.T) {
	w := newWorld(1, roundTicks)
	a, _ := w.join("a")
	b, _ := w.join("b")
	w.player(a).at, w.player(b).at = vector{500 * part, 450 * part}, vector{556 * part, 450 * part}
	w.sparks = []spark{{id: 77, at: vector{529 * part, 450 * part}}}
	w.minted = 1
	w.step(nil)
	if w.player(a).score != 0 || w.player(b).score != 1 {
		t.Errorf("%d and %d", w.player(a).score, w.player(b).score)
	}
	s, _ := w.changes()
	if !slices.Contains(s.Taken, [2]int{77, b}) {
		t.Errorf("taken: %v", s.Taken)
	}
}

func TestRounds(t *testing.T) {
	w := newWorld(1, roundTicks)
	id, _ := w.join("a")
	for !w.podium {
		w.step([]Input{{Player: id, X: w.rand.IntN(201) - 100, Y: w.rand.IntN(201) - 100, Dash: true}})
		sane(t, w)
	}
	if w.tick != roundTicks {
		t.Errorf("the round ended at %d", w.tick)
	}
	score := w.player(id).score
	if score == 0 {
		t.Fatal("it has not found a spark in a whole round")
	}
	for w.podium {
		if w.player(id).score != score {
			t.Fatal("the score changes behind the round's end")
		}
		w.step([]Input{{Player: id, X: 100, Dash: true}})
	}
	sane(t, w)
	if w.player(id).score != 0 || w.burnt != score {
		t.Errorf("score %d, burnt %d, want 0 and %d", w.player(id).score, w.burnt, score)
	}
}

func TestAnArenaIsFull(t *testing.T) {
	w := newWorld(1, roundTicks)
	for i := range maxPlayers {
		if _, ok := w.join("p"); !ok {
			t.Fatalf("no place for player %d", i+1)
		}
	}
	if _, ok := w.join("one more"); ok {
		t.Error("there is a place for one more")
	}
	sane(t, w)
	w.leave(w.players[3].id)
	if _, ok := w.join("one more"); !ok {
		t.Error("the place of one who left is not free")
	}
	sane(t, w)
}

func BenchmarkStep(b *testing.B) {
	w := newWorld(1, roundTicks)
	for range maxPlayers {
		w.join("p")
	}
	b.ReportAllocs()
	for b.Loop() {
		w.step(
			[]Input{{Player: w.players[w.tick%maxPlayers].id, X: w.tick%201 - 100, Y: w.tick/7%201 - 100, Dash: true}},
		)
		w.changes()
	}
}
