package reader

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/probe"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/writers"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// ways are the capabilities that delivery tests force: the baseline, and all. If the server lacks
// one, the test checks that a reader works without it.
var ways = []struct {
	name string
	caps redisio.Capabilities
}{{"baseline", redisio.Capabilities{}}, {"newer", redisio.Capabilities{Claim: true, MaxSize: true}}}

// abandon makes a dead consumer read n entries and sets their idle time to an hour.
func abandon(t *testing.T, rdb redis.UniversalClient, key string, n int) []string {
	t.Helper()
	rdb.XGroupCreateMkStream(rig.Ctx(t), key, "g", "0")
	got, err := rdb.XReadGroup(rig.Ctx(t),
		&redis.XReadGroupArgs{Group: "g", Consumer: "dead", Streams: []string{key, ">"}, Count: int64(n)}).
		Result()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range got[0].Messages {
		ids = append(ids, m.ID)
		setPending(t, rdb, key, "dead", m.ID, time.Hour, 1)
	}
	return ids
}

func setPending(t *testing.T, rdb redis.UniversalClient, key, consumer, id string, idle time.Duration, deliveries int) {
	t.Helper()
	if err := rdb.Do(rig.Ctx(t), "xclaim", key, "g", consumer, 0, id, "idle", idle.Milliseconds(), "retrycount",
		deliveries, "justid").Err(); err != nil {
		t.Fatal(err)
	}
}

