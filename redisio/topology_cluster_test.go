package redisio_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/readers"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// load writes numbered entries and reads them with a group and a tail during failures, until stop
// is called.
type load struct {
	t       *testing.T
	keys    []string
	group   []*reader.Group
	logs    []*rig.Log
	stop    context.CancelFunc
	running sync.WaitGroup
	written atomic.Int64

	mu      sync.Mutex
	wrote   map[string]map[string]bool // by key: the numbers of entries that were confirmed
	unknown map[string]map[string]bool // and those with an unknown outcome
	handled map[string]map[string]int  // read and acked by the group
	tailed  map[string]map[string]int
	last    time.Time     // of an entry handled
	stall   time.Duration // the longest time without one
	paused  time.Duration // the longest time in which a busy machine let this process or a node do nothing
	refused map[string]int
}

func startLoad(t *testing.T, rdb redis.UniversalClient, nodes []*redistest.Server, keys ...string) *load {
	t.Helper()
	c, cancel := context.WithCancel(t.Context())
	l := &load{
		t:       t,
		keys:    keys,
		stop:    cancel,
		last:    time.Now(),
		wrote:   make(map[string]map[string]bool),
		unknown: make(map[string]map[string]bool),
		handled: make(
			map[string]map[string]int,
		),
		tailed:  make(map[string]map[string]int),
		refused: make(map[string]int),
	}
	for _, key := range keys {
		l.wrote[key], l.unknown[key] = make(map[string]bool), make(map[string]bool)
		l.handled[key], l.tailed[key] = make(map[string]int), make(map[string]int)
		r, logged := readers.Open(
			t,
			rdb,
			reader.GroupConfig{Key: key, Tuning: reader.Tuning{Block: 200 * time.Millisecond}},
		)
		l.group, l.logs = append(l.group, r), append(l.logs, logged)
		tail, err := reader.NewTail(
			rdb,
			reader.TailConfig{Key: key, Start: redisio.StartBeginning(), Block: 200 * time.Millisecond},
		)
		if err != nil {
			t.Fatal(err)
		}
		if err := tail.Open(c); err != nil {
			t.Fatal(err)
		}
		l.running.Go(func() { l.handle(c, key, r) })
		l.running.Go(func() {
			defer tail.Close(context.WithoutCancel(c))
			l.tail(c, key, tail)
		})
	}
	w, err := writer.New(rdb, writer.Config{Key: keys[0]})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Open(c); err != nil {
		t.Fatal(err)
	}
	l.running.Go(func() {
		defer w.Close(context.WithoutCancel(c))
		l.write(c, w)
	})
	l.running.Go(func() { l.watch(c, nodes) })
	t.Cleanup(func() {
		l.stop()
		l.running.Wait()
	})
	return l
}

// write writes 8 entries to each key, in one pipeline, again and again. It repeats entries that
// were certainly not written.
func (l *load) write(c context.Context, w *writer.Writer) {
	var todo []redisio.Outgoing
	results := make([]redisio.Result, 100)
	for n := 0; c.Err() == nil; {
		if len(todo) == 0 {
			for range 8 {
				for _, key := range l.keys {
					todo = append(
						todo,
						redisio.Outgoing{Key: key, Fields: redisio.Fields{{Name: "n", Value: fmt.Append(nil, n)}}},
					)
				}
				n++
			}
		}
		_ = w.Write(c, todo, results) // each entry has its own result
		var again []redisio.Outgoing
		l.mu.Lock()
		for i, e := range todo {
			number := string(e.Fields[0].Value)
			switch err := results[i].Err; {
			case err == nil:
				l.wrote[e.Key][number] = true
				l.written.Add(1)
			case errors.Is(err, redisio.ErrUnknownOutcome):
				l.unknown[e.Key][number] = true
			default:
				again = append(again, e)
				l.refused[fmt.Sprintf("%.60s", err)]++
			}
		}
		l.mu.Unlock()
		todo = append(todo[:0:0], again...)
		fault.Sleep(c, nil, time.Millisecond)
	}
}

