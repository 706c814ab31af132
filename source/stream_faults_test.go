package source_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// copied checks that a stream contains all values 0 … n-1, and returns the number of those that
// occur more than once.
func copied(t *testing.T, rdb *redis.Client, key string, n int) (duplicates int) {
	t.Helper()
	seen := make(map[string]int)
	entries, err := rdb.XRange(context.Background(), key, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		seen[e.Values["data"].(string)]++
	}
	for i := range n {
		if seen[fmt.Sprint(i)] == 0 {
			t.Errorf("value %d is lost", i)
		}
	}
	return len(entries) - len(seen)
}

// copyGraph copies a stream to another.
func copyGraph(
	rdb *redis.Client,
	cfg source.StreamConfig[string],
	f func(context.Context, flow.Message[string]) error,
) *flow.Graph {
	src := handle(source.Stream(rdb, cfg), f)
	to := sink.Stream(rdb, sink.StreamConfig[string]{Key: cfg.Key + ":out", Tuning: writer.Tuning{Depth: 16}})
	return flow.New("copy", unhurried(flow.To(src, to))...)
}

func TestStreamSurvivesRestartOfRedis(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(*stand){
		"killed": func(s *stand) { s.Kill(t); s.Restart(t) },
		"frozen": func(s *stand) { s.Pause(t); s.Resume(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newPrivateStand(t, redistest.Args("--appendonly", "yes", "--appendfsync", "always"))
			const n = 2000
			s.fill(t, n)
			half := make(chan struct{})
			seen := 0
			cfg := config[string](s)
			cfg.MaxInFlight = 64
			g := copyGraph(s.rdb, cfg, func(context.Context, flow.Message[string]) error {
				if seen++; seen == n/2 {
					close(half)
				}
				return nil
			})
			r, err := g.Start(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Stop()
			<-half
			hurt(s)
			redistest.Soon(t, "all through", func() bool {
				groups, err := s.rdb.XInfoGroups(context.Background(), s.key).Result()
				return err == nil && len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0
			})
			drain(t, r)
			t.Logf("%d duplicates", copied(t, s.rdb, s.key+":out", n))
			if letters := s.rdb.Exists(t.Context(), s.key+":dead").Val(); letters != 0 {
				t.Error("there are dead letters because Redis was away")
			}
		})
	}
}

const workerEnv = "STREAMERSON_TEST_WORKER"

// TestStreamWorkerProcess is not a test of its own. It is the process that TestStreamSurvivesKill
// kills.
func TestStreamWorkerProcess(t *testing.T) {
	addr, key, ok := strings.Cut(os.Getenv(workerEnv), " ")
	if !ok {
		t.Skip("runs only as a child of TestStreamSurvivesKill")
	}
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	cfg := source.StreamConfig[string]{
		Key:         key,
		Group:       "g",
		Tuning:      reader.Tuning{Lease: time.Second, MaxCount: 50},
		MaxInFlight: 100,
	}
	handled := 0
	err := copyGraph(
		rdb,
		cfg,
		func(ctx context.Context, _ flow.Message[string]) error {
			if handled++; handled > 5000 { // it must still be at work when it is killed
				<-ctx.Done()
			}
			return nil
		},
	).Run(context.Background())
	t.Fatalf("the worker ended by itself: %v", err)
}

func TestStreamSurvivesKill(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	const n = 20_000
	s.fill(t, n)
	for range 2 {
		before := s.rdb.XLen(t.Context(), s.key+":out").Val()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStreamWorkerProcess$")
		cmd.Env = append(os.Environ(), workerEnv+"="+s.Addr()+" "+s.key)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		redistest.Soon(t, "the worker works", func() bool {
			pending, _ := s.peek()
			return s.rdb.XLen(t.Context(), s.key+":out").Val() > before+1000 && pending > 0
		})
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	pending, lag := s.group(t)
	t.Logf("killed twice: %d pending, %d unread", pending, lag)
	cfg := config[string](s)
	cfg.Lease = time.Second
	r, err := copyGraph(
		s.rdb,
		cfg,
		func(context.Context, flow.Message[string]) error { return nil },
	).Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "all through", func() bool { pending, lag := s.group(t); return pending+lag == 0 })
	drain(t, r)
	t.Logf("%d duplicates of %d", copied(t, s.rdb, s.key+":out", n), n)
}

// peek is like group, but the group need not exist.
func (s *stand) peek() (pending, lag int64) {
	groups, err := s.rdb.XInfoGroups(context.Background(), s.key).Result()
	if err != nil || len(groups) != 1 {
		return 0, 0
	}
	return groups[0].Pending, groups[0].Lag
}

// stopped runs a graph that must end by itself, and returns why.
func stopped(t *testing.T, parts ...flow.Part) *flow.StageError {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	err := flow.New("test", parts...).Run(ctx)
	var stage *flow.StageError
	if !errors.As(err, &stage) {
		t.Fatalf("the graph ended with %v, want a *StageError", err)
	}
	return stage
}

func TestStreamPermanentErrorsStop(t *testing.T) {
	s := newPrivateStand(t)
	ctx := t.Context()
	s.rdb.Set(ctx, "text", "x", 0)
	t.Run("wrong type at the start", func(t *testing.T) {
		cfg := config[string](s)
		cfg.Key = "text"
		err := stopped(t, flow.To(source.Stream(s.rdb, cfg), (&inbox[string]{}).sink()))
		if err.Restarts != 0 || err.Stage != "stream" || !redis.HasErrorPrefix(err, "WRONGTYPE") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("wrong type of the dead letters", func(t *testing.T) {
		s.fill(t, 1)
		cfg := config[string](s)
		cfg.DeadKey = "text"
		src := handle(source.Stream(s.rdb, cfg), func(context.Context, flow.Message[string]) error {
			return flow.Reject(errors.New("hopeless"))
		})
		err := stopped(t, flow.AckTimeout(50*time.Millisecond), flow.To(src, (&inbox[string]{}).sink()))
		if err.Stage != "stream" || !redis.HasErrorPrefix(err, "WRONGTYPE") {
			t.Errorf("got %v", err)
		}
		if pending, _ := s.group(t); pending != 0 { // it is detected at the start, before anything is read
			t.Errorf("%d pending, want none", pending)
		}
	})
	t.Run("no right to acknowledge", func(t *testing.T) {
		key := redistest.Key(t)
		s.rdb.Do(ctx, "acl", "setuser", "reader", "on", ">pw", "~*", "+@all", "-xack")
		rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "reader", Password: "pw"})
		defer rdb.Close()
		s.rdb.XAdd(ctx, redistest.Entry(key, "data", "0"))
		cfg := config[string](s)
		cfg.Key = key
		err := stopped(
			t,
			flow.AckTimeout(50*time.Millisecond),
			flow.To(source.Stream(rdb, cfg), (&inbox[string]{}).sink()),
		)
		if err.Stage != "stream" || !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the key becomes something else", func(t *testing.T) {
		key := redistest.Key(t)
		cfg := config[string](s)
		cfg.Key = key
		var in inbox[string]
		r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()), flow.AckTimeout(50*time.Millisecond))
		s.rdb.XAdd(ctx, redistest.Entry(key, "data", "0"))
		redistest.Soon(t, "reading", func() bool { return in.count() == 1 })
		s.rdb.Set(ctx, key, "x", 0)
		var stage *flow.StageError
		if err := r.Wait(); !errors.As(err, &stage) || !redis.HasErrorPrefix(err, "WRONGTYPE") {
			t.Errorf("got %v", err)
		}
	})
}

