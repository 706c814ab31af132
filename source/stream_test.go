package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// stand is a Redis server, a client like a user's, and a stream that only this test uses.
type stand struct {
	*redistest.Server
	rdb *redis.Client
	key string
}

func newStand(t testing.TB) *stand { return standOn(t, redistest.Shared(t)) }

// newPrivateStand has a server of its own, so that the test can break or measure it.
func newPrivateStand(t testing.TB, opts ...redistest.Option) *stand {
	return standOn(t, redistest.Start(t, opts...))
}

func standOn(t testing.TB, s *redistest.Server) *stand {
	return &stand{s, s.Client(t), redistest.Key(t)}
}

// nobody is an address where no server listens. A free port may become that of another process.
const nobody = "127.0.0.1:1"

// unhurried adds to the parts of a graph that it ends by itself on a slow machine as well.
func unhurried(parts ...flow.Part) []flow.Part {
	const long = redistest.Patience
	return append([]flow.Part{flow.DrainTimeout(long), flow.AckTimeout(long), flow.KillGrace(long)}, parts...)
}

// config is a StreamConfig for tests: short waits, a lease that does not end by itself.
func config[T any](s *stand) source.StreamConfig[T] {
	return source.StreamConfig[T]{
		Key:    s.key,
		Group:  "g",
		Tuning: reader.Tuning{Block: 20 * time.Millisecond, Lease: time.Minute},
	}
}

// fill writes n native entries, "0", "1", ….
func (s *stand) fill(t testing.TB, n int) []string {
	t.Helper()
	pipe := s.rdb.Pipeline()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
		pipe.XAdd(t.Context(), redistest.Entry(s.key, "data", want[i]))
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	return want
}

// group returns the numbers of pending and of unread entries.
func (s *stand) group(t testing.TB) (pending, lag int64) {
	t.Helper()
	groups, err := s.rdb.XInfoGroups(context.Background(), s.key).Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(groups) != 1 {
		return 0, math.MaxInt64
	}
	return groups[0].Pending, groups[0].Lag
}

func (s *stand) wantSettled(t testing.TB) {
	t.Helper()
	if pending, lag := s.group(t); pending != 0 || lag != 0 {
		t.Errorf("%d pending and %d unread, want none", pending, lag)
	}
}

// inbox is a sink that keeps the values it receives.
type inbox[T any] struct {
	mu   sync.Mutex
	msgs []flow.Message[T]
}

func (b *inbox[T]) sink() flow.Sink[T] {
	return flow.NewSink("inbox", func() flow.Writer[T] {
		return flow.WriterFunc[T](func(_ context.Context, chunk []flow.Message[T]) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.msgs = append(b.msgs, chunk...)
			return nil
		})
	})
}

func (b *inbox[T]) values() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	var vs []T
	for _, m := range b.msgs {
		vs = append(vs, m.Value)
	}
	return vs
}

func (b *inbox[T]) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.msgs)
}

// start starts a graph that is stopped with the test.
func start(t testing.TB, parts ...flow.Part) *flow.Running {
	t.Helper()
	r, err := flow.New("test", unhurried(parts...)...).Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Stop() })
	return r
}

// drain drains a graph.
func drain(t testing.TB, r *flow.Running) {
	t.Helper()
	if _, err := r.Drain(context.Background()); err != nil {
		t.Fatalf("drain: %v", err)
	}
}

// handle is a stage of a function that sees messages.
func handle[T any](
	in flow.Source[T],
	f func(context.Context, flow.Message[T]) error,
	opts ...flow.StageOption,
) flow.Source[T] {
	return flow.Step(in, "handle", func() flow.StepFunc[T, T] {
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			return m, true, f(ctx, m)
		}
	}, opts...)
}

// messages is a source of messages with metadata.
func messages[T any](msgs ...flow.Message[T]) flow.Source[T] {
	return flow.NewSource("messages", func() flow.Reader[T] { return &messageReader[T]{msgs} })
}

