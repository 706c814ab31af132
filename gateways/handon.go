package gateways

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/wait"
	"github.com/streamerson/streamerson-go/redisio"
)

// The processes of a service may handle different types, for example during a deploy.
//
// Idea: each process announces its types in a sorted set, scored by Redis's time, and renews them
// every few seconds. If only another process of the group knows the type of a request, the request
// is written again at the end of the stream and settled here. So any reader may get it, within
// about a millisecond. The copy names its group, because other groups have read the original.

const (
	announceEvery = 5 * time.Second
	announceRetry = 20 * time.Millisecond // the first delay after a failure
	announceTTL   = 3 * announceEvery
	announceMost  = 1000 // processes
	announceWait  = time.Second

	knownFor   = time.Second            // how long a positive lookup is cached
	unknownFor = 100 * time.Millisecond // how long a negative lookup is cached

	handedAtOnce = 8   // how often a request is handed on without a pause
	handedMost   = 100 // how often a request is handed on at all
	handedPause  = 20 * time.Millisecond
	handedWait   = time.Second // before another try after a failure
)

// scriptTypes: KEYS set; ARGV member, ttl ms, most members, "announce", "leave" or "look". "look"
// returns the members that have not expired.
const scriptTypes = `
local t = redis.call('TIME')
local now, ttl = t[1] * 1000 + math.floor(t[2] / 1000), tonumber(ARGV[2])
if ARGV[4] == 'look' then
  return redis.call('ZRANGEBYSCORE', KEYS[1], now - ttl, '+inf')
elseif ARGV[4] == 'leave' then
  return redis.call('ZREM', KEYS[1], ARGV[1])
end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ttl)
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[3] - 1)
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`

// announced is a member of the set.
type announced struct {
	Process string   `json:"process"`
	Group   string   `json:"group"`
	Types   []string `json:"types"`
}

// registry announces the types of this process and looks up the types of others.
type registry struct {
	rdb    redis.UniversalClient
	key    string
	group  string
	member []byte

	refused redisio.Patience

	mu     sync.Mutex
	known  map[string]bool
	looked time.Time
	told   bool // that permission for the set is missing
}

// do runs the script. A refusal that may pass, such as that of a credential that is late, is no permanent error.
func (t *registry) do(ctx context.Context, what string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, announceWait)
	defer cancel()
	cmd := t.rdb.Eval(ctx, scriptTypes, []string{t.key}, t.member, announceTTL.Milliseconds(), announceMost, what)
	if err := cmd.Err(); err != nil {
		return nil, t.refused.Look(err)
	}
	t.refused.Worked()
	members, _ := cmd.StringSlice() // others return a number
	return members, nil
}

// announce announces this process's types. It returns an error if a later try may succeed.
func (t *registry) announce(ctx context.Context) error {
	_, err := t.do(ctx, "announce")
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil || !redisio.IsPermanent(err) {
		t.told = false
		return err
	}
	if !t.told {
		t.told = true
		flow.Logger(ctx).
			Warn("service: types can't be announced, so no requests are handed on to it: grant access to the key",
				"key", t.key, "error", err)
	}
	return nil
}

// elsewhere reports whether another process of the group knows a type.
func (t *registry) elsewhere(ctx context.Context, typ string) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh := unknownFor
	if t.known[typ] {
		fresh = knownFor
	}
	if !t.looked.IsZero() && time.Since(t.looked) < fresh {
		return t.known[typ], nil
	}
	members, err := t.do(ctx, "look")
	if err != nil {
		if redisio.IsPermanent(err) {
			return false, nil
		}
		return false, err
	}
	t.known, t.looked = make(map[string]bool), time.Now()
	for _, m := range members {
		var a announced
		if json.Unmarshal([]byte(m), &a) != nil || a.Group != t.group {
			continue
		}
		for _, typ := range a.Types {
			t.known[typ] = true
		}
	}
	return t.known[typ], nil
}

// announce is the loop that announces the types of this process, and removes them from the set at
// its end.
func (s *Service) announce(ctx context.Context, stop <-chan struct{}) error {
	s.onward.Hold()
	defer func() {
		_, _ = s.types.do(context.WithoutCancel(ctx), "leave") // otherwise they expire soon
		if err := s.onward.Release(ctx); err != nil {
			flow.Logger(ctx).Warn("service: cannot disconnect", "key", s.types.key, "error", err)
		}
	}()
	retries, next := wait.Backoff(announceRetry, announceEvery), time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-next.C:
		}
		if err := s.types.announce(ctx); err != nil {
			flow.Logger(ctx).Warn("service: cannot announce types, will retry", "key", s.types.key, "error", err)
			next.Reset(retries.NextBackOff())
			continue
		}
		retries.Reset()
		next.Reset(announceEvery)
	}
}

// foreign reports that a request was handed on for another group. Only that group handles it.
func (s *Service) foreign(r *Request) bool { return r.handed > 0 && r.group != s.cfg.Group }

// handOn passes on a request of a type that this process does not know. It returns false if the
// request must be answered here: no process knows the type, or it was handed on too often. An error
// means that the request is retried.
func (s *Service) handOn(ctx context.Context, r *Request, meta flow.Meta) (bool, error) {
	if s.types == nil || r.handed >= handedMost {
		return false, nil
	}
	known, err := s.types.elsewhere(ctx, r.Type)
	switch {
	case err != nil:
		return true, flow.RetryAfter(handedWait, err)
	case !known:
		return false, nil
	case r.handed >= handedAtOnce && meta.Attempt == 1: // the processes that know the type are busy
		pause := min(handedPause*time.Duration(r.handed-handedAtOnce+1), handedWait)
		return true, flow.RetryAfter(
			pause,
			Errorf(CodeNoHandler, "type %q is served by other processes", r.Type),
		)
	}
	p := &pending{request: *r, format: s.speech.request, replyTo: meta.ReplyTo, until: meta.Deadline}
	p.request.handed, p.request.group = r.handed+1, s.cfg.Group
	p.request.Headers = slices.Clip(r.Headers)
	if err = p.encode(time.Now(), meta.MaybeDuplicate || meta.Attempt > 1); err != nil {
		return false, err
	}
	s.onward.Hold()
	defer func() { _ = s.onward.Release(ctx) }() // all writes have been confirmed
	bound, cancel := context.WithTimeout(ctx, handedWait)
	defer cancel()
	switch err := s.onward.Write(bound, p); {
	case err == nil, errors.Is(err, redisio.ErrNoStream):
		s.stats.handedOn.Add(1)
		return true, nil
	default:
		return true, flow.RetryAfter(handedWait, err)
	}
}

// makeTypes makes the registry of the types, unless it exists.
func (s *Service) makeTypes() {
	if s.types != nil {
		return
	}
	member, _ := json.Marshal(announced{rand.Text()[:16], s.cfg.Group, s.Types()}) // strings can always be encoded
	s.types = &registry{rdb: s.rdb, key: s.topic.Types, group: s.cfg.Group, member: member}
}
