package gather

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/acl"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// EndConfig configures an End. Key is required; the zero value of any other field is its default.
type EndConfig struct {
	// Key is the stream.
	Key string
	// Producers is how many producers write to it. Defaults to 1.
	Producers int
	// TTL is how long the marks are kept after the last one, or after a reader has looked for the end.
	// Defaults to 24h.
	TTL time.Duration
	// Patience is how long a call retries while the server cannot answer. Defaults to 30s. Negative
	// means that it does not retry.
	Patience time.Duration
}

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c EndConfig) Validate() error {
	m := redisio.MistakesOf("gather.EndConfig")
	m.Empty("Key", c.Key, "name the stream")
	m.If(c.Key != "" && redisio.Beside(c.Key, ":end") == "", "Key",
		fmt.Sprintf("is %q, and no other key shares its hash slot", fault.KeyName(c.Key)),
		"give it a hash tag, as {orders}")
	m.Is(c.Producers < 0 || c.Producers > maxExpect, "Producers", c.Producers, "choose 1 to 100000 producers")
	span(m, "TTL", c.TTL, "24h")
	return m.Err()
}

func (c EndConfig) keys() []string { return []string{c.Key, redisio.Beside(c.Key, ":end")} }

// Access returns the rights to mark the end of the stream, to ask whether it is reached, and to delete
// the marks.
func (c EndConfig) Access() redisio.Access {
	return acl.Of(c.keys(), "del", "eval", "exists", "hexists", "hlen", "hset", "hvals", "pexpire", "pttl",
		"xinfo|groups", "xinfo|stream", "xpending", "xrange")
}

// End is the end of a stream that is written once. Each producer marks it when it has written its
// last entry. The marks are outside the stream, in "{key}:end", so they survive trimming and all
// processes. All methods may be called concurrently. It uses the caller's client unchanged, and has
// nothing to close.
type End struct {
	rdb redis.UniversalClient // the caller's: never closed
	cfg EndConfig
}

// NewEnd checks the configuration. It does no I/O.
func NewEnd(rdb redis.UniversalClient, cfg EndConfig) (*End, error) {
	if err := errors.Join(check.NeedClient(rdb, "gather.NewEnd"), cfg.Validate()); err != nil {
		return nil, err
	}
	cfg.Producers = cmp.Or(cfg.Producers, 1)
	cfg.TTL, cfg.Patience = cmp.Or(cfg.TTL, 24*time.Hour), cmp.Or(cfg.Patience, 30*time.Second)
	return &End{rdb: rdb, cfg: cfg}, nil
}

// Mark marks the end for a producer. Everything that is in the stream now is before the mark. It
// returns how many producers have marked the end. The error is ErrTooMany if as many others have.
//
// A producer needs a name that stays the same after a restart, such as its number. Then it marks the
// end again and its last mark counts. With a new name it counts twice, and readers may end early.
func (e *End) Mark(ctx context.Context, producer string) (marks int, err error) {
	return count(ctx, e.rdb, e.cfg.Patience, "mark the end of", producer, e.cfg.Key, func() *redis.Cmd {
		return e.rdb.Eval(ctx, script.MarkEnd, e.cfg.keys(), producer, e.cfg.Producers, e.cfg.TTL.Milliseconds())
	})
}

// Reached reports whether all producers have marked the end, and the group has settled every entry
// before the marks. An entry that waits for its retry is not settled. It keeps the marks for TTL,
// makes one round trip, and does not retry.
func (e *End) Reached(ctx context.Context, group string) (bool, error) {
	reply, err := e.rdb.Eval(ctx, script.AtEnd, e.cfg.keys(), group, e.cfg.Producers,
		e.cfg.TTL.Milliseconds()).Int64Slice()
	if err == nil && len(reply) != 2 {
		err = fmt.Errorf("a reply of %d numbers", len(reply))
	}
	if err != nil {
		return false, check.KeyError("look for the end of", e.cfg.Key, err)
	}
	return reply[1] == 1, nil
}

// Reopen deletes the marks: the stream goes on.
func (e *End) Reopen(ctx context.Context) error {
	key := e.cfg.keys()[1]
	return check.KeyError("delete", key, e.rdb.Del(ctx, key).Err())
}
