package dedupe

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Config configures a Store. Prefix is required; the zero value of any other field is its default.
type Config struct {
	// Prefix is the beginning of its keys, before a colon. Each consumer that handles messages once
	// needs its own.
	Prefix string
	// Window is how long a key is remembered as done. Defaults to 24h.
	Window time.Duration
	// Hold is the maximum duration of a claim. Choose it longer than the handling of a message,
	// because a duplicate waits that long for a process that died. Defaults to 10m.
	Hold time.Duration
}

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c Config) Validate() error {
	m := redisio.MistakesOf("dedupe.Config")
	m.Empty("Prefix", c.Prefix, "name the consumer that handles messages once, as in orders:billing")
	m.Is(c.Window < 0 || c.Window > 0 && c.Window < time.Millisecond, "Window", c.Window,
		"choose 1ms or more, or leave it 0 for 24h")
	m.Is(c.Hold < 0 || c.Hold > 0 && c.Hold < time.Millisecond, "Hold", c.Hold,
		"choose 1ms or more, or leave it 0 for 10m")
	return m.Err()
}

// Store remembers in Redis which keys are done, and which process works on which key.
// operators.Dedupe uses it if several processes share the work, or if keys must survive a restart.
// Each key is one Redis key with an expiry, so it needs no cleanup and works on a cluster. Keys
// longer than 200 bytes are hashed.
//
// All of its commands may be repeated, so it uses the caller's client unchanged, and has nothing to
// close. A server that loses writes, for example in a failover, forgets keys. Then their work may
// be repeated.
type Store struct {
	rdb redis.UniversalClient // the caller's: never closed
	cfg Config
}

// New checks the configuration. It does no I/O.
func New(rdb redis.UniversalClient, cfg Config) (*Store, error) {
	if err := errors.Join(check.NeedClient(rdb, "dedupe.New"), cfg.Validate()); err != nil {
		return nil, err
	}
	cfg.Window = cmp.Or(cfg.Window, 24*time.Hour)
	cfg.Hold = cmp.Or(cfg.Hold, 10*time.Minute)
	return &Store{rdb: rdb, cfg: cfg}, nil
}

// dedupeDone is the value of a key that is done. The value of a claim is its token, which contains
// a newline.
const dedupeDone = "done"

// scriptTakeClaim: ARGV the claim that was found, the new claim, ms. Replaces the claim if it has
// not changed or is gone.
const scriptTakeClaim = `
local v = redis.call('GET', KEYS[1])
if v and v ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`

// scriptDone: ARGV token, ms. Marks a key as done if it is not, and returns whether the claim still
// existed.
const scriptDone = `
local v = redis.call('GET', KEYS[1])
if v == 'done' then return 0 end
redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2])
if v == ARGV[1] then return 1 end
return 0`

// scriptFree: ARGV token. Deletes a claim if it has this token.
const scriptFree = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

func (s *Store) key(key string) string {
	if len(key) > 200 {
		sum := sha256.Sum256([]byte(key))
		key = "sha256:" + hex.EncodeToString(sum[:])
	}
	return s.cfg.Prefix + ":" + key
}

// Claim claims keys, each with its own token. The result of a key is 0 if it is claimed now, and
// negative if it is done. Otherwise it is the longest time for which another owner has it. A token
// is an owner, a newline, and a unique part. A claim of the same owner is replaced, unless the
// owner is empty.
func (s *Store) Claim(ctx context.Context, keys, tokens []string) ([]time.Duration, error) {
	hold := s.cfg.Hold.Milliseconds()
	pipe := s.rdb.Pipeline()
	claims := make([]*redis.Cmd, len(keys))
	for i, key := range keys {
		claims[i] = pipe.Do(ctx, "set", s.key(key), claimValue(tokens[i]), "px", hold, "nx", "get")
	}
	_, _ = pipe.Exec(ctx) // each has an error of its own
	busy := make([]time.Duration, len(keys))
	var taken []int // by another owner
	was := make([]string, len(keys))
	for i, cmd := range claims {
		v, err := cmd.Text()
		switch {
		case errors.Is(err, redis.Nil): // it was free
		case err != nil:
			return nil, s.fault("claim", len(keys), err)
		case v == dedupeDone:
			busy[i] = -1
		case v == claimValue(tokens[i]): // a reply was lost, and this is the second try
		default:
			was[i], taken = v, append(taken, i)
		}
	}
	if len(taken) == 0 {
		return busy, nil
	}
	pipe = s.rdb.Pipeline()
	take, left := make([]*redis.Cmd, len(keys)), make([]*redis.DurationCmd, len(keys))
	for _, i := range taken {
		if sameOwner(was[i], claimValue(tokens[i])) {
			take[i] = pipe.Eval(ctx, scriptTakeClaim, []string{s.key(keys[i])}, was[i], claimValue(tokens[i]), hold)
		} else {
			left[i] = pipe.PTTL(ctx, s.key(keys[i]))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, s.fault("claim", len(keys), err)
	}
	for _, i := range taken {
		busy[i] = time.Millisecond // it has just changed hands, or ended
		if take[i] != nil {
			if n, err := take[i].Int(); err != nil {
				return nil, s.fault("claim", len(keys), err)
			} else if n == 1 {
				busy[i] = 0
			}
		} else if d := left[i].Val(); d > 0 {
			busy[i] = d
		}
	}
	return busy, nil
}

// claimValue returns the value of a claim in Redis. It differs from that of a key that is done.
func claimValue(token string) string { return "claim " + token }

func sameOwner(a, b string) bool {
	owner, _, ok := strings.Cut(a, "\n")
	return ok && owner != claimValue("") && strings.HasPrefix(b, owner+"\n")
}

// Done marks keys as done, even if another owner has claimed them meanwhile, because the work is
// done and must not be repeated.
func (s *Store) Done(ctx context.Context, keys, tokens []string) error {
	return s.each(ctx, "mark", keys, func(pipe redis.Pipeliner, i int) {
		pipe.Eval(ctx, scriptDone, []string{s.key(keys[i])}, claimValue(tokens[i]), s.cfg.Window.Milliseconds())
	})
}

// Release frees the keys that are claimed with exactly these tokens.
func (s *Store) Release(ctx context.Context, keys, tokens []string) error {
	return s.each(ctx, "release", keys, func(pipe redis.Pipeliner, i int) {
		pipe.Eval(ctx, scriptFree, []string{s.key(keys[i])}, claimValue(tokens[i]))
	})
}

func (s *Store) each(ctx context.Context, op string, keys []string, add func(redis.Pipeliner, int)) error {
	for n := 0; n < len(keys); n += script.PageSize {
		pipe := s.rdb.Pipeline()
		for i := n; i < min(n+script.PageSize, len(keys)); i++ {
			add(pipe, i)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return s.fault(op, len(keys), err)
		}
	}
	return nil
}

func (s *Store) fault(op string, n int, err error) error {
	if fault.Judge(err) == fault.Permanent {
		return &redisio.PermanentError{Op: "dedupe: " + op + " keys of", Key: s.cfg.Prefix, Err: err}
	}
	return fmt.Errorf("redisio: dedupe: %s %s of %q: %w", op, fault.Plural(n, "key", "keys"),
		fault.KeyName(s.cfg.Prefix), err)
}
