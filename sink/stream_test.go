package sink_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
)

// ledger is a source of given messages that records how each was settled.
type ledger[T any] struct {
	msgs []flow.Message[T]
	mu   sync.Mutex
	ends map[int]flow.Settlement
}

func ledgerOf[T any](values ...T) *ledger[T] {
	l := &ledger[T]{ends: make(map[int]flow.Settlement)}
	for i, v := range values {
		l.msgs = append(l.msgs, flow.NewMessage(v, flow.Meta{ID: fmt.Sprint(i)}))
	}
	return l
}

func numbers(n int) *ledger[string] {
	l := ledgerOf[string]()
	for i := range n {
		l.msgs = append(l.msgs, flow.NewMessage(fmt.Sprint(i), flow.Meta{}))
	}
	return l
}

func (l *ledger[T]) source(opts ...flow.StageOption) flow.Source[T] {
	opts = append([]flow.StageOption{flow.Traits{Redelivers: true, DeadLetters: true}}, opts...)
	return flow.NewSource("ledger", func() flow.Reader[T] { return &ledgerReader[T]{l, 0} }, opts...)
}

type ledgerReader[T any] struct {
	*ledger[T]
	next int
}

func (r *ledgerReader[T]) Read(_ context.Context, in *flow.Intake[T]) error {
	for ; r.next < len(r.msgs) && in.Room() > 0; r.next++ {
		in.Add(r.msgs[r.next].Value, r.msgs[r.next].Meta(), 0)
	}
	if r.next == len(r.msgs) {
		return io.EOF
	}
	return nil
}

func (r *ledgerReader[T]) Commit(_ context.Context, settled []flow.Settlement) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range settled {
		r.ends[int(s.Seq)] = s
	}
	return nil
}

// outcomes returns the number of settlements per outcome.
func (l *ledger[T]) outcomes() map[flow.Outcome]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := make(map[flow.Outcome]int)
	for _, s := range l.ends {
		n[s.Outcome]++
	}
	return n
}

func (l *ledger[T]) settled() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ends)
}

// data returns the data fields of a stream.
func data(t *testing.T, rdb *redis.Client, key string) []string {
	t.Helper()
	entries, err := rdb.XRange(context.Background(), key, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, e := range entries {
		v, _ := e.Values["data"].(string)
		values = append(values, v)
	}
	return values
}

func TestStreamKeepsOrder(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	l := numbers(5000)
	if err := flow.New("order", flow.To(l.source(), sink.Stream(rdb, sink.StreamConfig[string]{Key: key}))).Run(
		t.Context()); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range l.msgs {
		want = append(want, m.Value)
	}
	if diff := cmp.Diff(want, data(t, rdb, key)); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 5000}, l.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the caller's client: %v", err)
	}
}