type messageReader[T any] struct{ left []flow.Message[T] }

func (r *messageReader[T]) Read(_ context.Context, in *flow.Intake[T]) error {
	for len(r.left) > 0 && in.Room() > 0 {
		in.Add(r.left[0].Value, r.left[0].Meta(), 0)
		r.left = r.left[1:]
	}
	if len(r.left) == 0 {
		return io.EOF
	}
	return nil
}

type order struct {
	ID    string  `json:"id" stream:"id"`
	Total float64 `json:"total" stream:"total"`
	Paid  bool    `json:"paid" stream:"paid"`
}

func TestStreamRoundTrip(t *testing.T) {
	meta := flow.Meta{
		MessageID: "m-1",
		Key:       "customer 7",
		Type:      "placed",
		ReplyTo:   "answers",
		Deadline:  time.Now().Add(time.Hour),
		Headers: flow.Headers{
			{Name: "lang", Value: "en"}, {Name: "lang", Value: "de"}, {Name: "traceparent", Value: "00-01-02-01"},
			{Name: "tracestate", Value: "vendor=1"}, {Name: "baggage", Value: "tenant=t1"}},
	}
	t.Run("json", func(t *testing.T) { roundTrip(t, nil, meta, meta, order{"a", 1.5, true}, order{"b", 2, false}) })
	t.Run("string", func(t *testing.T) { roundTrip(t, nil, meta, meta, "one", "", "zwölf\x00\r\n") })
	t.Run("bytes", func(t *testing.T) { roundTrip(t, nil, meta, meta, []byte("one"), []byte{0, 255}) })
	t.Run("raw", func(t *testing.T) {
		roundTrip(
			t,
			nil,
			meta,
			flow.Meta{},
			redisio.Fields{{Name: "k", Value: []byte("1")}, {Name: "k", Value: []byte("2")}, {Name: "a", Value: nil}},
		)
	})
	t.Run("struct", func(t *testing.T) {
		f, err := redisio.RawStruct[order]()
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, f, meta, flow.Meta{}, order{"a", 1.5, true}, order{"b", 2, false})
	})
}