// Redelivered entries have the same guarantees with CLAIM and without.
func TestRecoveryContract(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client(t)
	for name, test := range map[string]func(t *testing.T, key string, cfg GroupConfig){
		"of a dead consumer": func(t *testing.T, key string, cfg GroupConfig) {
			want := rig.Add(t, rdb, key, 10)
			abandon(t, rdb, key, 10)
			r, l := open(t, rdb, cfg)
			got := rig.Read(t, r, 10)
			if !slices.Equal(rig.IDs(got), want) {
				t.Fatalf("got %v, want %v", rig.IDs(got), want)
			}
			for _, e := range got {
				if p := rig.Pending(t, rdb, key)[e.ID]; e.Deliveries != 2 || p.RetryCount != 2 ||
					p.Consumer != r.Consumer() || len(e.Fields) != 1 {
					t.Fatalf("got %+v, pending %+v", e, p)
				}
			}
			readNothing(t, r, 100*time.Millisecond)
			if n := l.Total(redisio.EventReclaimed); n != 10 {
				t.Errorf("%d reclaimed", n)
			}
			if n, err := r.Ack(rig.Ctx(t), rig.IDs(got)); n != 10 || err != nil {
				t.Fatal(n, err)
			}
		},
		"held, and its renewal is late": func(t *testing.T, key string, cfg GroupConfig) {
			rig.Add(t, rdb, key, 2)
			r, l := open(t, rdb, cfg)
			held := rig.Read(t, r, 2)[0].ID
			setPending(t, rdb, key, r.Consumer(), held, time.Hour, 1)
			readNothing(t, r, 200*time.Millisecond)
			if p := rig.Pending(t, rdb, key)[held]; p.RetryCount != 1 || p.Consumer != r.Consumer() {
				t.Fatalf("pending %+v, events %v", p, l.Events)
			}
			if err := r.Nack(rig.Ctx(t), []string{held}, 0); err != nil {
				t.Fatal(err)
			}
			if e := rig.Read(t, r, 1)[0]; e.ID != held || e.Deliveries != 2 {
				t.Fatalf("got %+v", e)
			}
		},
		"nacked for later": func(t *testing.T, key string, cfg GroupConfig) {
			rig.Add(t, rdb, key, 2)
			cfg.Lease = time.Minute // the one that has it first keeps it
			r, _ := open(t, rdb, cfg)
			got := rig.IDs(rig.Read(t, r, 2))
			if _, err := r.Ack(rig.Ctx(t), got[1:]); err != nil {
				t.Fatal(err)
			}
			since := time.Now()
			if err := r.Nack(rig.Ctx(t), got[:1], 300*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			other, _ := open(t, rdb, cfg) // has nothing
			c, cancel := context.WithCancel(rig.Ctx(t))
			defer cancel()
			came := make(chan redisio.Entry, 2)
			for _, r := range []*Group{r, other} {
				go func() {
					var b redisio.Batch
					if r.Read(c, 1, 0, &b) == nil {
						came <- b.Entries[0]
					}
				}()
			}
			e := <-came
			// clocks tick in milliseconds
			if d := time.Since(since); e.ID != got[0] || e.Deliveries != 2 || d < 290*time.Millisecond {
				t.Fatalf("got %+v after %v", e, d)
			}
		},
		"released": func(t *testing.T, key string, cfg GroupConfig) {
			rig.Add(t, rdb, key, 1)
			cfg.Lease = time.Minute
			a, _ := open(t, rdb, cfg)
			got := rig.IDs(rig.Read(t, a, 1))
			b, _ := open(t, rdb, cfg)
			readNothing(t, b, 100*time.Millisecond)
			if err := a.Release(rig.Ctx(t), got); err != nil {
				t.Fatal(err)
			}
			if e := rig.Read(t, b, 1)[0]; e.ID != got[0] || e.Deliveries != 2 {
				t.Fatalf("got %+v", e)
			}
		},
		"that fail again and again, beside new ones": func(t *testing.T, key string, cfg GroupConfig) {
			all := rig.Add(t, rdb, key, 8)
			abandon(t, rdb, key, 4)
			r, _ := open(t, rdb, cfg)
			var got []int
			for range 8 {
				e := rig.Read(t, r, 1)
				got = append(got, slices.Index(all, e[0].ID))
				if _, err := r.Ack(rig.Ctx(t), rig.IDs(e)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range got[1:] { // neither waits for the other
				if (got[i] < 4) == (got[i+1] < 4) {
					t.Fatalf("in order %v", got)
				}
			}
		},
		"until they are given up": func(t *testing.T, key string, cfg GroupConfig) {
			rig.Add(t, rdb, key, 1)
			id := abandon(t, rdb, key, 1)[0]
			for n := 2; n <= 5; n++ {
				r, _ := open(t, rdb, cfg)
				if e := rig.Read(t, r, 1)[0]; e.Deliveries != int64(n) {
					t.Fatalf("delivery %d says it is number %d", n, e.Deliveries)
				}
				setPending(t, rdb, key, "dead", id, time.Hour, n)
				if err := r.Close(rig.Ctx(t)); err != nil {
					t.Fatal(err)
				}
			}
		},
		"trimmed": func(t *testing.T, key string, cfg GroupConfig) {
			rig.Add(t, rdb, key, 6)
			gone := abandon(t, rdb, key, 5)[:4]
			rdb.XDel(rig.Ctx(t), key, gone...)
			r, l := open(t, rdb, cfg)
			rig.Read(t, r, 2)
			redistest.Soon(t, "all are counted", func() bool {
				c, cancel := context.WithTimeout(context.Background(), 60*time.Millisecond)
				defer cancel()
				var b redisio.Batch
				if err := r.Read(c, 1, 0, &b); err == nil {
					t.Fatalf("got %v", rig.IDs(b.Entries))
				}
				return l.Total(redisio.EventTrimmed) == 4 && len(rig.Pending(t, rdb, key)) == 2
			})
		},
		"of a group that is made again": func(t *testing.T, key string, cfg GroupConfig) {
			rig.Add(t, rdb, key, 3)
			r, _ := open(t, rdb, cfg)
			got := rig.IDs(rig.Read(t, r, 2))
			if _, err := r.Ack(rig.Ctx(t), got); err != nil {
				t.Fatal(err)
			}
			rdb.XGroupDestroy(rig.Ctx(t), key, "g")
			if e := rig.Read(t, r, 1)[0]; slices.Contains(got, e.ID) {
				t.Fatalf("got %v again", e.ID)
			}
		},
	} {
		for _, way := range ways {
			t.Run(name+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				key := redistest.Key(t)
				test(t, key, GroupConfig{
					Key: key, Tuning: Tuning{
						Lease:        2 * time.Second,
						ReclaimEvery: 20 * time.Millisecond,
						Block:        50 * time.Millisecond,
						Capabilities: &way.caps,
					},
				})
			})
		}
	}
}

// If the reply with reclaimed entries is lost, no entry is lost, and the delivery is counted once.
func TestLostReplyOfTakingOver(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			rdb, key := s.Client(t), redistest.Key(t)
			rig.Add(t, rdb, key, 5)
			want := abandon(t, rdb, key, 5)
			p := rig.NewProxy(t, s.Addr())
			r, l := open(t, p.Client(t), GroupConfig{Key: key, Tuning: Tuning{Capabilities: &way.caps}})
			match := "xautoclaim"
			if way.caps.Claim && probe.Reads(rig.Ctx(t), r.control, key, r.Consumer()).Claim {
				match = "\r\nclaim\r\n"
			}
			p.LoseReplies(match, 1)
			got := rig.Read(t, r, 5)
			if !slices.Equal(rig.IDs(got), want) || p.Lost() != 1 || l.Total(redisio.EventRecovered) != 5 {
				t.Fatalf("got %v, %d replies lost, events %+v", rig.IDs(got), p.Lost(), l.Events)
			}
			for _, e := range got {
				if e.Deliveries > 2 || match != "xautoclaim" && e.Deliveries != 2 {
					t.Fatalf("got %+v", e)
				}
			}
			readNothing(t, r, 2*time.Second) // the second search finds nothing
		})
	}
}

