package held

import (
	"math"
	"math/bits"
	"slices"

	"github.com/streamerson/streamerson-go/redisio"
)

// runSize is how many ids one run of a ledger has at most.
const runSize = 512

// Ledger has the held IDs, and when the lease of each was last renewed.
//
// Idea: the IDs of new entries only grow, and the entries are settled in nearly the same order. So
// IDs are appended to runs of a fixed size and struck out there. A search begins where the last one
// ended, which is usually the right slot. A run without IDs is dropped. When few IDs are left in many
// runs, they are packed. IDs that arrive out of order (of nacked, recovered and reclaimed entries)
// are in a map.
type Ledger struct {
	runs  []*run               // in order, none of them without ids
	other map[redisio.ID]int64 // no id is in here and in a run
	n     int                  // ids
	slots int                  // of all runs
	seen  *run                 // where the last id was found, or nil
	next  int                  // the slot behind it
	spare *run
}

// run is a sorted piece of a ledger.
type run struct {
	slots []slot
	last  redisio.ID // of the last slot
	left  int        // slots that are not struck out
}

type slot struct {
	id redisio.ID
	at int64 // ticks; struck if the ID is not held any more
}

const struck = -1

func (l *Ledger) Init() { l.other = make(map[redisio.ID]int64) }

// put adds an ID, or records its renewal. It reports whether the ID is new.
func (l *Ledger) put(id redisio.ID, at int64) bool {
	at = max(at, 0)
	if n := len(l.runs); n > 0 && !less(l.runs[n-1].last, id) {
		if r, i := l.find(id); r != nil {
			was := r.slots[i].at
			if was == struck {
				r.left++
				l.n++
			}
			r.slots[i].at = at
			return was == struck
		}
	} else if _, ok := l.other[id]; !ok {
		l.write(slot{id, at})
		l.n++
		return true
	}
	_, ok := l.other[id]
	if !ok {
		l.n++
	}
	l.other[id] = at
	return !ok
}

// write adds a slot behind the last one.
func (l *Ledger) write(s slot) {
	if n := len(l.runs); n == 0 || len(l.runs[n-1].slots) == runSize {
		r := l.spare
		if l.spare = nil; r == nil {
			r = new(run)
		}
		l.runs = append(l.runs, r)
	}
	r := l.runs[len(l.runs)-1]
	r.slots = append(r.slots, s)
	r.last = s.id
	r.left++
	l.slots++
}

// delete strikes an id out.
func (l *Ledger) delete(id redisio.ID) {
	r, i := l.find(id)
	if r == nil {
		if _, ok := l.other[id]; ok {
			delete(l.other, id)
			l.n--
		}
		return
	}
	if r.slots[i].at == struck {
		return
	}
	r.slots[i].at = struck
	r.left--
	l.n--
	if r.left == 0 {
		l.drop(r)
	} else if l.slots > 4*l.n+4*runSize {
		l.pack()
	}
}

// drop removes a run without IDs.
func (l *Ledger) drop(r *run) {
	at := slices.Index(l.runs, r)
	l.runs = slices.Delete(l.runs, at, at+1)
	l.slots -= len(r.slots)
	r.slots = r.slots[:0]
	l.seen, l.spare = nil, r
}

// pack rewrites the runs without gaps. Its cost is amortized: three of four slots were struck out
// since the last time.
func (l *Ledger) pack() {
	old := l.runs
	l.runs, l.slots, l.seen = nil, 0, nil
	for _, r := range old {
		for _, s := range r.slots {
			if s.at != struck {
				l.write(s)
			}
		}
	}
}

// get returns when the lease of an id was renewed; ok is false when the id is not held.
func (l *Ledger) get(id redisio.ID) (at int64, ok bool) {
	if r, i := l.find(id); r != nil {
		at = r.slots[i].at
		return at, at != struck
	}
	at, ok = l.other[id]
	return at, ok
}

// Stale returns the IDs with a last renewal at before or earlier, sorted.
func (l *Ledger) Stale(before int64) []redisio.ID {
	var ids []redisio.ID
	for _, r := range l.runs {
		for _, s := range r.slots {
			if s.at != struck && s.at <= before {
				ids = append(ids, s.id)
			}
		}
	}
	if len(l.other) == 0 {
		return ids
	}
	for id, at := range l.other {
		if at <= before {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, redisio.ID.Compare)
	return ids
}

// oldest returns the time of the oldest renewal.
func (l *Ledger) oldest() int64 {
	at := int64(math.MaxInt64)
	for _, r := range l.runs {
		for _, s := range r.slots {
			if s.at != struck && s.at < at {
				at = s.at
			}
		}
	}
	for _, t := range l.other {
		at = min(at, t)
	}
	return at
}

// find returns the slot of an ID, also if it is struck out, or nil.
func (l *Ledger) find(id redisio.ID) (*run, int) {
	if r := l.seen; r != nil && l.next < len(r.slots) && r.slots[l.next].id == id {
		l.next++
		return r, l.next - 1
	}
	at, end := 0, len(l.runs)
	for at < end {
		if mid := (at + end) / 2; less(l.runs[mid].last, id) {
			at = mid + 1
		} else {
			end = mid
		}
	}
	if at == len(l.runs) {
		return nil, 0
	}
	r := l.runs[at]
	i := 0
	for n := len(r.slots); n > 1; { // without unpredictable branches
		half := n / 2
		_, b := bits.Sub64(id.Seq, r.slots[i+half].id.Seq, 0)
		_, b = bits.Sub64(id.Ms, r.slots[i+half].id.Ms, b) // 1: the id is before that slot
		i += half & (int(b) - 1)
		n -= half
	}
	if r.slots[i].id != id {
		return nil, 0
	}
	l.seen, l.next = r, i+1
	return r, i
}

// less is Compare < 0.
func less(a, b redisio.ID) bool { return a.Ms < b.Ms || a.Ms == b.Ms && a.Seq < b.Seq }