// roundTrip writes values with the metadata sent, and wants them back with the metadata got.
func roundTrip[T any](t *testing.T, format redisio.Format[T], sent, got flow.Meta, values ...T) {
	s := newStand(t)
	var msgs []flow.Message[T]
	for _, v := range values {
		msgs = append(msgs, flow.NewMessage(v, sent))
	}
	to := sink.Stream(s.rdb, sink.StreamConfig[T]{Key: s.key, Format: format})
	if err := flow.New("write", flow.To(messages(msgs...), to)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var in inbox[T]
	cfg := config[T](s)
	cfg.Format = format
	r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "all read", func() bool { return in.count() == len(values) })
	drain(t, r)
	s.wantSettled(t)
	if diff := cmp.Diff(values, in.values(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	for _, m := range in.msgs {
		id, err := redisio.ParseID(m.ID())
		if err != nil || time.Since(m.Time()).Abs() > time.Minute || !m.Time().Equal(id.Time()) || m.Attempt() != 1 {
			t.Errorf("id %q, time %v, attempt %d", m.ID(), m.Time(), m.Attempt())
		}
		had := m.Meta()
		had.ID, had.Time, had.Attempt = "", time.Time{}, 0
		if diff := cmp.Diff(got, had, cmpopts.EquateApproxTime(time.Minute)); diff != "" { // a limit travels
			t.Errorf("metadata (-want +got):\n%s", diff)
		}
	}
}

func TestStreamReadersShareGroup(t *testing.T) {
	s := newStand(t)
	var in inbox[string]
	cfg := config[string](s)
	cfg.MaxCount = 10
	a := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	b := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	want := s.fill(t, 1000)
	redistest.Soon(t, "all read", func() bool { return in.count() >= len(want) })
	drain(t, a)
	drain(t, b)
	s.wantSettled(t)
	got := in.values()
	sort.Strings(got)
	sort.Strings(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if err := s.rdb.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the caller's client: %v", err)
	}
	if n := len(s.rdb.XInfoConsumers(t.Context(), s.key, "g").Val()); n != 0 {
		t.Errorf("%d consumers left behind", n)
	}
}

// Entries that have not been written are pending. When the graph is stopped, other readers get them
// at once, not after the lease.
func TestStreamAcksAfterSink(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	want := s.fill(t, 20)
	writing := make(chan struct{}, 1)
	stuck := flow.NewSink("stuck", func() flow.Writer[string] {
		return flow.WriterFunc[string](func(ctx context.Context, _ []flow.Message[string]) error {
			select {
			case writing <- struct{}{}:
			default:
			}
			<-ctx.Done()
			return context.Cause(ctx)
		})
	})
	cfg := config[string](s)
	cfg.Lease = time.Hour // more than the test waits
	r := start(
		t,
		flow.To(source.Stream(s.rdb, cfg), stuck, flow.Traits{Holds: 20, HoldsFor: time.Hour}),
	) // so that all 20 are read
	<-writing
	redistest.Soon(t, "all delivered", func() bool { pending, _ := s.group(t); return pending == 20 })
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := r.Report().Released; got != 20 {
		t.Errorf("%d entries released, want 20", got)
	}
	if pending, _ := s.group(t); pending != 20 {
		t.Errorf("%d pending after the stop, want 20", pending)
	}
	var in inbox[string]
	next := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "all taken over", func() bool { return in.count() == 20 })
	drain(t, next)
	s.wantSettled(t)
	got := in.values()
	slices.SortFunc(got, func(a, b string) int { return len(a)*100 - len(b)*100 + strings.Compare(a, b) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	for _, m := range in.msgs { // the first was being written: its delivery counts
		if n := m.Attempt(); n > 2 || m.Value == "0" && n != 2 {
			t.Errorf("message %s: attempt %d", m.Value, n)
		}
	}
}

func TestStreamDeliversAgain(t *testing.T) {
	t.Parallel()
	const delay = 300 * time.Millisecond
	for name, test := range map[string]struct {
		err  error
		wait time.Duration
	}{
		"nack":         {errors.New("not now"), 0},
		"retry later":  {flow.RetryAfter(delay, errors.New("not now")), delay},
		"given a term": {fmt.Errorf("wrapped: %w", flow.RetryAfter(delay, errors.New("not now"))), delay},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			s.fill(t, 3)
			var in inbox[string]
			var failed time.Time
			src := handle(
				source.Stream(s.rdb, config[string](s)),
				func(_ context.Context, m flow.Message[string]) error {
					if m.Value == "1" && m.Attempt() == 1 {
						failed = time.Now()
						return test.err
					}
					if m.Value == "1" && time.Since(failed) < test.wait {
						t.Errorf("delivered again after %v, want %v at least", time.Since(failed), test.wait)
					}
					return nil
				},
				flow.OnFault(flow.Nack),
			)
			r := start(t, flow.To(src, in.sink()))
			redistest.Soon(t, "all done", func() bool { return in.count() == 3 })
			drain(t, r)
			s.wantSettled(t)
			last := in.msgs[2]
			if last.Value != "1" || last.Attempt() != 2 {
				t.Errorf("the last was %q at attempt %d, want 1 at attempt 2", last.Value, last.Attempt())
			}
		})
	}
}

func TestStreamDeadLetters(t *testing.T) {
	s := newStand(t)
	ctx := t.Context()
	s.fill(t, 2)
	bad := s.rdb.Do(ctx, "xadd", s.key, "*", "k", "1", "k", "2", "note", "no data").Val().(string)
	good := s.rdb.XAdd(ctx, redistest.Entry(s.key, "data", "2")).Val()
	var in inbox[string]
	cfg := config[string](s)
	cfg.MaxDeliveries = 3
	attempts := 0
	src := handle(source.Stream(s.rdb, cfg), func(_ context.Context, m flow.Message[string]) error {
		switch m.Value {
		case "0":
			return flow.Reject(errors.New("hopeless"))
		case "1":
			attempts++
			return errors.New("fails")
		}
		return nil
	}, flow.OnFault(flow.Nack), flow.Name("check"))
	r := start(t, flow.To(src, in.sink()))
	dead := s.key + ":dead"
	redistest.Soon(t, "three dead letters", func() bool { return s.rdb.XLen(ctx, dead).Val() == 3 })
	redistest.Soon(t, "the good one", func() bool { return in.count() == 1 })
	drain(t, r)
	s.wantSettled(t)
	if in.msgs[0].ID() != good {
		t.Errorf("delivered %s, want %s", in.msgs[0].ID(), good)
	}
	if attempts != 3 {
		t.Errorf("%d attempts, want 3", attempts)
	}
	var letters inbox[redisio.Fields]
	all := source.Range(s.rdb, source.RangeConfig[redisio.Fields]{Key: dead})
	if err := flow.New("letters", flow.To(all, letters.sink())).Run(ctx); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, fields := range letters.values() {
		var flat []string
		for _, f := range fields {
			switch f.Name {
			case "dead:id":
				continue
			case "dead:time":
				if at, err := time.Parse(time.RFC3339Nano, string(f.Value)); err != nil ||
					time.Since(at).Abs() > time.Minute {
					t.Errorf("time %q: %v", f.Value, err)
				}
				continue
			}
			flat = append(flat, f.Name+"="+string(f.Value))
		}
		id, _ := fields.Get("dead:id")
		if string(id) == bad {
			got["bad"] = flat
		} else {
			got[flat[0]] = flat
		}
	}
	origin := []string{"dead:key=" + s.key, "dead:group=g"}
	want := map[string][]string{
		"data=0": append(
			[]string{
				"data=0",
				"dead:error=rejected: hopeless",
				"dead:cause=hopeless",
				"dead:graph=test",
				"dead:stage=check",
				"dead:attempts=1",
			},
			origin...),
		"data=1": append(
			[]string{"data=1", "dead:error=fails", "dead:graph=test", "dead:stage=check", "dead:attempts=3"},
			origin...),
		"bad": append([]string{"k=1", "k=2", "note=no data",
			"dead:error=redisio: decode entry " + bad + `, field "data": redisio: no data field`, "dead:cause=redisio: no data field",
			"dead:graph=test", "dead:stage=stream", "dead:attempts=1"}, origin...),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

// panicky panics on some values.
type panicky struct{ redisio.Codec[string] }

func (p panicky) Decode(src []byte) (string, error) {
	if string(src) == "1" {
		panic("cannot")
	}
	return p.Codec.Decode(src)
}

func TestStreamCodecPanics(t *testing.T) {
	s := newStand(t)
	s.fill(t, 3)
	var in inbox[string]
	cfg := config[string](s)
	cfg.Codec = panicky{redisio.String()}
	r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "a dead letter", func() bool { return s.rdb.XLen(t.Context(), s.key+":dead").Val() == 1 })
	redistest.Soon(t, "the others", func() bool { return in.count() == 2 })
	drain(t, r)
	s.wantSettled(t)
	letter := s.rdb.XRange(t.Context(), s.key+":dead", "-", "+").Val()[0].Values
	if text := letter["dead:error"].(string); !strings.Contains(text, "panic: cannot") || letter["data"] != "1" ||
		!strings.Contains(letter["dead:stack"].(string), "panicky.Decode") {
		t.Errorf("dead letter %v", letter)
	}
}

// Credits are the backpressure: if the sink blocks, the reader stops, and the pending list never
// exceeds the credits.
func TestStreamCreditsBoundPending(t *testing.T) {
	s := newPrivateStand(t)
	s.fill(t, 300)
	const most = 5
	gate := make(chan struct{})
	var worst int64
	slow := flow.NewSink("slow", func() flow.Writer[string] {
		return flow.WriterFunc[string](func(context.Context, []flow.Message[string]) error {
			<-gate
			pending, _ := s.group(t)
			worst = max(worst, pending)
			return nil
		})
	}, flow.ChunkSize(3))
	cfg := config[string](s)
	cfg.MaxInFlight = most
	r := start(t, flow.To(source.Stream(s.rdb, cfg), slow))
	redistest.Soon(t, "all credits are used", func() bool { pending, _ := s.group(t); return pending == most })
	since := time.Now()
	before := s.calls(t, "xreadgroup")
	for time.Since(since) < 10*cfg.Block {
		if pending, lag := s.group(t); pending != most || lag != 300-most {
			t.Fatalf("%d pending and %d unread while the sink stands still", pending, lag)
		}
	}
	if n := s.calls(t, "xreadgroup") - before; n > signsOfLife(since) {
		t.Errorf("%d reads without credits", n)
	}
	close(gate)
	redistest.Soon(t, "all done", func() bool { pending, lag := s.group(t); return pending+lag == 0 })
	drain(t, r)
	if worst > most {
		t.Errorf("%d pending at worst, want %d at most", worst, most)
	}
}

func TestStreamDrainFinishesWhatWasRead(t *testing.T) {
	s := newStand(t)
	s.fill(t, 5000)
	out := s.key + ":out"
	ctx, cancel := context.WithCancel(t.Context())
	src := handle(source.Stream(s.rdb, config[string](s)), func(_ context.Context, m flow.Message[string]) error {
		if m.Value == "1234" {
			cancel()
		}
		return nil
	})
	to := flow.To(src, sink.Stream(s.rdb, sink.StreamConfig[string]{Key: out}))
	if err := flow.New("drain", unhurried(to)...).Run(ctx); err != nil {
		t.Fatal(err)
	}
	pending, lag := s.group(t)
	written := s.rdb.XLen(t.Context(), out).Val()
	if written != 5000-lag-pending || written < 1235 { // the pending entry was given back before it reached a handler
		t.Errorf("%d pending, %d unread, %d written of 5000", pending, lag, written)
	}
}

// An entry that was trimmed while it was pending is lost: it is acked and reported, and not delivered.
func TestStreamPassesOverTombstones(t *testing.T) {
	s := newStand(t)
	s.fill(t, 3)
	ctx := t.Context()
	s.rdb.XGroupCreate(ctx, s.key, "g", "0")
	read := s.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "me", Streams: []string{s.key, ">"},
		Count: 2}).
		Val()
	s.rdb.XDel(ctx, s.key, read[0].Messages[0].ID)
	var in inbox[string]
	trimmed := make(chan int, 10)
	cfg := config[string](s)
	cfg.Consumer = "me" // its previous life
	cfg.OnEvent = func(e redisio.Event) {
		if e.Kind == redisio.EventTrimmed {
			trimmed <- e.Count
		}
		panic("in a hook")
	}
	r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "the other two", func() bool { return in.count() == 2 })
	if n := <-trimmed; n != 1 {
		t.Errorf("%d reported as trimmed, want 1", n)
	}
	drain(t, r)
	s.wantSettled(t)
	if diff := cmp.Diff([]string{"1", "2"}, in.values()); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestStreamAtMostOnce(t *testing.T) {
	s := newStand(t)
	s.fill(t, 10)
	var in inbox[string]
	cfg := config[string](s)
	cfg.AtMostOnce = true
	src := handle(source.Stream(s.rdb, cfg), func(_ context.Context, m flow.Message[string]) error {
		if m.Value == "3" {
			return errors.New("fails")
		}
		return nil
	}, flow.OnFault(flow.Nack))
	r := start(t, flow.To(src, in.sink()))
	redistest.Soon(t, "the others", func() bool { return in.count() == 9 })
	drain(t, r)
	s.wantSettled(t)
	if n := s.rdb.Exists(t.Context(), s.key+":dead").Val(); n != 0 {
		t.Error("there are dead letters")
	}
}

