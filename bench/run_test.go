package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// TestCases runs every implementation of every case on a real server, with few messages, and twice,
// so that each run meets the state that the previous one left. Cases that mostly wait for the
// server run in parallel.
func TestCases(t *testing.T) {
	t.Run("all", func(t *testing.T) {
		for _, c := range Cases() {
			t.Run(c.Name, func(t *testing.T) {
				if c.Redis && c.Name != "memory" { // memory measures the heap of the whole process
					t.Parallel()
				}
				testCase(t, c, patientClient(t, redistest.Shared(t)))
			})
		}
	})
	keys, err := redistest.Shared(t).Client(t).Keys(t.Context(), "bench:*").Result()
	if err != nil || len(keys) > 0 {
		t.Errorf("left on the server: %q, %v", keys, err)
	}
}

// patientClient returns a client that does not repeat a command, which would be counted twice, because the
// machine was busy.
func patientClient(t *testing.T, s *redistest.Server) *redis.Client {
	t.Helper()
	o := s.Options()
	o.ReadTimeout = redistest.Patience
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() }) // nothing is in flight
	return rdb
}

func testCase(t *testing.T, c Case, rdb redis.UniversalClient) {
	n := 3000
	switch {
	case c.Name == "latency":
		n = 50
	case c.Name == "overload":
		n = 200 // takes a second
	case strings.HasPrefix(c.Name, "calls-"), strings.HasPrefix(c.Name, "http-"):
		n = 600 // each is a round trip
	}
	payloads := []int{8, 100}
	if c.Payload > 0 {
		payloads = []int{c.Payload} // the case takes no other
	}
	for _, payload := range payloads {
		var results []Result
		err := Run(t.Context(), Options{
			Cases: []Case{c}, N: n, Payloads: []int{payload}, Reps: 2, Redis: rdb,
			Start: func(context.Context) (redis.UniversalClient, func() error, error) {
				return patientClient(t, redistest.Start(t)), func() error { return nil }, nil
			},
			Each: func(r []Result) { results = append(results, r...) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(results) != len(c.Implementations) {
			t.Fatalf("%d results of %d implementations", len(results), len(c.Implementations))
		}
		for _, r := range results {
			if r.Seconds <= 0 || r.PerSecond <= 0 || r.Ratio <= 0 || r.N < 1 || r.Reps != 2 {
				t.Errorf("not measured: %+v", r)
			}
			if r.Implementation == c.Reference && r.Ratio != 1 {
				t.Errorf("the reference has a ratio of %v to itself", r.Ratio)
			}
		}
	}
}

// TestOneMessage runs the smallest possible number of messages.
func TestOneMessage(t *testing.T) {
	rdb := patientClient(t, redistest.Shared(t))
	cases, err := Select("all")
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), Options{Cases: cases, N: 1, Reps: 1, Redis: rdb}); err != nil {
		t.Fatal(err)
	}
}

func TestRunWithoutRedis(t *testing.T) {
	var said []string
	var results []Result
	err := Run(t.Context(), Options{
		Cases: []Case{produce(), maps()}, N: 1000, Reps: 1,
		Logf: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) },
		Each: func(r []Result) { results = append(results, r...) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(said) == 0 || said[0] != "produce: skipped: it needs a Redis server" {
		t.Errorf("said %q", said)
	}
	for _, r := range results {
		if r.Case != "inproc-maps" {
			t.Errorf("ran %s", r.Case)
		}
	}
}

// TestWrongResultFails checks that implementations that lose, repeat or change messages are
// reported as failed.
func TestWrongResultFails(t *testing.T) {
	rdb := patientClient(t, redistest.Shared(t))
	ack := func(ctx context.Context, t *Trial) error {
		return readBatches(ctx, t, 100, func(batch []redis.XMessage) error {
			for _, m := range batch[1:] { // the first of each batch stays pending
				if err := t.Redis.XAck(ctx, t.In, t.Group, m.ID).Err(); err != nil {
					return err
				}
			}
			for _, m := range batch {
				t.Got.addString(m.Values[Field].(string))
			}
			return nil
		})
	}
	wrong := func(name string, of Case, run runFunc) (Case, string) {
		of.Implementations, of.Reference = []Implementation{{Name: name, Run: run}}, name
		return of, name
	}
	for _, test := range []struct {
		name string
		of   Case
		run  runFunc
		want string
	}{
		{"changes", maps(), func(_ context.Context, t *Trial) error {
			for v := range t.N {
				t.Got.AddInt(v)
			}
			return nil
		}, "the chain's output"},
		{"loses", produce(), func(ctx context.Context, t *Trial) error {
			t.N--
			defer func() { t.N++ }()
			return writeOneByOne(ctx, t)
		}, "has 99 entries, want 100"},
		{"repeats", produce(), func(ctx context.Context, t *Trial) error {
			for range t.N {
				if err := t.Redis.XAdd(ctx, &redis.XAddArgs{Stream: t.Out,
					Values: []any{Field, payloadsOf(t.Payload).at(1)}}).Err(); err != nil {
					return err
				}
			}
			return nil
		}, "checksum"},
		{"no-acks", consume(), ack, "pending"},
		{"reads-nothing", consume(), func(context.Context, *Trial) error { return nil }, "the payloads"},
		{"maps-nothing", transform(), func(context.Context, *Trial) error { return nil }, "want 100"},
		{"fails", transform(), func(context.Context, *Trial) error { return errors.New("out of luck") }, "out of luck"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, name := wrong(test.name, test.of, test.run)
			err := Run(t.Context(), Options{Cases: []Case{c}, N: 100, Reps: 1, Redis: rdb})
			if err == nil || !strings.Contains(err.Error(), test.want) ||
				!strings.Contains(err.Error(), c.Name+"/"+name) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestInterruptedRunReportsWhatItHas(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	runs := 0
	c := maps()
	c.Implementations = []Implementation{{Name: "loop", Run: func(ctx context.Context, t *Trial) error {
		if runs++; runs == 3 {
			cancel(enough)
		}
		return closures(threeMaps)(ctx, t)
	}}}
	c.Reference = "loop"
	var results []Result
	err := Run(ctx, Options{Cases: []Case{c, c}, N: 100, Each: func(r []Result) { results = append(results, r...) }})
	if !errors.Is(err, enough) || len(results) != 1 || results[0].Reps != 2 {
		t.Errorf("%v, %+v; want one result of two repetitions", err, results)
	}
}

func TestSelect(t *testing.T) {
	for _, test := range []struct {
		names, want []string
	}{
		{[]string{"produce", "produce"}, []string{"produce"}},
		{[]string{"inproc"}, []string{"inproc-maps", "inproc-stages", "inproc-async", "inproc-workers"}},
		{[]string{"memory", "inproc-maps"}, []string{"memory", "inproc-maps"}},
		{[]string{"all"}, []string{"inproc-maps", "inproc-stages", "inproc-async", "inproc-workers",
			"produce", "consume", "transform", "latency", "calls-1", "calls-64", "calls-512", "http-64"}},
	} {
		got, err := Select(test.names...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, namesOf(got)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.names, diff)
		}
	}
	if _, err := Select("consume", "nonsense"); err == nil || !strings.Contains(err.Error(), `"nonsense"`) {
		t.Errorf("error %v", err)
	}
}

func TestCasesHaveTheirReference(t *testing.T) {
	for _, c := range Cases() {
		if !slices.ContainsFunc(c.Implementations, func(i Implementation) bool { return i.Name == c.Reference }) {
			t.Errorf("%s: no implementation has the name %q", c.Name, c.Reference)
		}
		if c.Messages(1024) < 1 || c.Check == nil || c.About == "" {
			t.Errorf("%s is incomplete", c.Name)
		}
	}
}

func TestJSONLines(t *testing.T) {
	want := []Result{
		{
			Case:           "produce",
			Implementation: "default",
			Ours:           true,
			N:              7,
			PayloadBytes:   100,
			Seconds:        0.5,
			PerSecond:      14,
			Allocs:         0.25,
			Bytes:          3,
			Ratio:          0.9,
			Reference:      "by-hand",
			Reps:           5,
		},
		{
			Case:           "latency",
			Implementation: "default",
			Ours:           true,
			N:              7,
			P50Micros:      200,
			P99Micros:      900,
			Reference:      "by-hand",
		},
	}
	var b bytes.Buffer
	if err := WriteJSON(&b, want); err != nil {
		t.Fatal(err)
	}
	var got []Result
	for lines := bufio.NewScanner(&b); lines.Scan(); {
		var r Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		got = append(got, r)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPayloads(t *testing.T) {
	for _, n := range []int{0, 1, 100, ring, ring + 3, 3*ring + 1} {
		var got, alike Tally
		p := payloadsOf(20)
		for i := range n {
			got.AddPayload(p.at(i))
			alike.addString(string(p.at(i)))
		}
		if want := wantPayloads(n, 20); got != want || alike != want {
			t.Errorf("%d payloads: %+v and %+v, want %+v", n, got, alike, want)
		}
	}
}

func TestRatios(t *testing.T) {
	if got := median([]float64{5, 1, 3}); got != 3 {
		t.Errorf("median %v, want 3", got)
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median %v, want 2.5", got)
	}
	of := func(rates ...int) (ts []*Trial) {
		for _, r := range rates {
			ts = append(ts, &Trial{N: r, elapsed: 1e9})
		}
		return ts
	}
	if got := ratio(of(10, 300, 50), of(20, 100, 50)); got != 1 { // 0.5, 3, 1
		t.Errorf("ratio %v, want 1", got)
	}
}

func TestTable(t *testing.T) {
	results := []Result{
		{
			Case:           "a<b",
			Implementation: "default",
			Ours:           true,
			Ratio:          0.9,
			Reference:      "ref",
			PayloadBytes:   8,
			PerSecond:      10,
		},
		{Case: "a<b", Implementation: "ref", Ratio: 1, Reference: "ref", PayloadBytes: 8, PerSecond: 11},
	}
	var table strings.Builder
	if err := WriteTable(&table, results); err != nil {
		t.Fatal(err)
	}
	if s := table.String(); !strings.Contains(s, "0.900") || !strings.Contains(s, "a<b, 8 B (ratio to ref") {
		t.Errorf("the table:\n%s", s)
	}
}

// TestRecovered checks that recovery needs several usual intervals without refusals.
func TestRecovered(t *testing.T) {
	after := func(slow, no time.Duration) (all []arrival) {
		for due := time.Duration(0); due < 2*time.Second; due += 5 * time.Millisecond {
			a := arrival{due: due, took: time.Millisecond, what: answered}
			if due < slow {
				a.took = time.Second
			}
			if due == no {
				a.what = refused
			}
			all = append(all, a)
		}
		return all
	}
	for _, test := range []struct{ slow, no, want time.Duration }{
		{0, -1, 0},
		{300 * time.Millisecond, -1, 300 * time.Millisecond},
		{300 * time.Millisecond, 400 * time.Millisecond, 450 * time.Millisecond},
		{300 * time.Millisecond, 1900 * time.Millisecond, 300 * time.Millisecond},
		{2 * time.Second, -1, 2 * time.Second},
	} {
		if got := recovered(after(test.slow, test.no), 2*time.Millisecond); got != test.want {
			t.Errorf("slow until %v, one refused at %v: %v, want %v", test.slow, test.no, got, test.want)
		}
	}
}

// TestOverloadIsJudged checks that a broken promise is reported.
func TestOverloadIsJudged(t *testing.T) {
	ms := func(n int, d time.Duration) []time.Duration {
		return slices.Repeat([]time.Duration{d * time.Millisecond}, n)
	}
	fine := func() verdict {
		return verdict{
			sustained: 1000,
			judged:    true,
			recovery:  time.Second,
			loads: []load{{goodput: 500, answers: ms(500, 9)}, {goodput: 900, answers: ms(900, 10)},
				{goodput: 980, answers: ms(1000, 70), refusals: ms(1000, 1)}, {goodput: 500, answers: ms(500, 9)}},
		}
	}
	for name, test := range map[string]struct {
		change func(*verdict)
		want   string
	}{
		"fine":     {func(*verdict) {}, ""},
		"failures": {func(v *verdict) { v.loads[1].failures = 1 }, "1 requests were neither answered nor refused"},
		"at half":  {func(v *verdict) { v.loads[0].refusals = ms(1, 1) }, "at half, 1 requests were refused"},
		"near":     {func(v *verdict) { v.loads[1].refusals = ms(20, 1) }, "at 0.9, 2.17 % were refused"},
		"goodput":  {func(v *verdict) { v.loads[2].goodput = 800 }, "at twice, 0.80 of the sustainable rate"},
		"p99": {
			func(v *verdict) { v.loads[2].answers = append(ms(980, 70), ms(20, 600)...) },
			"p99 of answers at twice is 600ms",
		},
		"steady":    {func(v *verdict) { v.steady = ms(100, 400) }, "after the first two seconds is 400ms"},
		"p50":       {func(v *verdict) { v.loads[2].answers = ms(1000, 200) }, "p50 of answers at twice is 200ms"},
		"late no":   {func(v *verdict) { v.loads[2].refusals = ms(1000, 30) }, "p99 of refusals at twice is 30ms"},
		"recovery":  {func(v *verdict) { v.recovery = 3 * time.Second }, "within 3s"},
		"busy":      {func(v *verdict) { v.recovery, v.loads[1].late = 3*time.Second, ms(10, 50) }, ""},
		"too short": {func(v *verdict) { v.recovery, v.judged = 3*time.Second, false }, ""},
	} {
		v := fine()
		test.change(&v)
		err := v.judge()
		if test.want == "" && err != nil ||
			test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if strings.Contains(v.table(), "FAIL") != (test.want != "") {
			t.Errorf("%s:\n%s", name, v.table())
		}
	}
}
