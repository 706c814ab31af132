package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/plan"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/jobstate"
)

// SubmitOption is an option of Submit.
type SubmitOption func(*submission)

type submission struct {
	jobstate.Submission
	in time.Duration
}

// Priority chooses the priority of a job. Defaults to Config.Default.
func Priority(name string) SubmitOption { return func(s *submission) { s.Priority = name } }

// Key makes a job unique: while a job with the same key has not ended, Submit returns that job. A key
// is any text; its bytes count as payload. A cancelled job has ended, although its handler may still
// take a moment to return.
func Key(key string) SubmitOption { return func(s *submission) { s.Key = key } }

// ID sets the ID of a job: 1 to 100 letters, digits and the characters "-_.:". A second Submit with
// the same ID returns the first job, also after its end, for as long as it is kept. Use it to
// repeat a Submit that has failed. Defaults to a unique ID that cannot be guessed.
func ID(id string) SubmitOption { return func(s *submission) { s.ID = id } }

// maxOwner is the most bytes of an owner.
const maxOwner = 1000

// Owner stores the owner of a job for HTTPConfig.Authorize, in at most 1000 bytes. It is not part
// of the job's JSON.
func Owner(owner string) SubmitOption { return func(s *submission) { s.Owner = owner } }

// At submits a job that begins at the time t or later, by the clock of Redis. If that is past, it is
// queued at once. Workers move jobs that are due: see redisio/schedule.
func At(t time.Time) SubmitOption { return func(s *submission) { s.Due = t } }

// In submits a job that begins after d or later, by the clock of this process.
func In(d time.Duration) SubmitOption { return func(s *submission) { s.in = d } }

// Names of headers of the entries of jobs.
const (
	headerKey   = "job-key"
	headerOwner = "job-owner"
)

// Submit stores a job and returns its ID at once. created is false if the job existed already, because
// of Key or ID. The error is ErrFull if too many jobs wait, and a *TooLargeError for a value of more
// than MaxPayload bytes. After any other error the job may have been stored: repeat the call with the
// same ID.
func (q *Queue[T, R]) Submit(ctx context.Context, v T, opts ...SubmitOption) (id string, created bool, err error) {
	if q.err != nil {
		return "", false, q.err
	}
	s := submission{}
	for _, o := range opts {
		o(&s)
	}
	own := s.ID == ""
	if own {
		s.ID = jobstate.NewID(time.Now())
	}
	if s.Priority == "" {
		s.Priority = q.cfg.Default
	}
	if s.in > 0 {
		s.Due = time.Now().Add(s.in)
	}
	switch {
	case !q.cfg.has(s.Priority):
		return "", false, fmt.Errorf("%w: %.60q, the queue has %v", ErrPriority, s.Priority, q.cfg.names())
	case !jobstate.CheckID(s.ID):
		return "", false, fmt.Errorf("%w: %.120q", ErrID, s.ID)
	case len(s.Owner) > maxOwner:
		return "", false, &TooLargeError{What: "owner", Size: len(s.Owner), Limit: maxOwner}
	}
	body, err := q.codec.Append(nil, v)
	if err != nil {
		return "", false, fmt.Errorf("jobs: encode the value: %w", err)
	}
	if n := len(body) + len(s.Key); n > q.cfg.MaxPayload {
		return "", false, &TooLargeError{What: "payload", Size: n, Limit: q.cfg.MaxPayload}
	}
	env := redisio.Envelope{ID: s.ID, ContentType: q.codec.ContentType()}
	headers := plan.Passed(ctx, nil)
	if s.Key != "" {
		headers = append(headers, flow.Header{Name: headerKey, Value: s.Key})
	}
	if s.Owner != "" {
		headers = append(headers, flow.Header{Name: headerOwner, Value: s.Owner})
	}
	wire.PutHeaders(&env, headers)
	if s.Fields, _, err = wire.Native.Encode(nil, nil, &env, body); err != nil {
		return "", false, err
	}
	id, created, err = q.store.Submit(ctx, s.Submission)
	// If the client has repeated the command because the first reply was lost, the ID is known already.
	return id, created || own && id == s.ID, err
}

// Sink submits each message as a job. options, if not nil, returns the options of each. The ID of a
// job is made of the stage's name and the ID of the message. So a message that is delivered twice
// is one job, as long as the job is kept. A message that cannot be a job, because it is too large
// or its options are wrong, is rejected. Together with source/cron it makes recurring jobs; give
// them a Key if a job must not begin while the last one still waits or runs.
func (q *Queue[T, R]) Sink(options func(T) []SubmitOption, opts ...flow.StageOption) flow.Sink[T] {
	own := []flow.StageOption{flow.InvalidError(q.err)}
	return flow.NewSink("submit", func() flow.Writer[T] {
		return flow.WriterFunc[T](func(ctx context.Context, chunk []flow.Message[T]) error {
			errs := make([]error, len(chunk))
			failed := false
			for i, m := range chunk {
				var with []SubmitOption
				if meta := m.Meta(); meta.ID != "" || meta.MessageID != "" {
					sum := sha256.Sum256(
						[]byte(flow.StageName(ctx) + "\n" + m.Origin() + "\n" + meta.ID + "\n" + meta.MessageID),
					)
					with = append(with, ID(hex.EncodeToString(sum[:16])))
				}
				if options != nil {
					with = append(with, options(m.Value)...)
				}
				_, _, err := q.Submit(ctx, m.Value, with...)
				if hopeless(err) {
					err = flow.Reject(err)
				}
				errs[i], failed = err, failed || err != nil
			}
			if !failed {
				return nil
			}
			return &flow.WriteError{Errs: errs}
		})
	}, append(own, opts...)...)
}

// hopeless reports whether a Submit fails each time.
func hopeless(err error) bool {
	var large *TooLargeError
	return errors.As(err, &large) || errors.Is(err, ErrID) || errors.Is(err, ErrPriority)
}
