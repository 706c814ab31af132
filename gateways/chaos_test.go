package gateways_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Connections are cut a hundred times while calls run. Each call ends with its own reply or a documented error, and no
// goroutine is left for a cut.
func TestCallsOverCutConnections(t *testing.T) {
	const cuts, callers = 100, 16
	proxy := redistest.StartProxy(t, redistest.Shared(t).Addr())
	s := &stand{proxy.Client(t), redistest.Key(t)}
	s.serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return "re " + v, nil })
	})
	call := gateways.Call[string, string](s.client(t, gateways.ClientConfig{Timeout: 5 * time.Second, MaxWait: -1}), "echo")
	if _, err := call(t.Context(), "warm"); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
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
				case errors.Is(err, gateways.ErrTimeout), errors.Is(err, gateways.ErrOverloaded):
					failed.Add(1)
				default:
					t.Errorf("%s: %q, %v", v, got, err)
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range cuts {
		had := answered.Load() + int64(r.IntN(50))
		soon(t, "calls get through", func() bool { return answered.Load()+failed.Load() > had })
		proxy.ResetAll()
	}
	over.Store(true)
	wg.Wait()
	if _, err := call(t.Context(), "after"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	soon(t, "no more goroutines than before", func() bool { return runtime.NumGoroutine() <= before+callers })
	t.Logf("%d answered, %d failed", answered.Load(), failed.Load())
}
