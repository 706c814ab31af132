package transcript

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

var (
	claim      = redis.NewScript(script.TranscriptClaim)
	appendEach = redis.NewScript(script.TranscriptAppend)
	post       = redis.NewScript(script.TranscriptPost)
)

// Claim is the right to write a reply, until a later claim fences it. Only one goroutine at a time
// may use it.
type Claim struct {
	Attempt int64
	Next    int64  // the number of the next entry
	Values  int64  // how many values the reply had, since the last reset
	Last    []byte // the last of them
	Base    redisio.ID

	token  string
	unsure []Op // of an append with an unknown outcome
}

// Claim begins an attempt to write a reply with values of a content type. It fences all earlier
// attempts. It returns ErrUnknown, ErrForeign, an *EndedError, or ErrExhausted after MaxAttempts;
// then the reply has failed.
func (s *Store) Claim(ctx context.Context, id, contentType string) (c Claim, err error) {
	if err := checkName(id); err != nil {
		return c, err
	}
	end := End{State: Failed, Code: "interrupted", Message: "the replying processes are gone"}
	token := newToken()
	reply, err := s.run(ctx, "claim", id, s.cfg.Patience, claim, s.pair(id), contentType, s.cfg.MaxAttempts,
		end.text(), token)
	if err != nil {
		return c, err
	}
	p := partsOf(reply)
	if p.text(0) != string(Open) {
		return c, refusal(p.text(0))
	}
	c = Claim{Attempt: p.number(1), Base: entryID(p.text(2), 0), Next: p.number(3) + 1, Values: p.number(4),
		token: token}
	if c.Values > 0 {
		c.Last = []byte(p.text(5))
	}
	return c, nil
}

// Op is an entry to append: see Value, Reset and Ending.
type Op struct {
	kind string
	data []byte
}

// Value is an entry with a value.
func Value(data []byte) Op { return Op{"", data} }

// Reset tells readers that the values before are void. They are deleted.
func Reset() Op { return Op{"reset", nil} }

// Ending is the last entry. Nothing can follow.
func Ending(e End) Op { return Op{"end:" + string(e.State), []byte(e.text())} }

const (
	mostOps      = 1000    // of a script
	mostOpsBytes = 1 << 20 // of a script, unless one entry is larger
)

// Append appends entries to a claimed reply. It repeats itself while Redis is unavailable, until ctx
// is done. Then the outcome is unknown: the same entries can be appended again, and are written once;
// other entries follow those that were written. Without entries Append renews the time to live. Its
// errors are ErrUnknown, ErrFenced, ErrBehind, *EndedError and *TooLargeError.
func (s *Store) Append(ctx context.Context, id string, c *Claim, ops ...Op) error {
	for i := range ops {
		if n := len(ops[i].data); ops[i].kind == "" && n > s.cfg.MaxPart {
			return &TooLargeError{n, s.cfg.MaxPart}
		}
	}
	if len(c.unsure) > 0 && !slices.EqualFunc(c.unsure, ops, Op.equal) {
		last, err := s.appendSome(ctx, id, c, c.Next, nil)
		if err != nil {
			return err
		}
		c.Next, c.unsure = last+1, nil
	}
	next := c.Next
	for first, rest := true, ops; first || len(rest) > 0; first = false {
		n, size := 0, 0
		for n < min(len(rest), mostOps) && (n == 0 || size+len(rest[n].data) <= mostOpsBytes) {
			size += len(rest[n].data)
			n++
		}
		if _, err := s.appendSome(ctx, id, c, next, rest[:n]); err != nil {
			c.unsure = ops
			return err
		}
		next, rest = next+int64(n), rest[n:]
	}
	c.Next, c.unsure = next, nil
	return nil
}

