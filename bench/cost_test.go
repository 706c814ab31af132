package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// tries is how often a cost is measured at most. A busy machine splits batches, so that each message costs
// more, but code that costs too much does so each time.
const tries = 4

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
			var most string
			for range tries {
				allocs, bytes, commands := costOf(t, cost.c, cost.n)
				t.Logf("%.2f allocations, %.0f bytes and %.3f commands per message", allocs, bytes, commands)
				switch {
				case allocs > cost.allocs && !raceEnabled:
					most = fmt.Sprintf("%.2f allocations per message, at most %v", allocs, cost.allocs)
				case cost.bytes > 0 && bytes > cost.bytes && !raceEnabled:
					most = fmt.Sprintf("%.0f bytes allocated per message, at most %v", bytes, cost.bytes)
				case commands > cost.commands:
					most = fmt.Sprintf("%.3f commands per message, at most %v", commands, cost.commands)
				default:
					return
				}
			}
			t.Error(most)
		})
	}
}

// costOf measures what a message costs.
func costOf(t *testing.T, c Case, n int) (allocs, bytes, commands float64) {
	t.Helper()
	tr := newTrial(c, c.Implementations[0], n, 100, nil, "bench:cost")
	if c.Redis {
		s := redistest.Start(t)
		rdb := patientClient(t, s)
		tr.Redis = patientClient(t, s)
		tr.onStart = func() { rdb.ConfigResetStat(t.Context()) }
		tr.onStop = func() { commands = float64(calledOf(t, rdb)) / float64(tr.N) }
	}
	if err := tr.within(t.Context(), c, c.Implementations[0]); err != nil {
		t.Fatal(err)
	}
	return float64(tr.used.mallocs) / float64(tr.N), float64(tr.used.bytes) / float64(tr.N), commands
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
		each := size + cost.most
		for try := 0; each > cost.most && try < tries; try++ {
			tr := newTrial(
				cost.c,
				cost.c.Implementations[0],
				n,
				size,
				patientClient(t, redistest.Start(t)),
				"bench:large",
			)
			if err := tr.within(t.Context(), cost.c, cost.c.Implementations[0]); err != nil {
				t.Fatal(err)
			}
			if each = int(tr.used.bytes) / tr.N; raceEnabled {
				break
			}
		}
		if each > cost.most && !raceEnabled {
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