// watch asks all nodes again and again. The time for a round is the time for which a busy machine stops
// one of them, or this process.
func (l *load) watch(c context.Context, nodes []*redistest.Server) {
	var all []*redis.Client
	for _, s := range nodes {
		all = append(all, s.Client(l.t))
	}
	for c.Err() == nil {
		began := time.Now()
		for _, rdb := range all {
			_ = rdb.Ping(c).Err() // one may have been killed
		}
		fault.Sleep(c, nil, 10*time.Millisecond)
		l.mu.Lock()
		l.paused = max(l.paused, time.Since(began))
		l.mu.Unlock()
	}
}

// stops returns how long a reader or a writer may have got nothing done because of a busy machine.
func (l *load) stops() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.paused
}

func (l *load) handle(c context.Context, key string, r *reader.Group) {
	var b redisio.Batch
	for c.Err() == nil {
		if err := r.Read(c, 100, 0, &b); err != nil {
			if c.Err() == nil {
				l.t.Errorf("read %s: %v", key, err)
			}
			return
		}
		ids := rig.IDs(b.Entries)
		l.mu.Lock()
		now := time.Now()
		l.stall, l.last = max(l.stall, now.Sub(l.last)), now
		for _, e := range b.Entries {
			v, _ := e.Fields.Get("n")
			l.handled[key][string(v)]++
		}
		l.mu.Unlock()
		for n := 1; c.Err() == nil; n++ {
			if _, err := r.Ack(c, ids); err == nil || redisio.IsPermanent(err) {
				if err != nil {
					l.t.Errorf("ack %s: %v", key, err)
				}
				break
			}
			fault.Sleep(c, nil, fault.Backoff(n))
		}
	}
}

func (l *load) tail(c context.Context, key string, r *reader.Tail) {
	var b redisio.Batch
	for c.Err() == nil {
		if err := r.Read(c, 100, 0, &b); err != nil {
			if c.Err() == nil {
				l.t.Errorf("tail %s: %v", key, err)
			}
			return
		}
		l.mu.Lock()
		for _, e := range b.Entries {
			v, _ := e.Fields.Get("n")
			l.tailed[key][string(v)]++
		}
		l.mu.Unlock()
	}
}

// more waits until n more entries are written, which proves that writing continues.
func (l *load) more(n int64) {
	l.t.Helper()
	want := l.written.Load() + n
	l.eventually("writing goes on", func() bool { return l.written.Load() >= want })
}

func (l *load) eventually(what string, ok func() bool) {
	l.t.Helper()
	defer func() {
		if l.mu.Lock(); l.t.Failed() {
			l.t.Logf("refused: %v", l.refused)
		}
		l.mu.Unlock()
	}()
	redistest.Soon(l.t, what, ok)
}

// Settled waits until all entries in the streams are handled and acked. It checks that the group
// and the tail have read every entry.
func (l *load) Settled(rdb redis.UniversalClient) {
	t := l.t
	t.Helper()
	var there map[string]map[string]bool
	missing := func() (list []string) {
		for _, key := range l.keys {
			for n := range there[key] {
				if l.handled[key][n] == 0 {
					list = append(list, "group "+key+" "+n)
				}
				if l.tailed[key][n] == 0 {
					list = append(list, "tail "+key+" "+n)
				}
			}
		}
		return list
	}
	there = make(map[string]map[string]bool)
	for _, key := range l.keys {
		there[key] = make(map[string]bool)
		all, err := rdb.XRange(rig.Ctx(t), key, "-", "+").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			there[key][e.Values["n"].(string)] = true
		}
	}
	l.eventually("all is read", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(missing()) == 0
	})
	l.stop()
	l.running.Wait()
	for _, r := range l.group {
		if err := r.Close(rig.Ctx(t)); err != nil {
			t.Error(err)
		}
	}
	entries, again := 0, 0
	for _, key := range l.keys {
		entries += len(there[key])
		for _, n := range l.handled[key] {
			again += n - 1
		}
	}
	t.Logf(
		"%d entries, %d read again, longest stall %v, of the machine %v, refused %v",
		entries,
		again,
		l.stall.Round(time.Millisecond),
		l.stops().Round(time.Millisecond),
		l.refused,
	)
}

