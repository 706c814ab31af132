package source

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

const commitTimeout = 10 * time.Second

// settler commits settlements to a group. Owned by the committing goroutine.
//
// Idea: a Commit that failed is called again with the same settlements. Acks and dead letters may
// be repeated. A nack may not, because the entry may have been delivered again since, and would be
// taken from its new handler. So a Commit that failed in part records which nacks it has done.
type settler struct {
	r    *reader.Group
	plan *streamPlan

	acks    []string
	letters []reader.DeadLetter
	why     dead.Reason // of the first of letters
	nacks   []string
	delays  []time.Duration     // of the nacks
	seqs    []uint64            // of the nacks
	unbegun []string            // given back before a handler received them
	back    []uint64            // their seqs
	done    map[uint64]struct{} // nacked by a Commit that failed
	late    []string            // owned by another reader by now
}

// Commit acknowledges finished entries, gives back unfinished ones, and moves those that failed for
// good to the dead letters.
func (s *settler) Commit(ctx context.Context, settled []flow.Settlement) error {
	if s.plan.group.AtMostOnce {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	s.sort(settled)
	var errs []error
	if len(s.acks) > 0 {
		_, err := s.r.Ack(ctx, s.acks)
		errs = append(errs, err)
	}
	if len(s.letters) > 0 {
		err := s.r.Dead(ctx, s.plan.deadKey, s.letters)
		if err == nil {
			flow.Logger(ctx).Warn("moved to the dead letters", "key", s.plan.group.Key, "dead", s.plan.deadKey,
				"entries", len(s.letters), "id", s.letters[0].ID, "stage", s.why.Stage, "attempts", s.why.Attempts,
				"error", s.why.Error)
		}
		errs = append(errs, err)
	}
	if len(s.nacks) > 0 {
		n, err := s.r.NackEach(ctx, s.nacks, s.delays)
		errs = append(errs, err)
		s.note(s.seqs[:n])
	}
	if len(s.unbegun) > 0 {
		err := s.r.Undeliver(ctx, s.unbegun)
		errs = append(errs, err)
		if err == nil {
			s.note(s.back)
		}
	}
	err := errors.Join(errs...)
	if err == nil {
		s.r.Late(s.late)
	}
	s.reset(err == nil)
	if redisio.IsPermanent(err) {
		return flow.Permanent(err)
	}
	return err
}

// sort assigns each settlement to one of the lists.
func (s *settler) sort(settled []flow.Settlement) {
	for i := range settled {
		st := &settled[i]
		if st.Lost { // even if this reader has the entry again: the new delivery is settled by itself
			s.late = append(s.late, st.ID)
			continue
		}
		switch st.Outcome {
		case flow.Acked, flow.Dropped:
			s.acks = append(s.acks, st.ID)
			continue
		case flow.Dead:
			s.letters = append(s.letters, s.letter(st))
			continue
		}
		if st.Fault != nil && s.plan.maxDeliveries > 0 && st.Attempt >= s.plan.maxDeliveries {
			s.letters = append(s.letters, s.letter(st))
			continue
		}
		if _, done := s.done[st.Seq]; done {
			continue
		}
		if st.Unbegun {
			s.unbegun, s.back = append(s.unbegun, st.ID), append(s.back, st.Seq)
			continue
		}
		after := time.Duration(0) // given back unfinished: any reader may have it at once
		if st.Fault != nil {
			after = st.Fault.After
		}
		s.nacks, s.delays, s.seqs = append(s.nacks, st.ID), append(s.delays, after), append(s.seqs, st.Seq)
	}
}

// note records the nacks that succeeded, in case the rest of the Commit fails.
func (s *settler) note(seqs []uint64) {
	if s.done == nil {
		s.done = make(map[uint64]struct{}, len(seqs))
	}
	for _, seq := range seqs {
		s.done[seq] = struct{}{}
	}
}

// reset prepares the next Commit. all reports whether everything succeeded, so that it has other
// settlements.
func (s *settler) reset(all bool) {
	clear(s.acks)
	clear(s.letters)
	clear(s.nacks)
	clear(s.late)
	clear(s.unbegun)
	s.unbegun, s.back = s.unbegun[:0], s.back[:0]
	s.late = s.late[:0]
	s.acks, s.letters = s.acks[:0], s.letters[:0]
	s.nacks, s.delays, s.seqs = s.nacks[:0], s.delays[:0], s.seqs[:0]
	if all {
		s.done = nil
	}
}

// letter returns the dead letter of an entry. The server copies the entry's own fields.
func (s *settler) letter(st *flow.Settlement) reader.DeadLetter {
	var reason dead.Reason
	if st.Fault != nil {
		reason = dead.NewReason(st.Fault.Err)
		reason.Graph, reason.Stage = st.Fault.Graph, st.Fault.Stage
		if panicked := (*flow.PanicError)(nil); errors.As(st.Fault.Err, &panicked) {
			reason.Stack = string(panicked.Stack)
		}
	}
	reason.Attempts, reason.ID, reason.Time = int64(st.Attempt), st.ID, time.Now()
	reason.Key, reason.Group = s.plan.group.Key, s.plan.group.Group
	if len(s.letters) == 0 {
		s.why = reason
	}
	return reader.DeadLetter{ID: st.ID, Extra: reason.Fields()}
}

// leases reports lost leases to the graph, once the graph has set its function.
type leases struct {
	report atomic.Pointer[func(ids []string)]
}

// OnLeaseLost implements flow.Leaser.
func (l *leases) OnLeaseLost(lost func(ids []string)) { l.report.Store(&lost) }

func (l *leases) tell(ids []string) {
	if report := l.report.Load(); report != nil {
		(*report)(ids)
	}
}
