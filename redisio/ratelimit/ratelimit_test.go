package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// increx answers INCREX as its documentation says, with the script on a server that lacks it.
type increx struct {
	redis.Hook
	behind redis.UniversalClient
	calls  int
}

func (h *increx) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (h *increx) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h *increx) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		a := cmds[0].Args()
		if a[0] != "increx" {
			return next(ctx, cmds)
		}
		h.calls++
		shape := fmt.Sprint(a[2], a[4], a[6], a[7], a[9])
		if want := fmt.Sprint("byint", "ubound", "saturate", "px", "enx"); shape != want {
			return fmt.Errorf("INCREX with %s", shape)
		}
		// The script would shorten a window that is too long; the command must not.
		before := h.behind.PTTL(ctx, a[1].(string)).Val()
		reply, err := h.behind.Eval(ctx, script.Limit, []string{a[1].(string)}, a[3], a[5], a[8]).Int64Slice()
		if err != nil {
			cmds[0].SetErr(err)
			return err
		}
		if before > time.Duration(a[8].(int64))*time.Millisecond {
			h.behind.PExpire(ctx, a[1].(string), before)
		}
		cmds[0].(*redis.Cmd).SetVal([]any{int64(0), reply[0]})
		return next(ctx, cmds[1:])
	}
}

// clients are a client of the server, and one for which it has INCREX.
func clients(t *testing.T, srv *redistest.Server) map[string]redis.UniversalClient {
	with := srv.Client(t)
	with.AddHook(&increx{behind: srv.Client(t)})
	return map[string]redis.UniversalClient{"script": srv.Client(t), "command": with}
}

func newLimiter(t *testing.T, rdb redis.UniversalClient, cfg Config) *Limiter {
	t.Helper()
	l, err := New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func take(t *testing.T, l *Limiter, want int) (int, time.Duration) {
	t.Helper()
	got, wait, err := l.Take(rig.Ctx(t), want)
	if err != nil {
		t.Fatal(err)
	}
	return got, wait
}

func TestLimiter(t *testing.T) {
	for name, rdb := range clients(t, redistest.Shared(t)) {
		t.Run(name, func(t *testing.T) {
			key := redistest.Key(t)
			cfg := Config{Key: key, Most: 10, Per: time.Hour}
			a, b := newLimiter(t, rdb, cfg), newLimiter(t, rdb, cfg) // two processes
			for i, test := range []struct {
				of        *Limiter
				want, got int
			}{{a, 4, 4}, {b, 4, 4}, {a, 0, 0}, {a, -1, 0}, {a, 4, 2}, {b, 1, 0}, {a, 1000, 0}} {
				got, wait := take(t, test.of, test.want)
				if got != test.got {
					t.Errorf("call %d got %d of %d units, want %d", i, got, test.want, test.got)
				}
				if waits := got < test.want; waits != (wait > 0) ||
					waits && (wait < 59*time.Minute || wait > 61*time.Minute) {
					t.Errorf("call %d: wait %v", i, wait)
				}
			}
			if how := a.how.Load(); name == "command" != (how == byCommand) || how == byTrying {
				t.Errorf("it counts in way %d", how)
			}
			// A lower limit, as after a change of the configuration, gives nothing.
			cfg.Most = 5
			if got, _ := take(t, newLimiter(t, rdb, cfg), 1); got != 0 {
				t.Errorf("above a lowered limit: %d units", got)
			}
			// The window ends.
			if err := rdb.PExpire(rig.Ctx(t), key, time.Millisecond).Err(); err != nil {
				t.Fatal(err)
			}
			redistest.Soon(t, "the window ends", func() bool { got, _ := take(t, b, 1); return got == 1 })
		})
	}
}

// The clock of the server is set back by a day: the window would last a day longer.
func TestLimiterClockSetBack(t *testing.T) {
	for name, rdb := range clients(t, redistest.Shared(t)) {
		for what, spoil := range map[string]func(key string) error{
			"longer":    func(key string) error { return rdb.PExpire(rig.Ctx(t), key, 24*time.Hour).Err() },
			"no expiry": func(key string) error { return rdb.Persist(rig.Ctx(t), key).Err() },
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				key := redistest.Key(t)
				l := newLimiter(t, rdb, Config{Key: key, Most: 1, Per: time.Minute})
				take(t, l, 1)
				if err := spoil(key); err != nil {
					t.Fatal(err)
				}
				if got, wait := take(t, l, 1); got != 0 || wait > 61*time.Second {
					t.Errorf("%d units, wait %v", got, wait)
				}
				if left := rdb.PTTL(rig.Ctx(t), key).Val(); left <= 0 || left > time.Minute {
					t.Errorf("the window lasts for %v", left)
				}
			})
		}
	}
}

// Many clients at once get no more than the limit, and all of it.
func TestLimiterRace(t *testing.T) {
	for name, rdb := range clients(t, redistest.Shared(t)) {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Key: redistest.Key(t), Most: 500, Per: time.Hour}
			var mu sync.Mutex
			var all sync.WaitGroup
			total := 0
			for w := range 4 {
				l := newLimiter(t, rdb, cfg)
				if name == "command" && w > 0 {
					break // the hook counts its calls
				}
				all.Go(func() {
					for range 100 {
						got, _, err := l.Take(rig.Ctx(t), 7)
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						total += got
						mu.Unlock()
					}
				})
			}
			all.Wait()
			if total != 500 {
				t.Errorf("%d units were taken, want 500", total)
			}
		})
	}
}

func TestLimiterServerAway(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	var events rig.Log
	key := redistest.Key(t)
	cfg := Config{Key: key, Most: 3, Per: time.Hour, Patience: 20 * time.Second, OnEvent: events.Add}
	l := newLimiter(t, rdb, cfg)
	take(t, l, 3)
	srv.Kill(t)
	cfg.Patience = -1
	if _, _, err := newLimiter(t, rdb, cfg).Take(rig.Ctx(t), 1); err == nil || redisio.IsPermanent(err) {
		t.Errorf("without patience: %v", err)
	}
	ctx, cancel := context.WithCancel(rig.Ctx(t))
	cancel()
	if _, _, err := l.Take(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
	answered := make(chan int)
	go func() {
		got, _, err := l.Take(rig.Ctx(t), 1)
		if err != nil {
			t.Error(err)
		}
		answered <- got
	}()
	redistest.Soon(t, "it says that it waits", func() bool { return events.Times(redisio.EventLimiterWaits) == 2 })
	srv.Restart(t)
	if got := <-answered; got != 1 { // this server keeps nothing, so a new window has begun
		t.Errorf("after the restart: %d units", got)
	}
	take(t, l, 1)
	if n := events.Times(redisio.EventLimiterWaits); n != 2 {
		t.Errorf("%d events, want 2: one of each limiter", n)
	}
}

func TestLimiterMistakes(t *testing.T) {
	if _, err := New(nil, Config{Most: -1, Per: time.Microsecond}); err == nil ||
		strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("%v", err)
	}
	for name, rdb := range clients(t, redistest.Shared(t)) {
		key := redistest.Key(t)
		if err := rdb.LPush(rig.Ctx(t), key, "x").Err(); err != nil {
			t.Fatal(err)
		}
		l := newLimiter(t, rdb, Config{Key: key, Most: 1, Per: time.Second})
		var p *redisio.PermanentError
		if _, _, err := l.Take(rig.Ctx(t), 1); !errors.As(err, &p) {
			t.Errorf("%s: a key of another type: %v", name, err)
		}
	}
}
