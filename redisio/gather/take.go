package gather

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// How says why a gather has closed.
type How string

const (
	Done      How = "done"      // as many parts as needed have succeeded
	Failed    How = "failed"    // too many have failed
	Expired   How = "expired"   // its time was over
	Cancelled How = "cancelled" // by Cancel
)

// Outcome is what has come of a gather.
type Outcome struct {
	How    How
	Need   int
	Parts  []Part // all of them, in order
	Done   int    // how many have succeeded
	Failed int
	Late   int // results that came after it had closed, and were dropped
}

// Part is the result of one part.
type Part struct {
	Came bool   // it has a result
	OK   bool   // it has succeeded
	Data []byte // the result, or the text of the failure
}

// takeMost is how many results one command reads.
const takeMost = 250

// Take returns the outcome of a gather that is over. For one that is still open, it returns nil and
// what is left of its time. The gather is then kept for Keep, so another process may take it again.
// It reads the results in commands of at most 250 each; all of them are in memory at the end. The
// error is ErrUnknown if the gather does not exist.
func (s *Store) Take(ctx context.Context, id string) (o *Outcome, left time.Duration, err error) {
	n, err := s.call(ctx, "take gather", id, "end")
	if err == nil && n[0] == script.GatherUnknown {
		err = ErrUnknown
	}
	if err != nil || n[0] == script.GatherDone {
		return nil, milliseconds(n[1]), err
	}
	o = &Outcome{}
	for o.Parts == nil || len(o.Parts) < cap(o.Parts) {
		if err := s.takeSome(ctx, id, o); err != nil {
			return nil, 0, err
		}
	}
	return o, 0, s.keep(ctx, id)
}

// takeSome reads the counts of a closed gather, and the next results.
func (s *Store) takeSome(ctx context.Context, id string, o *Outcome) error {
	fields := []string{"closed", "n", "need", "done", "failed", "late"}
	head, from := len(fields), len(o.Parts)
	for i := range takeMost {
		fields = append(fields, "p"+strconv.Itoa(from+i))
	}
	key := s.cfg.Key(id)
	var values []any
	err := fault.WaitFor(ctx, max(s.cfg.Patience, 0), func() (err error) {
		values, err = s.rdb.HMGet(ctx, key, fields...).Result()
		return err
	})
	if err != nil {
		return check.KeyError("take gather", key, err)
	}
	texts := make([]string, len(fields))
	for i, v := range values {
		texts[i], _ = v.(string)
	}
	parts, _ := strconv.Atoi(texts[1])
	switch {
	case values[0] == nil: // it has expired since
		return ErrUnknown
	case parts < 1 || parts > MaxParts:
		return fmt.Errorf("gather: the gather has %q parts", texts[1])
	case o.Parts == nil:
		o.Parts = make([]Part, 0, parts)
	}
	o.How = How(cmp.Or(texts[0], string(Expired)))
	for i, n := range []*int{&o.Need, &o.Done, &o.Failed, &o.Late} {
		*n, _ = strconv.Atoi(texts[2+i])
	}
	for _, text := range texts[head:][:min(takeMost, cap(o.Parts)-from)] {
		part := Part{}
		if text != "" {
			part = Part{Came: true, OK: text[0] == '1', Data: []byte(text[1:])}
		}
		o.Parts = append(o.Parts, part)
	}
	return nil
}

// keep lets a gather that was taken expire.
func (s *Store) keep(ctx context.Context, id string) error {
	key := s.cfg.Key(id)
	err := fault.WaitFor(ctx, max(s.cfg.Patience, 0), func() error {
		return s.rdb.PExpire(ctx, key, s.cfg.Keep).Err()
	})
	return check.KeyError("keep gather", key, err)
}

// State is whether a gather is over.
type State uint8

const (
	Open    State = iota
	Over          // closed
	Unknown       // there is no such gather
	Sending       // open, but not all of its parts were sent, or a failover has lost some
)

// States returns the states of gathers, by one round trip for many. After the end of its time, a
// gather is Open or Sending until it is taken.
func (s *Store) States(ctx context.Context, ids ...string) (states []State, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	states = make([]State, len(ids))
	err = fault.WaitFor(ctx, max(s.cfg.Patience, 0), func() error {
		pipe := s.rdb.Pipeline()
		replies := make([]*redis.SliceCmd, len(ids))
		for i, id := range ids {
			replies[i] = pipe.HMGet(ctx, s.cfg.Key(id), "closed", "sent", "n")
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
		for i, cmd := range replies {
			v, err := cmd.Result()
			switch {
			case err != nil:
				return err
			case v[0] == nil:
				states[i] = Unknown
			case v[0] != "":
				states[i] = Over
			case v[1] != v[2]:
				states[i] = Sending
			default:
				states[i] = Open
			}
		}
		return nil
	})
	return states, check.KeyError("look at gathers of", s.cfg.Name, err)
}
