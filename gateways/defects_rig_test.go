package gateways_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// wired is a stand whose services and clients speak over a wire.
type wired struct {
	*stand
	wire gateways.Wire
}

// onBothWires runs a test over this project's own wire, and over that of streamerson v1.
func onBothWires(t *testing.T, test func(t *testing.T, w wired)) {
	for name, wire := range map[string]gateways.Wire{"native": nil, "v1": gateways.StreamersonV1{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, wired{newStand(t), wire})
		})
	}
}

func (w wired) serve(t testing.TB, cfg gateways.ServiceConfig, register func(*gateways.Service)) *gateways.Service {
	cfg.Wire = w.wire
	return w.stand.serve(t, cfg, register)
}

func (w wired) client(t testing.TB) *gateways.Client {
	return w.stand.client(t, gateways.ClientConfig{Wire: w.wire})
}

// requests is the key of the requests.
func (w wired) requests() string {
	if w.wire == nil {
		return w.topic
	}
	return w.v1().Incoming()
}

func (w wired) settled(t testing.TB) {
	t.Helper()
	redistest.Soon(t, "all requests are settled", func() bool {
		groups := w.rdb.XInfoGroups(t.Context(), w.requests()).Val()
		return len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0
	})
}

// pairs are the fields of a native entry.
func pairs(flat []string) map[string]string {
	m := make(map[string]string)
	for p := range slices.Chunk(flat, 2) {
		m[p[0]] = p[1]
	}
	return m
}

// lockedBuffer is a log that several goroutines write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