func TestStreamPipelines(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	l := numbers(5000)
	cfg := sink.StreamConfig[string]{Key: key, Tuning: writer.Tuning{Pipelines: 3, Depth: 32}}
	if err := flow.New("pipelines", flow.To(l.source(), sink.Stream(rdb, cfg))).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range l.msgs {
		want = append(want, m.Value)
	}
	got := data(t, rdb, key)
	sort.Strings(want)
	sort.Strings(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
}

func TestStreamEntries(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	meta := flow.Meta{
		ID:        "5-0",
		MessageID: "m-1",
		Key:       "k",
		Type:      "t",
		ReplyTo:   "r",
		Deadline:  time.UnixMilli(7),
		Headers: flow.Headers{
			{Name: "a", Value: "1"}, {Name: "traceparent", Value: "00-1"}, {Name: "b", Value: "2"}},
	}
	for name, test := range map[string]struct {
		cfg  sink.StreamConfig[string]
		want map[string]any
	}{
		"native": {sink.StreamConfig[string]{},
			map[string]any{"data": "x", "id": "m-1", "key": "k", "type": "t", "reply": "r", "limit": "1", "h:a": "1",
				"h:b":         "2",
				"traceparent": "00-1"}},
		"doubtful": {sink.StreamConfig[string]{DedupeWindow: time.Minute, IDFor: func(flow.Message[string]) string {
			return ""
		}}, map[string]any{"data": "x", "id": "m-1", "key": "k", "type": "t", "reply": "r", "limit": "1", "h:a": "1",
			"h:b":         "2",
			"traceparent": "00-1", "dup": "1"}},
		"bare": {sink.StreamConfig[string]{OmitMeta: true}, map[string]any{"data": "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.cfg.Key = key + name
			meta.MaybeDuplicate = name == "doubtful"
			l := &ledger[string]{
				msgs: []flow.Message[string]{flow.NewMessage("x", meta)},
				ends: map[int]flow.Settlement{},
			}
			if err := flow.New("meta", flow.To(l.source(), sink.Stream(rdb, test.cfg))).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, rdb.XRange(t.Context(), key+name, "-", "+").Val()[0].Values); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStreamKeyFor(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	cfg := sink.StreamConfig[string]{KeyFor: func(m flow.Message[string]) string {
		if m.Value == "nowhere" {
			return ""
		}
		return key + ":" + m.Value[:1]
	}}
	l := ledgerOf("a1", "b1", "nowhere", "a2")
	if err := flow.New("keys", flow.To(l.source(), sink.Stream(rdb, cfg))).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{"a": data(t, rdb, key+":a"), "b": data(t, rdb, key+":b")}
	if diff := cmp.Diff(map[string][]string{"a": {"a1", "a2"}, "b": {"b1"}}, got); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	if l.ends[2].Outcome != flow.Dead {
		t.Errorf("a message without a stream: %v, want dead", l.ends[2].Outcome)
	}
}

func TestStreamOnlyExisting(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rdb.XAdd(t.Context(), redistest.Entry(key+":a", "data", "first"))
	cfg := sink.StreamConfig[string]{
		Tuning: writer.Tuning{OnlyExisting: true},
		KeyFor: func(m flow.Message[string]) string { return key + ":" + m.Value[:1] },
	}
	l := ledgerOf("a1", "b1", "a2")
	if err := flow.New("mailboxes", flow.To(l.source(), sink.Stream(rdb, cfg))).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"first", "a1", "a2"}, data(t, rdb, key+":a")); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	if n := rdb.Exists(t.Context(), key+":b").Val(); n != 0 {
		t.Error("a stream was made that did not exist")
	}
	for i, s := range l.ends {
		if want := []flow.Outcome{flow.Acked, flow.Dropped, flow.Acked}[i]; s.Outcome != want {
			t.Errorf("message %d: %v, want %v", i, s.Outcome, want)
		}
	}
}

func TestStreamTrims(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	cfg := sink.StreamConfig[string]{Key: key, MaxLen: 100, Tuning: writer.Tuning{Exact: true}}
	if err := flow.New("trim", flow.To(numbers(1000).source(), sink.Stream(rdb, cfg))).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := data(t, rdb, key); len(got) != 100 || got[99] != "999" {
		t.Errorf("%d entries, the last %s", len(got), got[len(got)-1])
	}
}

// explosive panics on the value "panic".
type explosive struct{ redisio.Codec[string] }

func (e explosive) Append(dst []byte, v string) ([]byte, error) {
	switch v {
	case "panic":
		panic("cannot")
	case "error":
		return append(dst, "half"...), errors.New("cannot")
	}
	return e.Codec.Append(dst, v)
}

// Messages that cannot be written are rejected individually.
func TestStreamRejects(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	l := ledgerOf("a", strings.Repeat("x", 101), "b", "panic", "c", "error", "d")
	cfg := sink.StreamConfig[string]{
		Key:    key,
		Tuning: writer.Tuning{MaxPayload: 104},
		Codec:  explosive{redisio.String()},
	}
	if err := flow.New("reject", flow.To(l.source(), sink.Stream(rdb, cfg))).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d"}, data(t, rdb, key)); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	var large *redisio.TooLargeError
	if err := l.ends[1].Err(); !errors.As(err, &large) || large.Size != 105 || large.Limit != 104 {
		t.Errorf("too large: %v", err)
	}
	var panicked *flow.PanicError
	if err := l.ends[3].Err(); !errors.As(err, &panicked) {
		t.Errorf("panic: %v", err)
	}
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 4, flow.Dead: 3}, l.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	nan := ledgerOf(1, math.NaN(), 2)
	if err := flow.New("nan", flow.To(nan.source(), sink.Stream(rdb, sink.StreamConfig[float64]{
		Key: key + ":nan"}))).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if nan.ends[1].Outcome != flow.Dead || len(data(t, rdb, key+":nan")) != 2 {
		t.Errorf("NaN: %v", nan.outcomes())
	}
}

// A chunk of many MiB is written in parts. Order and outcomes are those of a single one.
func TestStreamLargeChunks(t *testing.T) {
	rdb, key := redistest.Start(t).Client(t), redistest.Key(t)
	l := ledgerOf[string]()
	var want []string
	dead := make(map[int]bool)
	for i := range 60 {
		v := fmt.Sprintf("%02d", i) + strings.Repeat("x", 300<<10)
		if i%7 == 3 {
			v += strings.Repeat("x", 800<<10) // above MaxPayload
			dead[i] = true
		} else {
			want = append(want, v)
		}
		l.msgs = append(l.msgs, flow.NewMessage(v, flow.Meta{}))
	}
	to := sink.Stream(rdb, sink.StreamConfig[string]{Key: key}, flow.Within(time.Second))
	if err := flow.New("large", flow.To(l.source(), to)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := data(t, rdb, key); !slices.Equal(got, want) {
		t.Errorf("%d entries, want %d in order", len(got), len(want))
	}
	for i := range l.msgs {
		if s := l.ends[i]; (s.Outcome == flow.Dead) != dead[i] || (s.Outcome == flow.Acked) == dead[i] {
			t.Errorf("message %d: %v", i, s.Outcome)
		}
	}
}

// While Redis is unreachable the sink waits and the source stops. Nothing is lost, and nothing
// fails.
func TestStreamWaitsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		how  string
		once time.Duration
	}{{"killed", 0}, {"frozen", 0}, {"full", 0}, {"killed", time.Minute}, {"frozen", time.Minute}, {"full", time.Minute}} {
		how := test.how
		t.Run(fmt.Sprint(how, test.once), func(t *testing.T) {
			s := redistest.Start(t, redistest.Args("--appendonly", "yes", "--appendfsync", "always"))
			admin, key := s.Client(t), redistest.Key(t)
			rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), ReadTimeout: 200 * time.Millisecond})
			defer rdb.Close()
			var unknown, notWritten atomic.Int64
			retried := make(chan struct{}, 1000)
			cfg := sink.StreamConfig[string]{
				Key:          key,
				Tuning:       writer.Tuning{Depth: 10},
				DedupeWindow: test.once,
				OnRetry: func(r sink.StreamRetry) {
					unknown.Add(int64(r.Unknown))
					notWritten.Add(int64(r.NotWritten))
					retried <- struct{}{}
					panic("in a hook")
				},
			}
			l := numbers(2000)
			half, goOn := make(chan struct{}), make(chan struct{})
			src := flow.Step(l.source(flow.MaxInFlight(100)), "half", func() flow.StepFunc[string, string] {
				return func(_ context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
					if m.Value == "1000" { // with 100 credits, most before it are written
						close(half)
						<-goOn
					}
					return m, true, nil
				}
			})
			faults := 0
			g := flow.New("away", flow.To(src, sink.Stream(rdb, cfg)), flow.OnEvent(flow.Hooks{
				Faulted: func(f *flow.Fault, _ flow.Decision) { faults++ }}))
			r, err := g.Start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Stop()
			<-half
			hurt(t, how, s, admin)
			for len(retried) > 0 { // on a slow machine writes may have failed before
				<-retried
			}
			early := unknown.Load() + notWritten.Load()
			close(goOn)
			<-retried
			heal(t, how, s, admin)
			if err := r.Wait(); err != nil {
				t.Fatal(err)
			}
			seen := make(map[string]bool)
			got := data(t, admin, key)
			for _, v := range got {
				seen[v] = true
			}
			if len(seen) != 2000 || faults != 0 {
				t.Errorf("%d different values of 2000, %d faults", len(seen), faults)
			}
			extra := int64(len(got) - len(seen))
			if extra > unknown.Load() || test.once > 0 && extra > 0 ||
				how == "frozen" && early == 0 && unknown.Load() == 0 {
				t.Errorf("%d duplicates, %d reported as unknown", extra, unknown.Load())
			}
			if marks := marked(t, admin, key); test.once == 0 && marks < extra || test.once > 0 && marks > 0 {
				t.Errorf("%d duplicates, %d marked", extra, marks)
			}
			if notWritten.Load()+unknown.Load() == 0 {
				t.Error("no retry was reported")
			}
			if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 2000}, l.outcomes()); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		})
	}
}

