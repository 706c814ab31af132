package flow

import "errors"

// ErrLeaseLost is the cause of a handler's context when the source has lost the lease of the
// current entry: another reader now owns the entry and will handle it.
var ErrLeaseLost = errors.New("flow: lease lost, another reader has the entry now")

// Leaser is a Reader that can lose the leases of its entries, for example if the process was
// suspended for longer than a lease lasts. OnLeaseLost is called once, before Open. Its argument is
// the function that reports lost entries by their Meta.ID.
//
// If a handler is working on a lost entry, its context is cancelled with ErrLeaseLost as the cause.
// If the entry has not been handled yet, it will not be. A lost entry settles like any other
// (Nacked if it was not finished), with Lost set. The Reader must then leave the entry to its new
// owner. A message made of several entries (Join), or a chunk that a sink is writing, counts as
// lost when all its entries are lost.
type Leaser interface {
	OnLeaseLost(lost func(ids []string))
}

// lease tells the reader where to report lost leases, if it is a Leaser.
func (ses *session) lease(reader any) {
	if l, ok := reader.(Leaser); ok {
		ses.source.run.leased.Store(true)
		l.OnLeaseLost(ses.lose)
	}
}

// lose marks entries as lost and interrupts the lanes that work on them.
//
// Idea: a lane publishes its work before it checks whether that is lost. Here the entry is marked
// lost before the lanes are checked. So one of the two sees the other, whichever comes first.
func (ses *session) lose(ids []string) {
	lost := make(map[string]bool, len(ids))
	for _, id := range ids {
		lost[id] = true
	}
	cells := make(map[*cell]bool)
	ses.mu.Lock()
	for _, s := range ses.slabs {
		s.lose(lost, cells)
	}
	ses.mu.Unlock()
	s := ses.source
	if len(cells) == 0 {
		return
	}
	s.lost.Add(uint64(len(cells)))
	s.run.lanes.interrupt(cells)
}

// lose marks the unsettled leases with these ids as lost and adds them to cells.
func (s *slab) lose(ids map[string]bool, cells map[*cell]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.metas {
		if c := &s.cells[i]; ids[s.metas[i].ID] && c.more.Load() > settled {
			l := lease{slab: s, at: int32(i)}
			n := s.notes[l.at]
			if !n.lost {
				n.lost = true
				s.setNote(l, n)
				s.lost.Store(true)
			}
			cells[c] = true
		}
	}
}

// isLost reports whether all entries of the lease are lost. The caller owns a share of it, unless
// it is an entry's lease.
func (l lease) isLost() bool {
	if l.none() {
		return false
	}
	s := l.slab
	if one, ok := l.member(); ok {
		return one.isLost()
	}
	if s.members != nil {
		return allLost(s.members)
	}
	if !s.lost.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notes[l.at].lost
}

func allLost(leases []lease) bool {
	some := false
	for _, l := range leases {
		if l.none() {
			continue
		}
		if !l.isLost() {
			return false
		}
		some = true
	}
	return some
}

// appendEntries appends the leases of the entries that l stands for. The caller owns a share of l.
func (l lease) appendEntries(to []lease) []lease {
	one, isOne := l.member()
	switch {
	case l.none():
	case isOne:
		to = one.appendEntries(to)
	case l.slab.members == nil:
		to = append(to, l)
	default:
		for _, member := range l.slab.members {
			to = member.appendEntries(to)
		}
	}
	return to
}
