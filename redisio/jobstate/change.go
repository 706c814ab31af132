package jobstate

import (
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// Submission is a job to be submitted.
type Submission struct {
	ID       string // from NewID; a repeated Submit with the same ID does nothing
	Priority string
	Key      string // of which one job at a time exists; "" for none
	Owner    string
	Due      time.Time      // by the caller's clock; zero or past: at once
	Fields   redisio.Fields // of the entry
}

// Submit writes a job with its entry, in one step. If a job with the same Key has not ended, it
// writes nothing and returns the ID of that job. The error is ErrFull if too many jobs wait.
func (s *Store) Submit(ctx context.Context, n Submission) (id string, created bool, err error) {
	due, stored := int64(0), ""
	keys := s.cfg.keys(n.ID, n.Key, n.Priority)
	later := schedule.ScheduleKeys(keys[3])
	if !n.Due.IsZero() {
		due, stored = schedule.Delayed{ID: n.ID, At: n.Due, Fields: n.Fields}.Stored()
	}
	state := (&Attempt{ID: n.ID, Priority: n.Priority, Key: n.Key, Owner: n.Owner}).state()
	args := []any{n.ID, s.cfg.KeepOpen.Milliseconds(), max(s.cfg.MaxQueued, 0), s.cfg.Recent, due, stored, len(state)}
	args = append(args, state...)
	for i := range n.Fields {
		args = append(args, n.Fields[i].Name, n.Fields[i].Value)
	}
	keys = append(keys, s.cfg.recent(), later[1], later[2])
	reply, err := s.rdb.Eval(ctx, script.JobSubmit, keys, args...).StringSlice()
	switch {
	case err != nil:
		return "", false, check.KeyError("submit a job to", s.cfg.Name, err)
	case len(reply) != 2:
		return "", false, fmt.Errorf("redisio: submit a job to %q: a reply of %d values", s.cfg.Name, len(reply))
	case reply[0] == "full":
		return "", false, fmt.Errorf("%w: %d jobs of priority %s", ErrFull, s.cfg.MaxQueued, n.Priority)
	}
	return reply[1], reply[0] == "new", nil
}

// Attempt is an attempt of a job.
type Attempt struct {
	ID       string // of the job
	Entry    string // ID of its entry
	Priority string
	Key      string
	Owner    string
	Number   int // from Begin
	token    string
	at       string // when the job was submitted, as Redis has it
}

// state returns the fields of a state that is missing.
func (a *Attempt) state() []any {
	fields := []any{"id", a.ID, "priority", a.Priority}
	if a.Key != "" {
		fields = append(fields, "key", cut(a.Key))
	}
	if a.Owner != "" {
		fields = append(fields, "owner", cut(a.Owner))
	}
	return fields
}

// spent is the error of a job after all its attempts ended with their process.
const spent = "all attempts ended before they were done: their processes died"

// Begin begins the next attempt and sets its Number. The token is unique for the attempt: the same
// token again returns the same Number. If the job is not to be handled, the error is an *EndedError,
// and why is the error of a failed job.
func (s *Store) Begin(ctx context.Context, a *Attempt, token string) (why string, err error) {
	args := append([]any{token, a.Entry, max(s.cfg.MaxAttempts, 0), s.cfg.KeepOpen.Milliseconds(),
		s.cfg.Keep.Milliseconds(), spent}, a.state()...)
	reply, err := s.rdb.Eval(ctx, script.JobBegin, s.cfg.keys(a.ID, a.Key, a.Priority), args...).StringSlice()
	if err == nil && len(reply) < 2 {
		err = fmt.Errorf("a reply of %d values", len(reply))
	}
	if err != nil {
		return "", check.KeyError("begin a job of", s.cfg.Name, err)
	}
	if reply[0] != "run" {
		return reply[1], &EndedError{a.ID, State(reply[0])}
	}
	if _, err := fmt.Sscan(reply[1], &a.Number); err != nil {
		return "", fmt.Errorf("redisio: begin a job of %q: attempt %q: %w", s.cfg.Name, reply[1], err)
	}
	a.token, a.at = token, reply[len(reply)-1]
	return "", nil
}

// Report stores the progress of an attempt and its last failure, if they are not nil, and confirms
// that the attempt is still current. The error is an *EndedError after a cancel, ErrStale if another
// attempt has begun, and ErrUnknown if the state is missing: End makes it again.
func (s *Store) Report(ctx context.Context, a *Attempt, p *Progress, f *Failure) error {
	args := append([]any{a.Number, a.token, a.at, s.cfg.KeepOpen.Milliseconds()}, pairs(p, f)...)
	reply, err := s.rdb.Eval(ctx, script.JobReport, s.cfg.keys(a.ID, a.Key, a.Priority), args...).Text()
	if err != nil {
		return check.KeyError("report a job of", s.cfg.Name, err)
	}
	return s.answer(a, reply, "run")
}

// Result is how an attempt ended.
type Result struct {
	// State is Done, Failed, Retrying, or Queued for an attempt that was given back unfinished and
	// does not count.
	State   State
	Value   []byte // of a job that is done, as JSON
	Failure *Failure
	// Progress is the last progress; nil leaves it as it is.
	Progress *Progress
}

// End ends an attempt and returns the state of the job: Failed instead of Retrying after the last
// attempt. The error is an *EndedError if the job was cancelled before, and ErrStale if another attempt
// has begun. Then nothing was stored. A state that is missing is made again.
func (s *Store) End(ctx context.Context, a *Attempt, r Result) (State, error) {
	state := a.state()
	args := append([]any{a.Number, a.token, a.at, string(r.State), max(s.cfg.MaxAttempts, 0),
		s.cfg.Keep.Milliseconds(), s.cfg.KeepOpen.Milliseconds(), len(state)}, state...)
	for all := pairs(r.Progress, r.Failure); len(all) > 0; all = all[2:] {
		if all[1] != "" {
			args = append(args, all[0], all[1])
		}
	}
	if len(r.Value) > 0 {
		args = append(args, "result", r.Value)
	}
	reply, err := s.rdb.Eval(ctx, script.JobEnd, s.cfg.keys(a.ID, a.Key, a.Priority), args...).Text()
	if err != nil {
		return "", check.KeyError("end a job of", s.cfg.Name, err)
	}
	if r.State == Retrying && State(reply) == Failed {
		return Failed, nil
	}
	return State(reply), s.answer(a, reply, string(r.State))
}

// answer returns the error of a script's answer, nil if it is as wanted.
func (s *Store) answer(a *Attempt, reply, want string) error {
	switch {
	case reply == want:
		return nil
	case reply == "gone":
		return s.unknown(a.ID, time.Now())
	case State(reply).Ended():
		return &EndedError{a.ID, State(reply)}
	}
	return fmt.Errorf("%w: job %s, attempt %d", ErrStale, a.ID, a.Number)
}

// Cancel cancels a job. A job that runs is cancelled at once, and its worker learns of it by a
// notice. Its state is kept until a worker has seen it, and for Keep from then on. The error is an
// *EndedError if the job is done or failed, and ErrUnknown or ErrExpired if
// there is no such job. Cancelling a cancelled job does nothing.
func (s *Store) Cancel(ctx context.Context, id string) error {
	j, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	keys := s.cfg.keys(id, j.Key, j.Priority)
	keys = append(keys, schedule.ScheduleKeys(keys[3])[1:3]...)
	reply, err := s.rdb.Eval(ctx, script.JobCancel, keys, id, s.cfg.Keep.Milliseconds(),
		s.cfg.KeepOpen.Milliseconds()).Text()
	switch {
	case err != nil:
		return check.KeyError("cancel a job of", s.cfg.Name, err)
	case reply == "gone":
		return s.unknown(id, time.Now())
	case reply == "now" || State(reply) == Cancelled:
		return nil
	}
	return &EndedError{id, State(reply)}
}
