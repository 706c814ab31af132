package gather

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Terms are what decides how a gather ends. They are fixed when it is opened.
type Terms struct {
	Parts int // at least 1, at most MaxParts
	// Need is how many parts must succeed. The gather closes as soon as so many have. Defaults to all.
	Need int
	// Partial keeps the gather open after so many failures that Need cannot be reached, until all
	// parts have come or its time is over.
	Partial bool
	// Within is how long the gather is open, from its opening, by the clock of the server.
	Within time.Duration
	// MaxBytes bounds the results of the parts together. A result that does not fit counts as a
	// failure. Defaults to 16 MiB, at most 256 MiB.
	MaxBytes int
}

const (
	defaultBytes = 16 << 20
	mostBytes    = 256 << 20
)

func (t Terms) withDefaults() Terms {
	if t.Need <= 0 || t.Need > t.Parts {
		t.Need = t.Parts
	}
	if t.MaxBytes <= 0 {
		t.MaxBytes = defaultBytes
	}
	t.MaxBytes = min(t.MaxBytes, mostBytes)
	t.Within = min(max(t.Within, time.Millisecond), fault.MaxDelay)
	return t
}

// Status is what Open found.
type Status struct {
	Over bool          // the gather is closed, or its time is over: Take returns what has come
	Sent int           // how many parts were sent
	Left time.Duration // of its time
}

// Open opens a gather, unless it is there. Then its terms stay as they are.
func (s *Store) Open(ctx context.Context, id string, t Terms) (Status, error) {
	if t.Parts < 1 || t.Parts > MaxParts {
		return Status{}, &TooLargeError{What: "the number of parts", Size: t.Parts, Limit: MaxParts}
	}
	t = t.withDefaults()
	partial := 0
	if t.Partial {
		partial = 1
	}
	n, err := s.call(ctx, "open gather", id, "open", t.Parts, t.Need, partial, t.Within.Milliseconds(),
		s.cfg.TTL.Milliseconds(), t.MaxBytes)
	if err != nil {
		return Status{}, err
	}
	return Status{Over: n[0] == 1, Sent: int(n[1]), Left: milliseconds(n[2])}, nil
}

// Send appends parts of a gather to the stream, beginning with part number from, unless they were
// sent before. It returns how many parts have been sent by now; continue with that number. trace is
// the traceparent of the origin, "" without one. The errors are ErrUnknown, ErrOver and ErrFull:
// then nothing was appended. Send at most some hundred parts, or a MiB, at once.
func (s *Store) Send(ctx context.Context, id string, from int, trace string, parts ...[]byte) (sent int, err error) {
	args := make([]any, 0, 4+len(parts))
	args = append(args, from, s.cfg.MaxQueued, (queueTTL + s.cfg.TTL).Milliseconds(), trace)
	for _, p := range parts {
		args = append(args, p)
	}
	n, err := s.call(ctx, "send parts of gather", id, "send", args...)
	if err != nil {
		return 0, err
	}
	switch n[0] {
	case script.GatherUnknown:
		return 0, ErrUnknown
	case script.GatherOver:
		return int(n[1]), ErrOver
	case script.GatherFull:
		return int(n[1]), ErrFull
	case script.GatherNoPart:
		return int(n[1]), noPart(id, from+len(parts)-1)
	}
	return int(n[1]), nil
}

// queueTTL is how long the stream of parts is kept after the time of its gathers, besides TTL.
const queueTTL = 24 * time.Hour

// Begin reports whether a part is still to be done. wanted is false if it has its result. left is
// what is left of the gather's time. The errors are ErrUnknown, and ErrOver for a part that comes
// late: it is counted.
func (s *Store) Begin(ctx context.Context, id string, part int) (wanted bool, left time.Duration, err error) {
	n, err := s.call(ctx, "begin a part of gather", id, "begin", part)
	if err != nil {
		return false, 0, err
	}
	err = verdict(n[0])
	return err == nil && n[0] == script.GatherDone, milliseconds(n[1]), err
}

// Receipt is what Put did with a result.
type Receipt uint8

const (
	Counted   Receipt = iota // the result is kept
	Duplicate                // the part had its result before
	Refused                  // the results are too large together: the part counts as failed
)

// Put gives the result of a part, or the text of its failure if ok is false, of which 1 KiB is kept.
// It counts once. The errors are ErrUnknown, and ErrOver for a result that comes late: it is dropped
// and counted.
func (s *Store) Put(ctx context.Context, id string, part int, ok bool, data []byte) (Receipt, error) {
	if part < 0 {
		return 0, noPart(id, part)
	}
	success := 0
	if ok {
		success = 1
	}
	n, err := s.call(ctx, "put a result of gather", id, "put", part, success, data, errTooMuch.Error())
	if err != nil {
		return 0, err
	}
	switch n[0] {
	case script.GatherHas:
		return Duplicate, nil
	case script.GatherTooMuch:
		return Refused, nil
	case script.GatherNoPart:
		return 0, noPart(id, part)
	}
	return Counted, verdict(n[0])
}

func noPart(id string, part int) error {
	return fmt.Errorf("gather: gather %s has no part %d", id, part)
}

var errTooMuch = errors.New("gather: the results of all parts together are too large")

// Cancel closes a gather, so that its parts are dropped. A gather that is over stays as it is.
func (s *Store) Cancel(ctx context.Context, id string) error {
	n, err := s.call(ctx, "cancel gather", id, "cancel")
	if err != nil || n[0] == script.GatherOver {
		return err
	}
	return verdict(n[0])
}

func verdict(code int64) error {
	switch code {
	case script.GatherUnknown:
		return ErrUnknown
	case script.GatherOver:
		return ErrOver
	}
	return nil
}

// maxID bounds the names of keys.
const maxID = 1000

// call runs the script, which returns one or two numbers. It retries for Patience.
func (s *Store) call(ctx context.Context, op, id, name string, args ...any) (n [3]int64, err error) {
	if id == "" || len(id) > maxID {
		return n, &TooLargeError{What: "the ID of a gather, which is not empty", Size: len(id), Limit: maxID}
	}
	key := s.cfg.Key(id)
	all := append([]any{name, id}, args...)
	err = fault.WaitFor(ctx, max(s.cfg.Patience, 0), func() error {
		reply, err := s.rdb.Eval(ctx, script.Gather, []string{key, s.cfg.Parts(), s.cfg.Notices()}, all...).Int64Slice()
		copy(n[:], reply)
		return err
	})
	return n, check.KeyError(op, key, err)
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// PartID returns the message ID of a part.
func PartID(id string, part int) string { return id + "." + strconv.Itoa(part) }

// ParsePartID splits a message ID of a part.
func ParsePartID(s string) (id string, part int, ok bool) {
	at := strings.LastIndexByte(s, '.')
	if at < 1 {
		return "", 0, false
	}
	part, err := strconv.Atoi(s[at+1:])
	return s[:at], part, err == nil && part >= 0 && part < MaxParts
}
