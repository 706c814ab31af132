package faulttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/streamerson/streamerson-go/bench/internal/resident"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// main runs a worker process. The exit status is 1 after an error.
func (j job) main() int {
	logging.Disable() // go-redis' log repeats our errors
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &diary{words: json.NewEncoder(os.Stdout), crash: j.Crash, events: make(map[string]int)}
	d.machine.leases(j.Lease)
	go d.machine.measure(noEnd) // ends with the process
	var err error
	if j.Variant != "" {
		err = j.byHand(ctx, d)
	} else {
		err = j.work(ctx, d)
	}
	last := d.word()
	last.Last = true
	if err != nil {
		last.Err = err.Error()
		fmt.Fprintln(os.Stderr, err)
	}
	d.say(last)
	if err != nil {
		return 1
	}
	return 0
}

// work runs the graph, as user code does.
func (j job) work(ctx context.Context, d *diary) error {
	rdb, err := j.connect(ctx, j.URL, d)
	if err != nil {
		return err
	}
	defer rdb.Close()
	out := rdb
	if j.OutputURL != "" {
		if out, err = j.connect(ctx, j.OutputURL, d); err != nil {
			return err
		}
		defer out.Close()
	}
	h := &handler{job: j, diary: d, rng: rand.New(rand.NewPCG(j.Seed, uint64(os.Getpid())))}
	from := source.StreamConfig[parcel]{
		Key:         j.Input,
		Group:       j.Group,
		DeadKey:     j.Dead,
		MaxInFlight: j.InFlight,
		Tuning: reader.Tuning{
			Lease: j.Lease,
			Block: j.Block,
		},
		MaxDeliveries: j.MaxDeliveries,
		Wait:          time.Minute,
		OnEvent:       d.event,
	}
	to := sink.StreamConfig[parcel]{
		Key:     j.Output,
		Tuning:  writer.Tuning{Pipelines: j.Pipelines},
		Wait:    time.Minute,
		OnRetry: d.retry,
	}
	if j.Replicas > 0 {
		to.Durability, to.DedupeWindow = writer.Durability{Replicas: j.Replicas}, time.Minute
	}
	if j.Crash.Step != "" {
		c := codec{redisio.JSON[parcel](), d.at}
		from.Codec, to.Codec = c, c
	}
	opts := []flow.StageOption{flow.Workers(max(1, j.Workers))}
	if j.Unordered {
		opts = append(opts, flow.Unordered())
	}
	if j.Timeout > 0 {
		opts = append(opts, flow.Timeout(j.Timeout))
	}
	parcels := source.Stream(rdb, from)
	handled := operators.Map(parcels, h.handle, opts...)
	parts := []flow.Part{flow.To(handled, sink.Stream(out, to)),
		flow.Log(slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))}
	if j.Drain > 0 {
		parts = append(parts, flow.DrainTimeout(j.Drain))
	}
	if j.NackAfter > 0 {
		parts = append(parts, flow.Faults(flow.Retry(1, time.Millisecond, flow.NackAfter(j.NackAfter))))
	}
	running, err := flow.New("faults", parts...).Start(ctx)
	if err != nil {
		return err
	}
	d.keep(running)
	err = running.Wait()
	report := running.Report()
	d.mu.Lock()
	d.now.Drain, d.now.Released, d.now.Uncommitted = report.Took, report.Released, report.Uncommitted
	d.mu.Unlock()
	return err
}

// connect calls redisio.Connect. A worker that crashes between two bytes of a connection uses a
// tapped one.
func (j job) connect(ctx context.Context, url string, d *diary) (redis.UniversalClient, error) {
	if j.Crash.Step == "" {
		return redisio.Connect(ctx, url, redisio.ConnectOptions{Wait: time.Minute})
	}
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	o.Dialer = d.dial
	return redis.NewClient(o), nil
}

// handler is the user's function with all its faults.
type handler struct {
	job   job
	diary *diary
	mu    sync.Mutex
	rng   *rand.Rand
}

var errFailed = errors.New("the handler failed")

func (h *handler) handle(ctx context.Context, p parcel) (parcel, error) {
	h.diary.at("handle: before")
	h.diary.handled.Add(1)
	switch p.Poison {
	case poisonError:
		return p, fmt.Errorf("poison %s: %w", p.Poison, errFailed)
	case poisonPanic:
		panic("poison " + p.Poison)
	case poisonReject:
		return p, flow.Reject(fmt.Errorf("poison %s: %w", p.Poison, errFailed))
	case poisonHang:
		<-ctx.Done()
		return p, fmt.Errorf("poison %s: %w", p.Poison, context.Cause(ctx))
	}
	h.mu.Lock()
	luck, work, slow := h.rng.Float64(), h.job.Work, h.rng.Float64() < h.job.Slow.Of
	if work > 0 {
		work = time.Duration(h.rng.Int64N(int64(work)))
	}
	h.mu.Unlock()
	if slow {
		work = h.job.Slow.For
	}
	if err := sleep(ctx, work); err != nil {
		return p, err
	}
	switch {
	case luck < h.job.Fails:
		return p, errFailed
	case luck < h.job.Fails+h.job.Panic:
		panic("the handler panicked")
	}
	h.diary.at("handle: after")
	return p, nil
}

// diary writes a worker's reports about itself.
type diary struct {
	handled atomic.Uint64
	crash   crash
	hits    atomic.Int64
	machine machine

	mu      sync.Mutex
	words   *json.Encoder
	running *flow.Running
	now     word
	events  map[string]int
}

func (d *diary) event(e redisio.Event) {
	n := max(e.Count, 1)
	d.mu.Lock()
	d.events[e.Kind.String()] += n
	d.mu.Unlock()
	if e.Kind == redisio.EventTrimmed {
		d.say(d.word()) // the trial counts such losses, and the worker may die at any time
	}
}

func (d *diary) retry(r sink.StreamRetry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now.Unknown += r.Unknown
}

// keep reports four times a second until the process ends.
func (d *diary) keep(running *flow.Running) {
	d.mu.Lock()
	d.running = running
	d.mu.Unlock()
	go func() { // ends with the process
		for d.say(d.word()); ; d.say(d.word()) {
			time.Sleep(250 * time.Millisecond)
		}
	}()
}

func (d *diary) word() word {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.now
	w.Events, w.Late = maps.Clone(d.events), d.machine.far()
	w.Goroutines, w.Resident, w.Handled = runtime.NumGoroutine(), resident.Set(), d.handled.Load()
	if d.running != nil {
		for _, s := range d.running.Snapshot(noBackend).Sources {
			w.InFlight += s.InFlight
		}
	}
	return w
}

// noBackend is a cancelled context: a snapshot made with it does not query the server.
var noBackend = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (d *diary) say(w word) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.words.Encode(w) // after the trial died, nothing reads it
}

// at kills the process if this is the step at which it must die.
func (d *diary) at(step string) {
	if d.crash.Step == step && d.hits.Add(1) == int64(d.crash.Hit) {
		dieNow()
	}
}

// dieNow ends the process as kill -9 does: no deferred functions, no flush, no reply.
func dieNow() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}