// kept fails if confirmed entries are missing, for tests that do not lose data.
func (l *load) kept(rdb redis.UniversalClient) {
	l.t.Helper()
	for _, key := range l.keys {
		all, err := rdb.XRange(rig.Ctx(l.t), key, "-", "+").Result()
		if err != nil {
			l.t.Fatal(err)
		}
		count := make(map[string]int)
		for _, e := range all {
			count[e.Values["n"].(string)]++
		}
		l.mu.Lock()
		for n := range l.wrote[key] {
			if count[n] == 0 {
				l.t.Errorf("%s %s was confirmed and is gone", key, n)
			}
		}
		for n, times := range count {
			if times > 1 {
				l.t.Errorf("%s %s was written %d times", key, n, times)
			}
		}
		l.mu.Unlock()
	}
}

func clusterClient(t *testing.T, c *redistest.Cluster, protocol int) *redis.ClusterClient {
	o := c.Options()
	o.Protocol = protocol
	rdb := redis.NewClusterClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func TestOnCluster(t *testing.T) {
	t.Parallel() // it waits, mostly
	cl := redistest.StartCluster(t, 1)
	t.Run("one pipeline for streams of all nodes", func(t *testing.T) { clusterWriterOfManyKeys(t, cl) })
	t.Run("slots move", func(t *testing.T) { clusterSlotsMove(t, cl) })
	t.Run("a master dies", func(t *testing.T) { clusterMasterDies(t, cl) })
}

// The slots of streams move between nodes eight times while they are written and read. During a
// move each node has some keys of the slot.
func clusterSlotsMove(t *testing.T, cl *redistest.Cluster) {
	rdb := clusterClient(t, cl, 2)
	l := startLoad(t, rdb, cl.Nodes, "orders", "{tag}:a", "{tag}:b")
	for i := range 8 {
		slot, err := cl.Slot(rig.Ctx(t), []string{"orders", "tag"}[i%2])
		if err != nil {
			t.Fatal(err)
		}
		from, err := cl.Owner(rig.Ctx(t), slot)
		if err != nil {
			t.Fatal(err)
		}
		to := cl.Nodes[0]
		for n, s := range cl.Nodes[:3] {
			if s == from {
				to = cl.Nodes[(n+1+i%2)%3]
			}
		}
		err = cl.MoveSlot(rig.Ctx(t), slot, to, func() {
			l.more(100) // while the keys of the slot are at two nodes
		})
		if err != nil {
			t.Fatal(err)
		}
		l.more(100)
	}
	l.Settled(rdb)
	l.kept(rdb)
	for i, logged := range l.logs {
		if n := logged.Total(redisio.EventGroupRecreated) + logged.Total(redisio.EventLeaseLost); n > 0 {
			t.Errorf("%s: %+v", l.keys[i], logged.Events)
		}
	}
	if len(l.refused) > 0 {
		t.Errorf("writes were refused while slots moved: %v", l.refused)
	}
	if l.stall > 5*time.Second+l.stops() {
		t.Errorf("nothing was read for %v", l.stall)
	}
}

// The master of a stream's slot dies, and a replica replaces it.
func clusterMasterDies(t *testing.T, cl *redistest.Cluster) {
	rdb := clusterClient(t, cl, 3)
	l := startLoad(t, rdb, cl.Nodes, "invoices")
	l.more(200)
	slot, err := cl.Slot(rig.Ctx(t), "invoices")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := cl.Failover(rig.Ctx(t), slot); err != nil {
		t.Fatal(err)
	}
	promoted := time.Now()
	l.more(200)
	if d := time.Since(promoted); d > 5*time.Second+l.stops() {
		t.Errorf("writing went on %v after the replica was promoted", d)
	}
	l.Settled(rdb)
}

// One pipeline has entries for streams in slots of all nodes, and the commands of a pipeline are
// reused.
func clusterWriterOfManyKeys(t *testing.T, cl *redistest.Cluster) {
	rdb := clusterClient(t, cl, 3)
	w, err := writer.New(rdb, writer.Config{Key: "own"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	defer w.Close(rig.Ctx(t))
	for round := range 5 {
		entries, results := make([]redisio.Outgoing, 50), make([]redisio.Result, 50)
		for i := range entries {
			entries[i].Fields = redisio.Fields{{Name: "n", Value: []byte("1")}}
			if (i+round)%5 > 0 {
				entries[i].Key = fmt.Sprint("key", (i+7*round)%40)
			}
		}
		if err := w.Write(rig.Ctx(t), entries, results); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}