// CLAIM adds a delivery to entries that the reader holds, and XAUTOCLAIM does not. So only a reader
// that holds nothing uses CLAIM.
func TestClaimCountsWhatIsHeld(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 1)
	id := abandon(t, rdb, key, 1)[0]
	if err := rdb.Do(rig.Ctx(t), "xautoclaim", key, "g", "dead", 1000, "0", "justid").Err(); err != nil {
		t.Fatal(err)
	}
	setPending(t, rdb, key, "dead", id, time.Hour, int(rig.Pending(t, rdb, key)[id].RetryCount))
	err := rdb.Do(rig.Ctx(t), "xreadgroup", "group", "g", "dead", "count", 1, "claim", 1000, "streams", key, ">").Err()
	n := rig.Pending(t, rdb, key)[id].RetryCount
	if err == nil && n != 2 || err != nil && (n != 1 || fault.Judge(err) != fault.Permanent) {
		t.Errorf("%d deliveries, %v", n, err)
	}
}

// Searching with CLAIM needs no more commands than without it. This also holds while the reader is
// idle, while others hold entries, and while trimmed entries are pending.
func TestClaimRate(t *testing.T) {
	t.Parallel()
	rates := map[string]map[string]int{}
	for _, way := range ways {
		for name, before := range map[string]func(rdb redis.UniversalClient){
			"nothing": func(redis.UniversalClient) {},
			"held by other": func(rdb redis.UniversalClient) {
				rig.Add(t, rdb, "k", 3)
				setYoung(t, rdb,
					abandon(t, rdb, "k", 3))
			},
			"trimmed": func(rdb redis.UniversalClient) {
				rig.Add(t, rdb, "k", 3)
				rdb.XDel(rig.Ctx(t), "k", abandon(t, rdb, "k", 3)...)
			},
		} {
			s := redistest.Start(t)
			rdb := s.Client(t)
			before(rdb)
			p := rig.NewProxy(t, s.Addr())
			r, _ := open(
				t,
				p.Client(t),
				GroupConfig{
					Key: "k",
					Tuning: Tuning{
						Block:        20 * time.Millisecond,
						ReclaimEvery: 50 * time.Millisecond,
						Capabilities: &way.caps,
					},
				},
			)
			n := p.Requests()
			readNothing(t, r, time.Second)
			if rates[name] == nil {
				rates[name] = map[string]int{}
			}
			rates[name][way.name] = p.Requests() - n
		}
	}
	t.Log(rates)
	for name, rate := range rates {
		// 1 s has at most 50 reads; a server that does not know the options refuses one more.
		if rate["newer"] > rate["baseline"]+5 && rate["newer"] > 70 {
			t.Errorf("%s: %d requests, %d without", name, rate["newer"], rate["baseline"])
		}
	}
}

func setYoung(t *testing.T, rdb redis.UniversalClient, ids []string) {
	for _, id := range ids {
		setPending(t, rdb, "k", "dead", id, 0, 1)
	}
}