// marked returns the number of entries marked as possible duplicates.
func marked(t *testing.T, rdb *redis.Client, key string) (n int64) {
	t.Helper()
	for _, e := range rdb.XRange(context.Background(), key, "-", "+").Val() {
		if e.Values["dup"] == "1" {
			n++
		}
	}
	return n
}

func hurt(t *testing.T, how string, s *redistest.Server, admin *redis.Client) {
	t.Helper()
	switch how {
	case "killed":
		s.Kill(t)
	case "frozen":
		s.Pause(t)
	case "full":
		if err := admin.ConfigSet(context.Background(), "maxmemory", "1").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func heal(t *testing.T, how string, s *redistest.Server, admin *redis.Client) {
	t.Helper()
	switch how {
	case "killed":
		s.Restart(t)
	case "frozen":
		s.Resume(t)
	case "full":
		if err := admin.ConfigSet(context.Background(), "maxmemory", "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// A stop does not wait for Redis: unwritten messages go back to their source.
func TestStreamStopsWhileRedisIsAway(t *testing.T) {
	s := redistest.Start(t)
	rdb, key := s.Client(t), redistest.Key(t)
	retried := make(chan struct{}, 1000)
	cfg := sink.StreamConfig[string]{Key: key, OnRetry: func(sink.StreamRetry) { retried <- struct{}{} }}
	gate := make(chan struct{})
	l := numbers(10)
	var seen atomic.Int64
	src := flow.Step(l.source(), "gate", func() flow.StepFunc[string, string] {
		return func(_ context.Context, m flow.Message[string]) (flow.Message[string], bool, error) {
			if seen.Add(1) > 1 {
				<-gate
			}
			return m, true, nil
		}
	}, flow.Workers(2), flow.Unordered())
	// If the sink waits for Redis, the stop fails after that time.
	const long = redistest.Patience
	r, err := flow.New("stop", flow.To(src, sink.Stream(rdb, cfg)), flow.KillGrace(long), flow.AckTimeout(long)).
		Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the sink has written, and knows", func() bool {
		return rdb.XLen(t.Context(), key).Val() == 1 && l.outcomes()[flow.Acked] == 1
	})
	s.Kill(t)
	close(gate)
	<-retried
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 1, flow.Nacked: 9}, l.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// The key changes its type while the graph runs: the graph stops instead of dead-lettering
// everything.
func TestStreamPermanentErrorsStop(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rdb.Set(t.Context(), key+":text", "x", 0)
	var stage *flow.StageError
	err := flow.New("start", flow.To(numbers(1).source(), sink.Stream(rdb, sink.StreamConfig[string]{
		Key: key + ":text"}))).
		Run(t.Context())
	if !errors.As(err, &stage) || stage.Restarts != 0 || stage.Stage != "stream" ||
		!redis.HasErrorPrefix(err, "WRONGTYPE") {
		t.Errorf("at the start: %v", err)
	}

	l := numbers(300)
	cfg := sink.StreamConfig[string]{
		Key:    key,
		Tuning: writer.Tuning{Depth: 10},
		KeyFor: func(m flow.Message[string]) string {
			if m.Value == "105" {
				rdb.Rename(t.Context(), key, key+":was")
				rdb.Set(t.Context(), key, "x", 0)
			}
			return ""
		},
	}
	err = flow.New("later", flow.To(l.source(), sink.Stream(rdb, cfg))).Run(t.Context())
	if !errors.As(err, &stage) || stage.Stage != "stream" || !redis.HasErrorPrefix(err, "WRONGTYPE") {
		t.Errorf("later: %v", err)
	}
	n := l.outcomes()
	if n[flow.Dead] != 0 || n[flow.Failed] < 1 || n[flow.Acked] != len(data(t, rdb, key+":was")) || l.settled() != 300 {
		t.Errorf("outcomes %v, %d written", n, len(data(t, rdb, key+":was")))
	}
}

// One message that named a key of another type stopped the graph after every restart.
func TestFault_D6_KeyOfAMessageIsItsFault(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for name, c := range map[string]struct {
		own bool // the config has a Key, too
		at  func(flow.Message[string]) time.Time
	}{
		"with a Key":    {own: true},
		"without a Key": {},
		"put off":       {own: true, at: func(flow.Message[string]) time.Time { return time.Now().Add(time.Hour) }},
	} {
		t.Run(name, func(t *testing.T) {
			key := redistest.Key(t)
			text := key + ":text"
			rdb.Set(t.Context(), text, "x", 0)
			rdb.Set(t.Context(), "{"+text+"}:later", "x", 0)
			cfg := sink.StreamConfig[string]{
				Tuning: writer.Tuning{Depth: 10},
				At:     c.at,
				KeyFor: func(m flow.Message[string]) string {
					switch {
					case m.Value == "105":
						return text
					case c.own:
						return ""
					}
					return key
				},
			}
			if c.own {
				cfg.Key = key
			}
			l := numbers(300)
			if err := flow.New("g", flow.To(l.source(), sink.Stream(rdb, cfg))).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := l.outcomes(); n[flow.Dead] != 1 || n[flow.Acked] != 299 {
				t.Errorf("outcomes %v", n)
			}
		})
	}
}

func TestStreamConfigMistakes(t *testing.T) {
	bad := sink.StreamConfig[string]{
		MaxLen: -1,
		Tuning: writer.Tuning{
			MaxAge:     -1,
			MinID:      "x",
			Exact:      true,
			MaxPayload: -1,
			Pipelines:  -1,
			Depth:      -1,
			HardCap:    -1,
			WhenFull:   9,
			DedupeIDs:  1,
			Durability: writer.Durability{Replicas: 1},
		},
		Wait:   -1,
		Codec:  redisio.String(),
		Format: redisio.Native(redisio.String()),
		IDFor:  func(flow.Message[string]) string { return "" },
	}
	err := flow.New("bad", flow.To(numbers(1).source(), sink.Stream(nil, bad))).Validate()
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
			if one.Stage != "stream" || one.Issue == "" || one.Fix == "" {
				t.Errorf("a mistake without place, issue or fix: %+v", one)
			}
		}
	}
	walk(err)
	sort.Strings(got)
	want := []string{
		"DedupeIDs",
		"DedupeIDs",
		"Depth",
		"Durability",
		"Format",
		"HardCap",
		"IDFor",
		"Key",
		"MaxAge",
		"MaxLen",
		"MaxPayload",
		"MinID",
		"Pipelines",
		"Wait",
		"WhenFull",
		"rdb",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s\nerror: %v", diff, err)
	}
}
