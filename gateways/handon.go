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
	"github.com/streamerson/streamerson-go/redisio"
)

// The processes of a service may know different types, as during a deploy.
//
// Idea: each process announces its types in a sorted set, scored by Redis's time, and again every
// few seconds. A request whose type this process does not know, but another one of its group does,
// is written again at the end of the stream, and settled here. So any reader may get it, within
// about a millisecond. It says in which group it is handed on: other groups have had it.

const (
	announceEvery = 5 * time.Second
	announceTTL   = 3 * announceEvery
	announceMost  = 1000 // processes
	announceWait  = time.Second

	knownFor   = time.Second            // for how long it is believed that another process knows a type
	unknownFor = 100 * time.Millisecond // and that none does

	handedAtOnce = 8   // how often a request is handed on without a pause
	handedMost   = 100 // how often it is handed on at all
	handedPause  = 20 * time.Millisecond
	handedWait   = time.Second // before another try, when it could not be handed on
)

// scriptTypes: KEYS set; ARGV member, ttl ms, most members, "announce", "leave" or "look". When it
// looks it returns the members that are not too old.
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

// registry announces the types of this process, and knows those of others.
type registry struct {
	rdb    redis.UniversalClient
	key    string
	group  string
	member []byte

	mu     sync.Mutex
	known  map[string]bool
	looked time.Time
	told   bool // that the set may not be used
}

func (t *registry) do(ctx context.Context, what string) *redis.Cmd {
	ctx, cancel := context.WithTimeout(ctx, announceWait)
	defer cancel()
	return t.rdb.Eval(ctx, scriptTypes, []string{t.key}, t.member, announceTTL.Milliseconds(), announceMost, what)
}

// announce says what this process knows. It returns an error if that may work another time.
func (t *registry) announce(ctx context.Context) error {
	err := t.do(ctx, "announce").Err()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil || !redisio.IsPermanent(err) {
		t.told = false
		return err
	}
	if !t.told {
		t.told = true
		flow.Logger(ctx).
			Warn("service: its types cannot be announced, and nobody hands requests on to it: give it the right to the key",
				"key", t.key, "error", err)
	}
	return nil
}

// elsewhere reports that another process of the group knows a type.
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
	members, err := t.do(ctx, "look").StringSlice()
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

// announcer is the sink that announces: when it opens, and with each tick. When it closes the
// process leaves the set.
type announcer struct {
	types  *registry
	onward *outbox
}

func (a *announcer) Open(ctx context.Context) error {
	a.onward.hold()
	if err := a.types.announce(ctx); err != nil { // the next tick tries again
		flow.Logger(ctx).Warn("service: its types are not announced yet", "key", a.types.key, "error", err)
	}
	return nil
}

func (a *announcer) Write(ctx context.Context, _ []flow.Message[time.Time]) error {
	return a.types.announce(ctx)
}

func (a *announcer) Close(ctx context.Context) error {
	_ = a.types.do(ctx, "leave").Err() // else it is forgotten soon
	return a.onward.release(ctx)
}

// foreign reports that a request has been handed on for another group, which alone is to handle it.
func (s *Service) foreign(r *Request) bool { return r.handed > 0 && r.group != s.cfg.Group }

// handOn gives a request whose type this process does not know to others. It reports false if it is
// to be answered here: nobody knows the type, or it was handed on too often. An error says that it
// is to be tried again.
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
	case r.handed >= handedAtOnce && meta.Attempt == 1: // whoever knows it is busy
		pause := min(handedPause*time.Duration(r.handed-handedAtOnce+1), handedWait)
		return true, flow.RetryAfter(
			pause,
			Errorf(CodeNoHandler, "requests of type %q are for other processes", r.Type),
		)
	}
	p := &pending{request: *r, format: s.speech.request, replyTo: meta.ReplyTo, until: meta.Deadline}
	p.request.handed, p.request.group = r.handed+1, s.cfg.Group
	p.request.Headers = slices.Clip(r.Headers)
	p.again = p
	if p.out.Fields, err = p.encode(p.space[:0], meta.MaybeDuplicate || meta.Attempt > 1); err != nil {
		return false, err
	}
	s.onward.hold()
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.onward.release(clean) // what was written was answered
	}()
	bound, cancel := context.WithTimeout(ctx, handedWait)
	defer cancel()
	switch err := s.onward.write(bound, &p.letter); {
	case err == nil, errors.Is(err, redisio.ErrNoStream):
		s.stats.handedOn.Add(1)
		return true, nil
	default:
		return true, flow.RetryAfter(handedWait, err)
	}
}

// announces makes what the graph announces of the handlers.
func (s *Service) announces() {
	if s.types != nil {
		return
	}
	member, _ := json.Marshal(announced{rand.Text()[:16], s.cfg.Group, s.Types()}) // strings can always be encoded
	s.types = &registry{rdb: s.rdb, key: s.topic.types, group: s.cfg.Group, member: member}
}