func TestStreamMeter(t *testing.T) {
	s := newStand(t)
	s.fill(t, 10)
	cfg := config[string](s)
	cfg.MaxInFlight = 4
	gate := make(chan struct{})
	src := handle(source.Stream(s.rdb, cfg), func(context.Context, flow.Message[string]) error { <-gate; return nil })
	r := start(t, flow.To(src, (&inbox[string]{}).sink()))
	redistest.Soon(t, "four in flight", func() bool {
		for _, src := range r.Snapshot(t.Context()).Sources {
			return src.Pending == 4 && src.Lag == 6
		}
		return false
	})
	close(gate)
	drain(t, r)
}

func TestStreamConfigMistakes(t *testing.T) {
	bad := source.StreamConfig[string]{
		Tuning: reader.Tuning{Block: time.Minute, MaxCount: -1, Lease: -1, DeadMaxLen: -1}, Wait: -1,
		Codec: redisio.String(), Format: redisio.Native(redisio.String()), AtMostOnce: true, MaxDeliveries: 3,
	}
	src := source.Stream(nil, bad, flow.MaxBytes(-1))
	err := flow.New("bad", flow.To(src, (&inbox[string]{}).sink())).Validate()
	wantFields(t, err, "stream", "rdb", "Format", "Key", "Group", "Block", "MaxCount", "Lease", "Wait", "AtMostOnce",
		"MaxBytes")

	once := source.StreamConfig[string]{
		Key:        "k",
		Group:      "g",
		AtMostOnce: true,
		Tuning:     reader.Tuning{DeadMaxLen: 5},
	} // it was silently ignored
	err = flow.New("bad", flow.To(source.Stream(nil, once), (&inbox[string]{}).sink())).Validate()
	wantFields(t, err, "stream", "rdb", "AtMostOnce")

	// A cluster client does not dial until it is used.
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer cluster.Close()
	for _, test := range []struct{ key, dead, field string }{
		{"orders", "", ""},
		{"{orders}:new", "", ""},
		{"orders", "{orders}:lost", ""},
		{"{orders}:new", "lost:{orders}", ""},
		{"odd}", "", "DeadKey"},
		{"orders", "orders:lost", "DeadKey"},
	} {
		src := source.Stream(cluster, source.StreamConfig[string]{Key: test.key, Group: "g", DeadKey: test.dead})
		err := flow.New("cluster", flow.To(src, (&inbox[string]{}).sink())).Validate()
		if test.field == "" && err != nil {
			t.Errorf("key %q, dead %q: %v", test.key, test.dead, err)
		}
		if test.field != "" {
			wantFields(t, err, "stream", test.field)
		}
	}
}