// appendSome appends entries by one script. It returns the number of the last entry.
func (s *Store) appendSome(ctx context.Context, id string, c *Claim, next int64, ops []Op) (last int64, err error) {
	args := append(make([]any, 0, 5+2*len(ops)), c.token, c.Attempt, next, s.cfg.MaxLen, s.cfg.MaxBytes)
	for i := range ops {
		args = append(args, ops[i].kind, ops[i].data)
	}
	reply, err := s.run(ctx, "append to", id, forever, appendEach, s.pair(id), args...)
	if err != nil {
		return 0, err
	}
	p := partsOf(reply)
	if p.text(0) != string(Open) {
		return 0, refusal(p.text(0))
	}
	return p.number(1), nil
}

func (o Op) equal(other Op) bool { return o.kind == other.kind && bytes.Equal(o.data, other.data) }

// newToken returns a random text of 16 bytes.
func newToken() string { return rand.Text()[:16] }

const forever = 100 * 365 * 24 * time.Hour

// Post is an append to a log by anybody.
type Post struct {
	Values      [][]byte
	ContentType string // must be that of the log, unless there are no values
	Close       bool   // ends the log
	// Seq must be greater than that of the last post with one, compared by bytes. "" is not checked.
	Seq string
	// Producer names a writer. The writer numbers its posts from 0 in each epoch, so that repeated
	// ones are noticed. A log knows the last 100 producers. Defaults to none.
	Producer   string
	Epoch, Num int64
}

// Verdict is the outcome of a post.
type Verdict string

const (
	Accepted  Verdict = "open"   // appended
	Again     Verdict = "again"  // it was appended before
	Closed    Verdict = "closed" // the log has ended
	WrongType Verdict = "type"   // another content type
	SeqBehind Verdict = "seq"    // Seq is not greater
	Stale     Verdict = "stale"  // the producer has a later epoch
	BadEpoch  Verdict = "epoch"  // a new epoch must begin with number 0
	Gap       Verdict = "gap"    // posts of the producer before this one are missing
)

// Posted is the outcome of a post, and the state of the log after it.
type Posted struct {
	Verdict    Verdict
	Last       redisio.ID
	State      State
	Epoch, Num int64 // the producer's epoch, and its last number in it; -1 if unknown
}

// Post appends to a log, once however often it is repeated while Redis is unavailable. It returns
// ErrUnknown, ErrForeign for a reply, and *TooLargeError.
func (s *Store) Post(ctx context.Context, id string, p Post) (out Posted, err error) {
	if err := checkName(id); err != nil {
		return out, err
	}
	if err := s.checkSizes(p.Values); err != nil {
		return out, err
	}
	closes := ""
	if p.Close {
		closes = "1"
	}
	args := []any{p.ContentType, p.Seq, p.Producer, p.Epoch, p.Num, closes, End{State: Done}.text(), s.cfg.MaxLen,
		s.cfg.MaxBytes, mostProducers, newToken()}
	for _, v := range p.Values {
		args = append(args, v)
	}
	reply, err := s.run(ctx, "append to", id, s.cfg.Patience, post, s.pair(id), args...)
	if err != nil {
		return out, err
	}
	a := partsOf(reply)
	if status := a.text(0); status == "missing" || status == "foreign" {
		return out, refusal(status)
	}
	return Posted{Verdict: Verdict(a.text(0)), Last: entryID(a.text(1), a.number(2)), State: State(a.text(3)),
		Epoch: a.number(4), Num: a.number(5)}, nil
}

// mostValues is how many values a script writes at once: Lua passes at most 8000.
const mostValues = 5000

// checkSizes reports a value that is too large, or too many values.
func (s *Store) checkSizes(values [][]byte) error {
	for _, v := range values {
		if len(v) > s.cfg.MaxPart {
			return &TooLargeError{len(v), s.cfg.MaxPart}
		}
	}
	if len(values) > mostValues {
		return &TooManyError{len(values)}
	}
	return nil
}

// TooManyError reports too many values in one call. None was written.
type TooManyError struct{ Values int }

func (e *TooManyError) Error() string {
	return "transcript: " + strconv.Itoa(e.Values) + " values at once: send at most " + strconv.Itoa(mostValues)
}

func formatMs(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