func TestStreamRedisDownAtStart(t *testing.T) {
	t.Parallel()
	var dials atomic.Int64
	refused := func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	silent := func(ctx context.Context, _, _ string) (net.Conn, error) { // a host that drops all packets
		dials.Add(1)
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
	}
	for name, o := range map[string]*redis.Options{
		"refused": {Addr: nobody, Dialer: refused},
		"silent":  {Addr: nobody, Dialer: silent, DialTimeout: 300 * time.Millisecond},
	} {
		rdb := redis.NewClient(o)
		defer rdb.Close()
		for what, branch := range map[string]flow.Branch{
			"stream": flow.To(source.Stream(rdb, source.StreamConfig[string]{Key: "k", Group: "g"}),
				(&inbox[string]{}).sink()),
			"tail": flow.To(source.Tail(rdb, source.TailConfig[string]{Key: "k"}), (&inbox[string]{}).sink()),
			"sink": flow.To(messages(flow.NewMessage("x", flow.Meta{})),
				sink.Stream(rdb, sink.StreamConfig[string]{Key: "k"})),
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				before := dials.Load()
				err := stopped(t, branch)
				if n := dials.Load() - before; n > 6 { // about two seconds
					t.Errorf("it dialled %d times", n)
				}
				if err.Restarts != 0 || !strings.Contains(err.Error(), `"k"`) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func TestStreamWaitsForRedis(t *testing.T) {
	s := newPrivateStand(t)
	s.Kill(t)
	cfg := config[string](s)
	cfg.Wait = time.Minute
	var in inbox[string]
	src := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	to := start(t, flow.To(messages(flow.NewMessage("hello", flow.Meta{})),
		sink.Stream(s.rdb, sink.StreamConfig[string]{Key: s.key, Wait: time.Minute})))
	s.Restart(t)
	if err := to.Wait(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the message", func() bool { return in.count() == 1 })
	drain(t, src)
	if diff := cmp.Diff([]string{"hello"}, in.values()); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

// With LostGroupFail the graph ends with an error instead of creating the group again.
func TestStreamFailsOnALostGroup(t *testing.T) {
	s := newStand(t)
	var in inbox[string]
	cfg := config[string](s)
	cfg.OnLostGroup = reader.LostGroupFail
	s.fill(t, 1)
	r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "read", func() bool { return in.count() == 1 })
	s.rdb.XGroupDestroy(t.Context(), s.key, cfg.Group)
	err := r.Wait()
	if lost := (*reader.GroupLostError)(nil); !errors.As(err, &lost) {
		t.Fatalf("got %v, want a GroupLostError", err)
	}
}

const killerEnv = "STREAMERSON_TEST_KILLER"

// TestStreamKillerProcess is not a test of its own. It is the process that
// TestFault_D2_KillerTakesOnlyItself starts, and it kills itself at one value.
func TestStreamKillerProcess(t *testing.T) {
	addr, key, ok := strings.Cut(os.Getenv(killerEnv), " ")
	if !ok {
		t.Skip("runs only as a child of TestFault_D2_KillerTakesOnlyItself")
	}
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	cfg := source.StreamConfig[string]{
		Key:           key,
		Group:         "g",
		Tuning:        reader.Tuning{Lease: 10 * time.Second},
		MaxDeliveries: 5,
	}
	err := copyGraph(rdb, cfg, func(_ context.Context, m flow.Message[string]) error {
		if m.Value == "7" {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			return errors.Join(errors.New("still alive"), err)
		}
		return nil
	}).Run(context.Background())
	t.Fatalf("the worker ended by itself: %v", err)
}

// leasesEnd lets the leases of dead readers end at once.
func (s *stand) leasesEnd(t *testing.T) {
	t.Helper()
	pending, err := s.rdb.XPendingExt(t.Context(), &redis.XPendingExtArgs{
		Stream: s.key, Group: "g", Start: "-", End: "+", Count: 1000,
	}).Result()
	if err != nil && !redis.HasErrorPrefix(err, "NOGROUP") {
		t.Fatal(err)
	}
	for _, p := range pending {
		if strings.HasPrefix(p.Consumer, "redisio:") {
			continue // given back
		}
		if err := s.rdb.Do(t.Context(), "xclaim", s.key, "g", p.Consumer, 0, p.ID, "idle", 600_000,
			"justid").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// One value kills each process that handles it. Previously, all values read together with it became
// dead letters.
func TestFault_D2_KillerTakesOnlyItself(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	const n = 50
	s.fill(t, n)
	for lives := 0; ; lives++ {
		if lives > 10 {
			t.Fatal("it does not end")
		}
		s.leasesEnd(t)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStreamKillerProcess$")
		cmd.Env = append(os.Environ(), killerEnv+"="+s.Addr()+" "+s.key)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait() // it was killed
		}()
		settled, gone := false, false
		redistest.Soon(t, "the worker is killed, or done", func() bool {
			pending, lag := s.peek()
			settled = pending+lag == 0 && s.rdb.XLen(t.Context(), s.key+":dead").Val() > 0
			select {
			case <-ended:
				gone = true
			default:
			}
			return settled || gone
		})
		_ = cmd.Process.Kill() // it may be dead
		<-ended
		if settled {
			break
		}
	}
	letters := s.rdb.XRange(t.Context(), s.key+":dead", "-", "+").Val()
	if len(letters) != 1 || letters[0].Values["data"] != "7" {
		t.Errorf("dead letters %v", letters)
	}
	seen := make(map[string]bool)
	for _, e := range s.rdb.XRange(t.Context(), s.key+":out", "-", "+").Val() {
		seen[e.Values["data"].(string)] = true
	}
	if len(seen) != n-1 || seen["7"] {
		t.Errorf("%d values came through", len(seen))
	}
}