// wantFields checks that err has one BuildError with a fix for each field of the stage, and no others.
func wantFields(t *testing.T, err error, stage string, fields ...string) {
	t.Helper()
	var got []string
	var walk func(error)
	walk = func(err error) {
		var one *flow.BuildError
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, err := range many.Unwrap() {
				walk(err)
			}
		} else if errors.As(err, &one) {
			got = append(got, one.Field)
			if one.Stage != stage || one.Issue == "" || one.Fix == "" {
				t.Errorf("a mistake without place, issue or fix: %+v", one)
			}
		}
	}
	walk(err)
	sort.Strings(got)
	sort.Strings(fields)
	if diff := cmp.Diff(fields, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s\nerror: %v", diff, err)
	}
}

// The in-process server is for first runs. The same graph gives the same results on it.
func TestStreamEmbedded(t *testing.T) {
	e, err := embedded.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	rdb := e.Client()
	defer rdb.Close()
	for i := range 100 {
		rdb.XAdd(t.Context(), redistest.Entry("in", "data", fmt.Sprint(i)))
	}
	src := handle(
		source.Stream(
			rdb,
			source.StreamConfig[string]{Key: "in", Group: "g", Tuning: reader.Tuning{Block: 20 * time.Millisecond}},
		),
		func(_ context.Context, m flow.Message[string]) error {
			if m.Value == "7" {
				return flow.Reject(errors.New("hopeless"))
			}
			return nil
		},
	)
	r := start(t, flow.To(src, sink.Stream(rdb, sink.StreamConfig[string]{Key: "out"})))
	redistest.Soon(t, "all through", func() bool {
		return rdb.XLen(t.Context(), "out").Val() == 99 && rdb.XLen(t.Context(), "in:dead").Val() == 1
	})
	drain(t, r)
	if p := rdb.XPending(t.Context(), "in", "g").Val(); p.Count != 0 {
		t.Errorf("%d pending", p.Count)
	}
}

