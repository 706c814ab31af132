package scatter_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/scatter"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// A failover loses what the server has written last: the gather, or the sending of its parts. The
// origin does not wait for the end of its time.
func TestFailoverLosesWrites(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lose func(s *stand, key string) error
	}{
		{"the gather", func(s *stand, key string) error {
			return s.rdb.Del(context.Background(), key, s.parts()).Err()
		}},
		{"some parts", func(s *stand, key string) error {
			ctx := context.Background()
			return errors.Join(s.rdb.XTrimMaxLen(ctx, s.parts(), 0).Err(), s.rdb.HSet(ctx, key, "sent", 0).Err())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t, config{Within: time.Hour})
			m := newMortal(t)
			run(t, s.origin(m.Client))
			s.add(t, order{"a", 3})
			redistest.Soon(
				t,
				"the parts are sent",
				func() bool { return s.rdb.XLen(t.Context(), s.parts()).Val() == 3 },
			)
			keys := s.rdb.Keys(t.Context(), "{"+s.cfg.Name+"}:gather:*").Val()
			if len(keys) != 1 {
				t.Fatal(keys)
			}
			if err := c.lose(s, keys[0]); err != nil {
				t.Fatal(err)
			}
			m.proxy.CutAll() // which a failover does, too
			run(t, s.worker(s.rdb, work))
			check(t, s.got.wait(t, 1)[0])
			s.settled(t)
		})
	}
}

// The lines of a file have the same IDs in each run. A run does not get the failures of an earlier
// one.
func TestIDsThatRepeat(t *testing.T) {
	t.Parallel()
	s := newStand(t, config{})
	var calls atomic.Int64
	run(t, s.worker(s.rdb, func(context.Context, item) (string, error) {
		if calls.Add(1) == 1 {
			return "", flow.Reject(errors.New("boom"))
		}
		return "fine", nil
	}))
	lines := func() error {
		in := source.Lines(strings.NewReader("a line\n"))
		split := func(_ context.Context, line string) ([]item, error) { return []item{{line, 1}}, nil }
		out := scatter.Out(in, s.rdb, s.cfg, split)
		return flow.New("origin", flow.To(out, sink.Discard[scatter.Gathered[string, string]]())).Run(t.Context())
	}
	if lacks := (*scatter.IncompleteError)(nil); !errors.As(lines(), &lacks) {
		t.Error("the first run does not fail")
	}
	if err := lines(); err != nil {
		t.Error(err)
	}
}

// A part fails although its worker's own Redis refuses something, and the origin is told.
func TestWorkersRedisRefuses(t *testing.T) {
	t.Parallel()
	s := newStand(t, config{Attempts: 1})
	key := s.cfg.Name + ":list"
	if err := s.rdb.LPush(t.Context(), key, "x").Err(); err != nil {
		t.Fatal(err)
	}
	run(t, s.origin(s.rdb))
	run(t, s.worker(s.rdb, func(ctx context.Context, _ item) (string, error) {
		err := s.rdb.Get(ctx, key).Err()
		if !redisio.IsPermanent(err) {
			t.Error(err)
		}
		return "", err
	}))
	s.add(t, order{"a", 1})
	if errs := s.dead(t, 1); !strings.Contains(errs[0], "WRONGTYPE") {
		t.Error(errs)
	}
}

// hostile is a codec that panics.
type hostile struct{ redisio.Codec[string] }

func (hostile) Decode([]byte) (string, error) { panic("oops") }

// A result that cannot be decoded is a failure of its part, also if the codec panics.
func TestResultCodecPanics(t *testing.T) {
	t.Parallel()
	s := newStand(t, config{ResultCodec: hostile{redisio.DefaultCodec[string]()}})
	run(t, s.origin(s.rdb))
	run(t, s.worker(s.rdb, work))
	s.add(t, order{"a", 1})
	if errs := s.dead(t, 1); !strings.Contains(errs[0], "oops") || !strings.Contains(errs[0], "part 0") {
		t.Error(errs)
	}
}

// The clock of the server is behind after a failover, so a gather is open longer than its origin
// waits. A drain does not wait for it.
func TestDrainBeforeTheTimeIsOver(t *testing.T) {
	t.Parallel()
	s := newStand(t, config{Within: time.Second})
	asked := make(chan struct{}, 1000)
	rdb := redistest.Shared(t).Client(t)
	rdb.AddHook(afterEval(func(args []any) {
		switch fmt.Sprint(args[6]) {
		case "open": // before the origin knows of its gather, so that its time cannot be over yet
			until := time.Now().Add(time.Hour).UnixMilli()
			if err := s.rdb.HSet(context.Background(), fmt.Sprint(args[3]), "until", until).Err(); err != nil {
				t.Error(err)
			}
		case "end":
			asked <- struct{}{}
		}
	}))
	r := run(t, s.origin(rdb))
	s.add(t, order{"a", 1})
	<-asked
	drained(t, r)
	run(t, s.worker(s.rdb, work))
	run(t, s.origin(s.rdb))
	check(t, s.got.wait(t, 1)[0])
}

// afterEval is a hook that sees the arguments of scripts that have run.
type afterEval func(args []any)

func (afterEval) DialHook(next redis.DialHook) redis.DialHook { return next }

func (after afterEval) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == "eval" && len(cmd.Args()) > 6 {
			after(cmd.Args())
		}
		return err
	}
}

func (afterEval) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
