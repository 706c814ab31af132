package gather

import (
	"context"
	"errors"
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

// Take returns the outcome of a gather that is over. For one that is still open, it returns nil and
// what is left of its time. The gather is then kept for Keep, so another process may take it again.
// The error is ErrUnknown if it does not exist.
func (s *Store) Take(ctx context.Context, id string) (o *Outcome, left time.Duration, err error) {
	code := int64(0)
	err = s.eval(ctx, "take gather", id, "take", []any{s.cfg.Keep.Milliseconds()}, func(reply any) (err error) {
		list, ok := reply.([]any)
		if !ok || len(list) != 2 {
			return fmt.Errorf("a reply of type %T", reply)
		}
		code, _ = list[0].(int64)
		switch v := list[1].(type) {
		case int64:
			left = milliseconds(v)
		case []any:
			o, err = outcomeOf(v)
		case map[any]any: // RESP3
			o, err = outcomeOf(flat(v))
		}
		return err
	})
	if err == nil {
		switch {
		case code == script.GatherUnknown:
			err = ErrUnknown
		case code == script.GatherOver && o == nil:
			err = fmt.Errorf("gather: take gather %s: a reply without its fields", id)
		}
	}
	return o, left, err
}

func flat(m map[any]any) []any {
	list := make([]any, 0, 2*len(m))
	for k, v := range m {
		list = append(list, k, v)
	}
	return list
}

func outcomeOf(fields []any) (*Outcome, error) {
	o := &Outcome{}
	results := make(map[int]string)
	for i := 0; i+1 < len(fields); i += 2 {
		name, _ := fields[i].(string)
		value, _ := fields[i+1].(string)
		n, _ := strconv.Atoi(value)
		switch name {
		case "n":
			if n < 1 || n > MaxParts {
				return nil, fmt.Errorf("gather: the gather has %q parts", value)
			}
			o.Parts = make([]Part, n)
		case "need":
			o.Need = n
		case "done":
			o.Done = n
		case "failed":
			o.Failed = n
		case "late":
			o.Late = n
		case "closed":
			o.How = How(value)
		default:
			if len(name) > 1 && name[0] == 'p' {
				if part, err := strconv.Atoi(name[1:]); err == nil {
					results[part] = value
				}
			}
		}
	}
	for part, value := range results {
		if part >= 0 && part < len(o.Parts) && value != "" {
			o.Parts[part] = Part{Came: true, OK: value[0] == '1', Data: []byte(value[1:])}
		}
	}
	return o, nil
}

// State is whether a gather is over.
type State uint8

const (
	Open    State = iota
	Over          // closed
	Unknown       // there is no such gather
)

// States returns the states of gathers, by one round trip for many. An open gather whose time is
// over is Open.
func (s *Store) States(ctx context.Context, ids ...string) (states []State, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	states = make([]State, len(ids))
	err = fault.WaitFor(ctx, max(s.cfg.Patience, 0), func() error {
		pipe := s.rdb.Pipeline()
		closed := make([]*redis.StringCmd, len(ids))
		for i, id := range ids {
			closed[i] = pipe.HGet(ctx, s.cfg.Key(id), "closed")
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
		for i, cmd := range closed {
			switch text, err := cmd.Result(); {
			case errors.Is(err, redis.Nil):
				states[i] = Unknown
			case err != nil:
				return err
			case text == "":
				states[i] = Open
			default:
				states[i] = Over
			}
		}
		return nil
	})
	return states, check.KeyError("look at gathers of", s.cfg.Name, err)
}
