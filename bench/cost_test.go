package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// TestCosts bounds what a message costs at the defaults: allocations, bytes allocated, and commands of
// Redis. The bounds are about a third above what was measured, because batches depend on the scheduler.
func TestCosts(t *testing.T) {
	for _, cost := range []struct {
		c                       Case
		n                       int
		allocs, bytes, commands float64
	}{
		{maps(), 100_000, 0.04, 30, 0},
		{stages(), 100_000, 0.04, 30, 0},
		{produce(), 50_000, 0.15, 0, 1.01},
		{consume(), 50_000, 0.2, 520, 0.01},
		{transform(), 30_000, 1.6, 620, 1.02},
		{calls(64), 10_000, 15, 3700, 3.4},
		{overHTTP(64), 10_000, 72, 9600, 3.4},
	} {
		t.Run(cost.c.Name, func(t *testing.T) {
			c := cost.c
			var rdb redis.UniversalClient
			var commands float64
			tr := newTrial(c, c.Implementations[0], cost.n, 100, nil, "bench:cost")
			if c.Redis {
				s := redistest.Start(t)
				rdb, tr.Redis = s.Client(t), s.Client(t)
				tr.onStart = func() { rdb.ConfigResetStat(t.Context()) }
				tr.onStop = func() { commands = float64(calledOf(t, rdb)) / float64(tr.N) }
			}
			if err := tr.within(t.Context(), c, c.Implementations[0]); err != nil {
				t.Fatal(err)
			}
			allocs := float64(tr.used.mallocs) / float64(tr.N)
			bytes := float64(tr.used.bytes) / float64(tr.N)
			t.Logf("%.2f allocations, %.0f bytes and %.3f commands per message", allocs, bytes, commands)
			if allocs > cost.allocs && !raceEnabled {
				t.Errorf("%.2f allocations per message, at most %v", allocs, cost.allocs)
			}
			if cost.bytes > 0 && bytes > cost.bytes && !raceEnabled {
				t.Errorf("%.0f bytes allocated per message, at most %v", bytes, cost.bytes)
			}
			if commands > cost.commands {
				t.Errorf("%.3f commands per message, at most %v", commands, cost.commands)
			}
		})
	}
}

// TestLargePayloads writes and reads 128 MiB. Buffers of writers are used again: each message allocates
// a part of its size. A message that is read allocates its size, once. The race detector allocates
// too, so with it the test only looks for races, in 13 MiB.
func TestLargePayloads(t *testing.T) {
	const size = 64 << 10
	n := 2000
	if raceEnabled {
		n = 200
	}
	for _, cost := range []struct {
		c    Case
		most int
	}{{produce(), size / 4}, {consume(), size * 9 / 8}} {
		tr := newTrial(cost.c, cost.c.Implementations[0], n, size, redistest.Start(t).Client(t), "bench:large")
		if err := tr.within(t.Context(), cost.c, cost.c.Implementations[0]); err != nil {
			t.Fatal(err)
		}
		if each := int(tr.used.bytes) / tr.N; each > cost.most && !raceEnabled {
			t.Errorf("%s: %d bytes allocated per message of %d, at most %d", cost.c.Name, each, size, cost.most)
		}
	}
}

// calledOf returns how many commands of streams and scripts a server has run.
func calledOf(t *testing.T, rdb redis.UniversalClient) (sum int) {
	t.Helper()
	var each []string
	for line := range strings.Lines(rdb.Info(t.Context(), "commandstats").Val()) {
		name, stats, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "cmdstat_"), ":")
		var calls int
		if _, err := fmt.Sscanf(stats, "calls=%d,", &calls); err != nil ||
			slices.Contains([]string{"info", "config|resetstat", "hello", "client|setinfo", "ping"}, name) {
			continue
		}
		each = append(each, fmt.Sprint(name, " ", calls))
		sum += calls
	}
	t.Log(strings.Join(each, ", "))
	return sum
}
