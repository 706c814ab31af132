package bench

import (
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Trial is one run of one implementation, with its input, its tally of the output and its clock.
type Trial struct {
	N       int                   // messages
	Payload int                   // bytes of each
	Redis   redis.UniversalClient // nil for cases that need none

	// In and Out are the streams to read from and to write to, Group is the consumer group on In.
	In, Out, Group string

	// Got is the tally of the output.
	Got Tally
	// Latencies are the latencies of single messages, for cases that measure them.
	Latencies []time.Duration
	// Logf receives progress messages of a long run.
	Logf func(format string, args ...any)

	byRate bool

	connecting int // messages before the clock started, in addition to N

	// start starts another server.
	start func(context.Context) (redis.UniversalClient, func() error, error)

	// serverTime returns the CPU time that the servers have used.
	serverTime func() time.Duration

	// onStart and onStop are called with the clock's start and stop. They may be nil.
	onStart, onStop func()

	once    sync.Once
	began   time.Time
	elapsed time.Duration
	before  usage
	used    usage
}

// Tally is the number and the sum of values, so that the results of two implementations can be
// compared.
type Tally struct {
	Count int
	Bytes int
	Sum   uint64
}

// usage is the resource usage up to a time, or between two.
type usage struct {
	mallocs, bytes uint64
	cpu            time.Duration // of this process
	server         time.Duration // of the Redis server
}

func newTrial(c Case, i Implementation, n, payload int, rdb redis.UniversalClient, prefix string) *Trial {
	n = max(1, n/max(1, i.Slow))
	in := fmt.Sprintf("%s:%s:in:%d:%d", prefix, c.Name, payload, n)
	return &Trial{
		N: n, Payload: payload, Redis: rdb, byRate: c.ByRate,
		In: in, Out: fmt.Sprintf("%s:%s:out", prefix, c.Name), Group: "bench",
		Logf: func(string, ...any) {}, serverTime: func() time.Duration { return 0 },
	}
}

// run runs one implementation of a case, from setup to check.
func (t *Trial) run(ctx context.Context, c Case, i Implementation) error {
	fail := func(doing string, err error) error {
		return fmt.Errorf("bench: %s of %s/%s, %d messages of %d bytes: %w", doing, c.Name, i.Name, t.N, t.Payload, err)
	}
	setup, check := c.Setup, c.Check
	if i.Setup != nil {
		setup = i.Setup
	}
	if i.Check != nil {
		check = i.Check
	}
	if setup != nil {
		if err := setup(ctx, t); err != nil {
			return fail("setup", err)
		}
	}
	t.serverTime = func() time.Duration { return t.serverCPU(ctx) }
	if i.ServerCPU != nil {
		t.serverTime = i.ServerCPU
	}
	t.Start()
	var err error
	// Profiles can select the measured part: go tool pprof -tagfocus run=consume/default
	pprof.Do(ctx, pprof.Labels("run", c.Name+"/"+i.Name), func(ctx context.Context) { err = i.Run(ctx, t) })
	t.Stop()
	if i.Elsewhere {
		t.used = usage{server: t.used.server}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fail("run", err)
	}
	if err := check(ctx, t); err != nil {
		return fail("check", err)
	}
	return nil
}

// Start starts the clock. Implementations call it only to start it again, after connecting.
func (t *Trial) Start() {
	runtime.GC() // do not measure garbage of earlier runs
	server := t.serverTime()
	t.before = usageNow()
	t.before.server = server
	if t.onStart != nil {
		t.onStart()
	}
	t.began = time.Now()
}

// Stop stops the clock. Later work is not measured. Only the first call counts.
func (t *Trial) Stop() {
	t.once.Do(func() {
		t.elapsed = time.Since(t.began)
		if t.onStop != nil {
			t.onStop()
		}
		now := usageNow()
		now.server = t.serverTime()
		t.used.mallocs, t.used.bytes = now.mallocs-t.before.mallocs, now.bytes-t.before.bytes
		t.used.cpu, t.used.server = now.cpu-t.before.cpu, now.server-t.before.server
	})
}

func usageNow() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{mallocs: m.Mallocs, bytes: m.TotalAlloc, cpu: processCPU()}
}

// serverCPU returns the CPU time that the server reports; 0 if it reports none.
func (t *Trial) serverCPU(ctx context.Context) time.Duration {
	if t.Redis == nil {
		return 0
	}
	info, err := t.Redis.Info(ctx, "cpu").Result()
	if err != nil {
		return 0 // the report omits the column
	}
	var sum float64
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0
			}
			sum += seconds
		}
	}
	return time.Duration(sum * float64(time.Second))
}

// clean deletes the trial's keys on the server.
func (t *Trial) clean(ctx context.Context) error {
	if t.Redis == nil {
		return nil
	}
	if err := t.Redis.Unlink(ctx, t.In).Err(); err != nil {
		return err
	}
	return t.Redis.Unlink(ctx, t.Out).Err()
}

// add adds a value to the tally.
func (y *Tally) add(bytes int, sum uint64) {
	y.Count++
	y.Bytes += bytes
	y.Sum += sum
}

// compare returns an error if got differs from want.
func compare(what string, got, want Tally) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%s: got %d messages, %d bytes, checksum %d; want %d, %d, %d",
		what, got.Count, got.Bytes, got.Sum, want.Count, want.Bytes, want.Sum)
}