// Open detects the features of the server without a key, and with the rights of a reader only.
func TestReadsAreProbed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	admin := s.Client(t)
	has, err := probe.Probe(rig.Ctx(t), admin)
	if err != nil {
		t.Fatal(err)
	}
	want := redisio.Capabilities{Claim: has.Claim, MaxSize: has.MaxSize}
	rules := []string{
		"~mystream*",
		"+xgroup",
		"+xinfo",
		"+xreadgroup",
		"+xautoclaim",
		"+xpending",
		"+xclaim",
		"+xack",
		"+eval",
		"+time",
	}
	if err := redistest.SetUser(rig.Ctx(t), admin, "least", append(rules, "on", ">pw")...); err != nil {
		t.Fatal(err)
	}
	least := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "least", Password: "pw"})
	defer least.Close()
	rig.Add(t, admin, "mystream", 2)
	abandon(t, admin, "mystream", 1)
	r, _ := open(t, least, GroupConfig{Key: "mystream", Tuning: Tuning{Lease: 300 * time.Millisecond}})
	if r.caps != want {
		t.Errorf("found %+v, want %+v", r.caps, want)
	}
	if got := rig.Read(t, r, 2); got[0].Deliveries+got[1].Deliveries != 3 {
		t.Errorf("got %+v", got)
	}
	if keys := admin.Keys(rig.Ctx(t), "*").Val(); len(keys) != 1 {
		t.Errorf("keys %v", keys)
	}
	if groups := admin.XInfoGroups(rig.Ctx(t), "mystream").Val(); len(groups) != 1 {
		t.Errorf("groups %+v", groups)
	}

	// Without the right to ask: no capabilities.
	if err := redistest.SetUser(rig.Ctx(t), admin, "none", append(rules, "-xreadgroup", "on", ">pw")...); err != nil {
		t.Fatal(err)
	}
	none := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "none", Password: "pw"})
	defer none.Close()
	if r, _ = open(t, none, GroupConfig{Key: "mystream"}); r.caps != (redisio.Capabilities{}) {
		t.Errorf("found %+v", r.caps)
	}
}

// If the server has MAXSIZE, it bounds a read by the available byte credits. On other servers the
// same read works without it. A reader with given capabilities does not ask the server.
func TestMaxSize(t *testing.T) {
	has, asked := true, 0
	var reads []string
	rdb := fake(t, func(args []string) string {
		switch {
		case args[len(args)-1] == nowhere: // the reader shows that it lives, every two seconds
			return "*-1\r\n"
		case args[0] == "xgroup":
			return "+OK\r\n"
		case args[0] == "xinfo":
			return "*1\r\n*4\r\n$4\r\nname\r\n$1\r\ng\r\n$17\r\nlast-delivered-id\r\n$3\r\n0-0\r\n"
		case args[0] == "xautoclaim":
			return "*3\r\n$3\r\n0-0\r\n*0\r\n*0\r\n"
		case args[0] == "eval":
			return ":0\r\n"
		case args[0] == "xpending":
			return "*0\r\n"
		case args[0] != "xreadgroup":
			return "-ERR unknown command '" + args[0] + "'\r\n"
		}
		line := strings.Join(args, " ")
		if !has && strings.Contains(line, "maxsize") {
			return "-ERR syntax error\r\n"
		}
		if args[2] != "g" {
			asked++
			if strings.Contains(line, "claim") {
				return "-ERR syntax error\r\n"
			}
			return "-NOGROUP No such key or consumer group\r\n"
		}
		reads = append(reads, line)
		return fmt.Sprintf(
			"*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$%d\r\n%d-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
			2+len(fmt.Sprint(len(reads))),
			len(reads),
		)
	})
	r, _ := open(t, rdb, GroupConfig{Key: "k", Consumer: "c", Tuning: Tuning{Lease: time.Hour, ReapAfter: -1}})
	if r.caps != (redisio.Capabilities{MaxSize: true}) || asked != 2 {
		t.Fatalf("found %+v by %d questions", r.caps, asked)
	}
	given := Tuning{Capabilities: &redisio.Capabilities{Claim: true}}
	if r, _ := open(t, rdb, GroupConfig{Key: "k", Tuning: given}); r.caps != *given.Capabilities || asked != 2 {
		t.Fatalf("told %+v, and %d questions", r.caps, asked)
	}
	next := func(maxBytes int64) string {
		t.Helper()
		var b redisio.Batch
		r.suspect, r.newFirst = false, false
		if err := r.Read(rig.Ctx(t), 100, maxBytes, &b); err != nil || len(b.Entries) != 1 {
			t.Fatal(err, len(b.Entries))
		}
		return reads[len(reads)-1]
	}
	if line := next(12345); !strings.Contains(line, "maxsize 12345 block") {
		t.Error(line)
	}
	if line := next(0); strings.Contains(line, "maxsize") {
		t.Error(line)
	}
	has = false // a failover to an older server
	if line := next(12345); strings.Contains(line, "maxsize") || r.caps != (redisio.Capabilities{}) {
		t.Error(line, r.caps)
	}
}

