package gateways_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Connections are cut a hundred times while calls run.
func TestCallsOverCutConnections(t *testing.T) {
	t.Parallel()
	proxy := redistest.StartProxy(t, redistest.Shared(t).Addr())
	rdb := redis.NewClient(rig.Patient(&redis.Options{Addr: proxy.Addr(), DisableIdentity: true}))
	t.Cleanup(func() { rdb.Close() })
	callsUnderFaults(t, &rig.Stand{RDB: rdb, Topic: redistest.Key(t)}, 100, proxy.ResetAll)
}

// The server is killed while calls run, and restarts from its disk.
func TestCallsOverKilledServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Args("--appendonly", "yes", "--appendfsync", "always"))
	callsUnderFaults(t, &rig.Stand{RDB: rig.Redis(t, server), Topic: redistest.Key(t)}, 30, func() {
		server.Kill(t)
		server.Restart(t)
	})
}

// callsUnderFaults runs callers while hurt injects faults. Each call ends with its own reply or a
// documented error, and the faults leak no goroutine.
func callsUnderFaults(t *testing.T, s *rig.Stand, faults int, hurt func()) {
	const callers = 16
	// The goroutines that this one starts, directly or not, have its label. Other tests run at the same time.
	pprof.SetGoroutineLabels(pprof.WithLabels(t.Context(), pprof.Labels("topic", s.Topic)))
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return "re " + v, nil })
	})
	c := s.Client(t, gateways.ClientConfig{Timeout: 5 * time.Second})
	call := gateways.Call[string, string](c, "echo")
	warm := gateways.Call[string, string](c, "echo", gateways.Timeout(redistest.Patience))
	if _, err := warm(t.Context(), "warm"); err != nil {
		t.Fatal(err)
	}
	before := goroutinesOf(s.Topic)
	if before < 10 {
		t.Fatalf("%d goroutines have the label", before)
	}
	var over atomic.Bool
	var answered, failed atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := 0; !over.Load(); j++ {
				v := strconv.Itoa(i) + "/" + strconv.Itoa(j)
				switch got, err := call(t.Context(), v); {
				case err == nil && got == "re "+v:
					answered.Add(1)
				case errors.Is(err, gateways.ErrTimeout),
					errors.Is(err, gateways.ErrOverloaded),
					errors.Is(err, gateways.ErrUnavailable),
					errors.Is(err, gateways.ErrNoService): // it could not reach Redis for AliveFor
					failed.Add(1)
				default:
					t.Errorf("%s: %q, %v", v, got, err)
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range faults {
		had := answered.Load() + int64(r.IntN(50))
		redistest.Soon(t, "calls are answered", func() bool { return answered.Load() > had })
		hurt()
	}
	over.Store(true)
	wg.Wait()
	redistest.Soon(t, "calls are answered afterwards", func() bool {
		got, err := call(t.Context(), "after")
		return err == nil && got == "re after"
	})
	redistest.Soon(t, "no more goroutines than before", func() bool { return goroutinesOf(s.Topic) <= before+callers })
	t.Logf("%d answered, %d failed", answered.Load(), failed.Load())
}

// goroutinesOf returns how many goroutines have a topic's label.
func goroutinesOf(topic string) (n int) {
	var text strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&text, 1) // a Builder takes all
	alike := 0
	for line := range strings.Lines(text.String()) {
		if count, _, is := strings.Cut(line, " @ "); is {
			alike, _ = strconv.Atoi(count)
		}
		if strings.HasPrefix(line, "# labels:") && strings.Contains(line, topic) {
			n += alike
		}
	}
	return n
}
