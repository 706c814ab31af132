package sink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/source"
)

// unhurried makes a graph that ends by itself on a slow machine as well.
func unhurried(name string, b flow.Branch) *flow.Graph {
	const long = redistest.Patience
	return flow.New(name, b, flow.DrainTimeout(long), flow.AckTimeout(long), flow.KillGrace(long))
}

// connections returns how many connections a server has, by the names of the clients.
func connections(t *testing.T, admin *redis.Client) map[string]int {
	t.Helper()
	list, err := admin.ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	n := make(map[string]int)
	for line := range strings.Lines(list) {
		_, name, _ := strings.Cut(line, " name=")
		name, _, _ = strings.Cut(name, " ")
		n[name]++
	}
	return n
}

// A pipeline has the number of connections that the package documentation of redisio states.
func TestFault_D21_ConnectionsOfAPipeline(t *testing.T) {
	srv := redistest.Start(t)
	admin := srv.Client(t)
	named := func(name string) *redis.Client {
		o := srv.Options()
		o.ClientName = name
		c := redis.NewClient(o)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	const n = 5000
	pipe := admin.Pipeline()
	for range n {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "in", Values: []any{"data", "x"}})
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	in := source.Stream(named("source"), source.StreamConfig[string]{Key: "in", Group: "g"})
	run := start(t, unhurried("test", flow.To(in, Stream(named("sink"), StreamConfig[string]{Key: "out"}))))
	most := make(map[string]int)
	redistest.Soon(t, "all is copied and acknowledged", func() bool {
		for name, n := range connections(t, admin) {
			most[name] = max(most[name], n)
		}
		p, err := admin.XPending(t.Context(), "in", "g").Result()
		return err == nil && p.Count == 0 && admin.XLen(t.Context(), "out").Val() == n
	})
	if most["source"] > 7 || most["source"] == 0 || most["sink"] > 16 {
		t.Errorf("connections %v", most)
	}
	if now := connections(t, admin)["sink"]; now != 1 {
		t.Errorf("the sink has %d connections", now)
	}
	if err := run.Stop(); err != nil {
		t.Error(err)
	}
	redistest.Soon(t, "all are closed", func() bool {
		now := connections(t, admin)
		return now["source"]+now["sink"] == 0
	})
}

// noted records the texts that hooks receive.
type noted struct {
	mu    sync.Mutex
	texts []string
}

func (n *noted) add(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.texts = append(n.texts, fmt.Sprint(err))
}

func (n *noted) has(word string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.texts, func(s string) bool { return strings.Contains(s, word) })
}

// The sink waits while a server refuses writes because it cannot save (MISCONF), or answers only
// BUSY while a script runs. The hooks receive the reason, and nothing is lost or written twice.
func TestFault_D21_MisconfAndBusyAreWaitedOut(t *testing.T) {
	for word, hurt := range map[string]func(*testing.T, *redistest.Server) (heal func()){
		"MISCONF": misconf, "BUSY": busy,
	} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			srv := redistest.Start(t, redistest.Args("--busy-reply-threshold", "10"))
			var retried, events noted
			var mu sync.Mutex
			got := make(map[int]int)
			in := make(chan int, 100) // all commands sent
			writing := start(t, unhurried("writes", flow.To(source.Chan(in), Stream(srv.Client(t), StreamConfig[int]{
				Key: "k", OnRetry: func(r StreamRetry) { retried.add(r.Err) },
			}))))
			reading := start(t, unhurried("reads", flow.To(source.Stream(srv.Client(t), source.StreamConfig[int]{
				Key: "k", Group: "g", Tuning: reader.Tuning{Block: 50 * time.Millisecond},
				OnEvent: func(e redisio.Event) {
					events.add(e.Err)
				},
			}), Func(func(_ context.Context, v int) error {
				mu.Lock()
				defer mu.Unlock()
				got[v]++
				return nil
			}))))
			const n = 100
			in <- 0
			redistest.Soon(t, "both work", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(got) == 1
			})
			heal := hurt(t, srv)
			for i := 1; i < n; i++ {
				in <- i
			}
			close(in)
			redistest.Soon(t, "the hooks are told", func() bool { return retried.has(word) && events.has(word) })
			heal()
			if err := writing.Wait(); err != nil {
				t.Error(err)
			}
			redistest.Soon(t, "all is read", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(got) == n
			})
			admin := srv.Client(t)
			redistest.Soon(t, "all is acknowledged", func() bool {
				p, err := admin.XPending(t.Context(), "k", "g").Result()
				return err == nil && p.Count == 0
			})
			if err := reading.Stop(); err != nil {
				t.Error(err)
			}
			if length := admin.XLen(t.Context(), "k").Val(); length != n {
				t.Errorf("%d entries of %d messages", length, n)
			}
			for i, times := range got {
				if times != 1 {
					t.Errorf("message %d came %d times", i, times)
				}
			}
		})
	}
}

// misconf makes a server unable to save.
func misconf(t *testing.T, srv *redistest.Server) (heal func()) {
	admin := srv.Client(t)
	inTheWay := filepath.Join(srv.Process().Dir(), "dump.rdb", "in the way")
	saved := func() string {
		_ = admin.BgSave(t.Context()).Err() // one save may be in progress
		return admin.InfoMap(t.Context(), "persistence").Item("Persistence", "rdb_last_bgsave_status")
	}
	if err := errors.Join(os.RemoveAll(filepath.Dir(inTheWay)), os.MkdirAll(inTheWay, 0o700),
		admin.ConfigSet(t.Context(), "save", "3600 1000000").Err()); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "saving fails", func() bool { return saved() == "err" })
	return func() {
		if err := os.RemoveAll(filepath.Dir(inTheWay)); err != nil {
			t.Error(err)
		}
		redistest.Soon(t, "saving works", func() bool { return saved() == "ok" })
	}
}

// busy has a server run a script until it is killed.
func busy(t *testing.T, srv *redistest.Server) (heal func()) {
	o, admin := srv.Options(), srv.Client(t)
	o.MaxRetries = -1 // a second script would not be killed
	endless := redis.NewClient(o)
	t.Cleanup(func() { _ = endless.Close() })
	var done sync.WaitGroup
	done.Go(func() { _ = endless.Eval(t.Context(), "while true do end", nil).Err() }) // it is killed
	redistest.Soon(t, "the server is busy", func() bool {
		return redis.HasErrorPrefix(admin.Ping(t.Context()).Err(), "BUSY")
	})
	return func() {
		if err := admin.ScriptKill(t.Context()).Err(); err != nil {
			t.Error(err)
		}
		done.Wait()
	}
}