// TestStreamBuriesWhatKillsItsReaders: an entry that kills its process never fails, so its
// deliveries are counted instead.
func TestStreamBuriesWhatKillsItsReaders(t *testing.T) {
	s := newStand(t)
	ctx := t.Context()
	s.fill(t, 1)
	cfg := config[string](s)
	cfg.MaxDeliveries, cfg.Lease = 3, 300*time.Millisecond
	if err := s.rdb.XGroupCreate(ctx, s.key, cfg.Group, "0").Err(); err != nil {
		t.Fatal(err)
	}
	read := s.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: cfg.Group, Consumer: "victim", Streams: []string{s.key, ">"}, Count: 1,
	}).Val()
	id := read[0].Messages[0].ID
	// Readers count one more for the last delivery.
	if err := s.rdb.Do(ctx, "xclaim", s.key, cfg.Group, "victim", "0", id, "idle", "1000", "retrycount",
		"4").Err(); err != nil {
		t.Fatal(err)
	}
	var in inbox[string]
	r := start(t, flow.To(source.Stream(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "a dead letter", func() bool { return s.rdb.XLen(ctx, s.key+":dead").Val() == 1 })
	drain(t, r)
	s.wantSettled(t)
	letter := s.rdb.XRange(ctx, s.key+":dead", "-", "+").Val()[0].Values
	if in.count() != 0 || letter["dead:id"] != id || letter["dead:attempts"] != "4" || letter["data"] != "0" {
		t.Errorf("handled %d times, letter %v", in.count(), letter)
	}
}

// TestStreamLogs: the graph's log contains the events of a reader and the dead letters.
func TestStreamLogs(t *testing.T) {
	s := newStand(t)
	ctx := t.Context()
	s.fill(t, 1)
	var log lockedBuffer
	src := handle(source.Stream(s.rdb, config[string](s)), func(context.Context, flow.Message[string]) error {
		return flow.Reject(errors.New("hopeless"))
	})
	var in inbox[string]
	r := start(t, flow.To(src, in.sink()), flow.Log(slog.New(zerolog.NewSlogHandler(zerolog.New(&log)))))
	redistest.Soon(t, "a dead letter", func() bool { return s.rdb.XLen(ctx, s.key+":dead").Val() == 1 })
	if err := s.rdb.XGroupDestroy(ctx, s.key, config[string](s).Group).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(
		t,
		"a line about the group",
		func() bool { return strings.Contains(log.String(), "stream: group recreated") },
	)
	drain(t, r)
	if !strings.Contains(log.String(), "moved to the dead letters") {
		t.Errorf("log:\n%s", log.String())
	}
}

// TestStreamOfNilClient: a nil pointer in the interface is a nil client.
func TestStreamOfNilClient(t *testing.T) {
	var rdb *redis.Client
	src := source.Stream(rdb, source.StreamConfig[string]{Key: "k", Group: "g"})
	err := flow.New("g", flow.To(src, (&inbox[string]{}).sink())).Validate()
	if err == nil || !strings.Contains(err.Error(), "the Redis client is nil") {
		t.Errorf("got %v", err)
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
