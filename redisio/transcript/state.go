package transcript

import (
	"context"
	"encoding/json"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// State is the state of a transcript.
type State string

const (
	Open    State = "open"    // more entries may follow
	Done    State = "done"    // complete
	Failed  State = "failed"  // ended by its writer with an error
	Stopped State = "stopped" // ended from outside
)

// Kind is how a transcript is written.
type Kind string

const (
	Reply Kind = "reply" // by the process that claims it
	Log   Kind = "log"   // by Post
)

// End is the last entry of a transcript.
type End struct {
	State State `json:"state"`
	// Code and Message tell why it failed.
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

func (e End) text() string {
	b, err := json.Marshal(e)
	if err != nil { // can't happen: three strings
		panic(err)
	}
	return string(b)
}

// Info describes a transcript.
type Info struct {
	ID          string // only set by Recent
	Kind        Kind
	State       State
	End         End    // zero while it is open
	ContentType string // of the values
	Attempt     int    // how many writers have claimed it
	Created     time.Time
	// Base is the ID before the first entry, and Last is the ID of the last value or reset.
	Base, Last redisio.ID
	First      redisio.ID    // of the oldest entry that is kept, or of the next one
	Values     int64         // since the last reset
	Bytes      int64         // of the entries that are kept
	TTL        time.Duration // after a write; after its end too for a log
	Expires    time.Time     // zero unless the transcript expires at a fixed time
}

// Spec is what Create makes. The zero value is an empty reply.
type Spec struct {
	Kind        Kind   // defaults to Reply
	ContentType string // of the values; a claim may change that of a reply
	// TTL is the life after a write, and for a log after a read and after the end. Defaults to that
	// of the Config.
	TTL time.Duration
	// Expires is the end of life at a fixed time instead. Defaults to zero: TTL applies.
	Expires time.Time
	Values  [][]byte // the first values
	Closed  bool     // the values are all there is
}

var (
	create = redis.NewScript(script.TranscriptCreate)
	touch  = redis.NewScript(script.TranscriptTouch)
	remove = redis.NewScript(script.TranscriptDelete)
	finish = redis.NewScript(script.TranscriptEnd)
)

// Create creates a transcript unless one of this name exists. It returns the state of the created
// or existing one: its Kind, State, ContentType, Base, Last, TTL and Expires. Replies are listed by
// Recent.
func (s *Store) Create(ctx context.Context, id string, spec Spec) (info Info, created bool, err error) {
	if err := checkName(id); err != nil {
		return info, false, err
	}
	if err := s.checkSizes(spec.Values); err != nil {
		return info, false, err
	}
	keys, kind := s.pair(id), Log
	if spec.Kind != Log {
		keys, kind = append(keys, s.indexKey()), Reply
	}
	ttl, keep, till, end := s.cfg.TTL, s.cfg.Keep, "", ""
	if spec.TTL > 0 {
		ttl = min(spec.TTL, mostLife)
	}
	if kind == Log {
		keep = ttl
	}
	if !spec.Expires.IsZero() {
		till = formatMs(spec.Expires)
	}
	if spec.Closed {
		end = End{State: Done}.text()
	}
	args := []any{string(kind), spec.ContentType, ttl.Milliseconds(), keep.Milliseconds(), till,
		indexAge.Milliseconds(), indexLen, id, end, newToken()}
	for _, v := range spec.Values {
		args = append(args, v)
	}
	reply, err := s.run(ctx, "create", id, s.cfg.Patience, create, keys, args...)
	if err != nil {
		return info, false, err
	}
	p := partsOf(reply)
	if p.text(0) == "late" {
		return info, false, ErrLate
	}
	base := p.text(1)
	info = Info{Base: entryID(base, 0), Last: entryID(base, p.number(2)), Kind: Kind(p.text(3)),
		ContentType: p.text(4), TTL: time.Duration(p.number(5)) * time.Millisecond, State: State(p.text(7))}
	if ms := p.number(6); ms > 0 {
		info.Expires = time.UnixMilli(ms)
	}
	return info, p.text(0) == "new", nil
}

var infoFields = []string{"base", "n", "m", "first", "state", "attempt", "kind", "ct", "ttl", "till", "created",
	"end", "bytes"}

// Info returns the state of a transcript, or ErrUnknown.
func (s *Store) Info(ctx context.Context, id string) (info Info, err error) {
	if err := checkName(id); err != nil {
		return info, err
	}
	var values []any
	err = fault.WaitFor(ctx, max(s.cfg.Patience, 0), func() (err error) {
		values, err = s.rdb.HMGet(ctx, s.stateKey(id), infoFields...).Result()
		return err
	})
	if err != nil {
		return info, check.KeyError("read", s.StreamKey(id), err)
	}
	return infoOf(values)
}

func infoOf(values []any) (info Info, err error) {
	p := parts(values)
	base := p.text(0)
	if base == "" {
		return info, ErrUnknown
	}
	info = Info{
		Base: entryID(base, 0), Last: entryID(base, p.number(1)), Values: p.number(2),
		First: entryID(base, p.number(3)), State: State(p.text(4)), Attempt: int(p.number(5)),
		Kind: Kind(p.text(6)), ContentType: p.text(7), TTL: time.Duration(p.number(8)) * time.Millisecond,
		Created: time.UnixMilli(p.number(10)), Bytes: p.number(12),
	}
	if ms := p.number(9); ms > 0 {
		info.Expires = time.UnixMilli(ms)
	}
	if text := p.text(11); text != "" {
		_ = json.Unmarshal([]byte(text), &info.End) // written by End.text
	}
	return info, nil
}

// Finish ends an open transcript from outside, as a stop button does. Its writer learns it at the
// next append, and by the stream of StopsKey. Finish returns the state before, or ErrUnknown. It
// does not change a transcript that has ended.
func (s *Store) Finish(ctx context.Context, id string, end End) (was State, err error) {
	if err := checkName(id); err != nil {
		return "", err
	}
	keys := append(s.pair(id), s.StopsKey())
	reply, err := s.run(ctx, "end", id, s.cfg.Patience, finish, keys, string(end.State), end.text(), id)
	if err != nil {
		return "", err
	}
	if text, _ := reply.(string); text != "missing" {
		return State(text), nil
	}
	return "", ErrUnknown
}

// Delete deletes a transcript and notifies its writer. It returns ErrUnknown if there is no such
// transcript.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := checkName(id); err != nil {
		return err
	}
	keys := append(s.pair(id), s.StopsKey(), s.indexKey())
	reply, err := s.run(ctx, "delete", id, s.cfg.Patience, remove, keys, id)
	if n, _ := reply.(int64); err == nil && n == 0 {
		return ErrUnknown
	}
	return err
}

// Touch renews the life of a log that is read.
func (s *Store) Touch(ctx context.Context, id string) error {
	_, err := s.run(ctx, "renew", id, s.cfg.Patience, touch, s.pair(id))
	return err
}

// Recent describes the newest replies, at most n, the newest first. It knows the last 1,000 of a day
// that have not expired.
func (s *Store) Recent(ctx context.Context, n int) ([]Info, error) {
	if n <= 0 {
		return nil, nil
	}
	ids, err := s.rdb.ZRevRange(ctx, s.indexKey(), 0, int64(n)-1).Result()
	if err != nil || len(ids) == 0 {
		return nil, check.KeyError("read", s.indexKey(), err)
	}
	found, err := s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, id := range ids {
			pipe.HMGet(ctx, s.stateKey(id), infoFields...)
		}
		return nil
	})
	if err != nil {
		return nil, check.KeyError("read", s.indexKey(), err)
	}
	list := make([]Info, 0, len(ids))
	for i, id := range ids {
		info, err := infoOf(found[i].(*redis.SliceCmd).Val())
		if err != nil { // expired
			continue
		}
		info.ID = id
		list = append(list, info)
	}
	return list, nil
}