// BenchmarkConsume reads and acks with and without CLAIM: compare the two of one run.
func BenchmarkConsume(b *testing.B) {
	for _, way := range ways {
		way.caps.MaxSize = false
		b.Run(way.name, func(b *testing.B) {
			rdb, key := redistest.Shared(b).Client(b), redistest.Key(b)
			b.Cleanup(func() { rdb.Del(context.Background(), key) })
			fill(b, rdb, key)
			r := opened(b, rdb, GroupConfig{Key: key, Group: "g", Tuning: Tuning{Capabilities: &way.caps}})
			b.ReportAllocs()
			b.ResetTimer()
			drain(b, r)
		})
	}
}

// BenchmarkTakeOver takes over the entries of a dead consumer. As many entries of a live consumer
// come before them.
func BenchmarkTakeOver(b *testing.B) {
	for _, way := range ways {
		way.caps.MaxSize = false
		b.Run(way.name, func(b *testing.B) {
			rdb, key := redistest.Shared(b).Client(b), redistest.Key(b)
			b.Cleanup(func() { rdb.Del(context.Background(), key) })
			c := context.Background()
			fill(b, rdb, key)
			fill(b, rdb, key)
			rdb.XGroupCreate(c, key, "g", "0")
			for n := 0; n < 2*b.N; {
				name, count := "dead", min(1000, 2*b.N-n)
				if n < b.N {
					name, count = "live", min(1000, b.N-n)
				}
				got, err := rdb.XReadGroup(c,
					&redis.XReadGroupArgs{Group: "g", Consumer: name, Streams: []string{key, ">"},
						Count: int64(count)}).
					Result()
				if err != nil {
					b.Fatal(err)
				}
				if n += len(got[0].Messages); name == "dead" {
					args := []any{"xclaim", key, "g", name, 0}
					for _, m := range got[0].Messages {
						args = append(args, m.ID)
					}
					if err := rdb.Do(c, append(args, "idle", time.Hour.Milliseconds(), "justid")...).Err(); err != nil {
						b.Fatal(err)
					}
				}
			}
			r := opened(
				b,
				rdb,
				GroupConfig{Key: key, Group: "g", Tuning: Tuning{Lease: 10 * time.Minute, Capabilities: &way.caps}},
			)
			b.ReportAllocs()
			b.ResetTimer()
			drain(b, r)
		})
	}
}

func fill(b *testing.B, rdb redis.UniversalClient, key string) {
	w := writers.Open(b, rdb, writer.Config{Key: key, Tuning: writer.Tuning{Pipelines: 4}})
	out := make([]redisio.Outgoing, b.N)
	for i := range out {
		out[i].Fields = redisio.Fields{{Name: "data", Value: make([]byte, 100)}}
	}
	if err := w.Write(context.Background(), out, make([]redisio.Result, b.N)); err != nil {
		b.Fatal(err)
	}
}

func opened(b *testing.B, rdb redis.UniversalClient, cfg GroupConfig) *Group {
	r, err := NewGroup(rdb, cfg)
	if err != nil {
		b.Fatal(err)
	}
	if err := r.Open(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}

func drain(b *testing.B, r *Group) {
	for n := 0; n < b.N; {
		var batch redisio.Batch
		if err := r.Read(context.Background(), 1000, 0, &batch); err != nil {
			b.Fatal(err)
		}
		n += len(batch.Entries)
		if _, err := r.Ack(context.Background(), entryIDs(batch.Entries)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}
