package gostreams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	streams "github.com/reugn/go-streams"
	"github.com/reugn/go-streams/extension"
	goflow "github.com/reugn/go-streams/flow"
	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}

func run(t *testing.T, parts ...flow.Part) error {
	t.Helper()
	return flow.New("g", parts...).Run(t.Context())
}

// numbers writes the numbers below n as lines.
func numbers(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprint("line ", i))
	}
	return lines
}

// elements is a go-streams source of some values.
func elements(values ...any) *extension.ChanSource {
	c := make(chan any, len(values))
	for _, v := range values {
		c <- v
	}
	close(c)
	return extension.NewChanSource(c)
}

// A go-streams source and sink run in one of our graphs. All values are in the file when Run
// returns, and the sink works only once.
func TestSourceAndSink(t *testing.T) {
	in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
	want := numbers(1000)
	if err := os.WriteFile(in, []byte(strings.Join(want, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := operators.Map(
		Source[string](extension.NewFileSource(in)),
		flow.Pure(func(s string) string { return s + "\n" }),
	)
	file := Sink[string](extension.NewFileSink(out))
	if err := run(t, flow.To(lines, file)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if diff := gocmp.Diff(want, strings.Split(strings.TrimSpace(string(got)), "\n")); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := run(t, flow.To(source.Of("x"), file)); !errors.Is(err, ErrCompleted) {
		t.Errorf("the second run: %v", err)
	}
}

func TestSourceWrongType(t *testing.T) {
	snk, got := sink.Collect[string]()
	var faults []error
	policy := flow.OnFault(func(f *flow.Fault) flow.Decision {
		faults = append(faults, f.Err)
		return flow.Drop(f)
	})
	if err := run(t, flow.To(Source[string](elements("a", 2, nil, "d"), policy), snk)); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]string{"a", "d"}, got.Values()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i, want := range []string{"gostreams: element 1 is a int, want a string",
		"gostreams: element 2 is a <nil>, want a string"} {
		if faults[i].Error() != want {
			t.Errorf("fault %d is %v", i, faults[i])
		}
	}
	var wrong *TypeError
	err := run(t, flow.To(Source[string](elements("a", 2)), sink.Discard[string]()))
	if !errors.As(err, &wrong) || *wrong != (TypeError{Position: 1, Got: "int", Want: "string"}) {
		t.Errorf("without a policy: %v", err)
	}
}

// Any element is fine for a graph of an interface type that it implements.
func TestSourceInterface(t *testing.T) {
	snk, got := sink.Collect[fmt.Stringer]()
	src := Source[fmt.Stringer](elements(time.Second, 1), flow.OnFault(flow.Drop))
	if err := run(t, flow.To(src, snk)); err != nil {
		t.Fatal(err)
	}
	if got := got.Values(); len(got) != 1 || got[0] != time.Second {
		t.Errorf("got %v", got)
	}
}

func TestValidate(t *testing.T) {
	err := flow.New("g", flow.To(Source[int](nil), Sink[int](nil))).Validate()
	var fields []string
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		var b *flow.BuildError
		if errors.As(err, &b) {
			fields = append(fields, b.Field)
		}
	}
	slices.Sort(fields)
	if diff := gocmp.Diff([]string{"snk", "src"}, fields); diff != "" {
		t.Error(diff)
	}
}

// slowSink is a go-streams sink that takes its time.
type slowSink struct {
	in   chan any
	done chan struct{}
	got  []any
}

func newSlowSink(each time.Duration) *slowSink {
	s := &slowSink{in: make(chan any), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		for v := range s.in {
			time.Sleep(each)
			s.got = append(s.got, v)
		}
	}()
	return s
}

func (s *slowSink) In() chan<- any   { return s.in }
func (s *slowSink) AwaitCompletion() { <-s.done }

// The sink finishes the values it has taken, all others go back, and its goroutine ends.
func TestSinkStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		snk := newSlowSink(time.Second)
		src, fed := flowtest.Feed[int](t)
		r, err := flow.New("g", flow.To(src, Sink[int](snk))).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fed.Send(0, 1, 2, 3, 4)
		time.Sleep(2500 * time.Millisecond)
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		<-snk.done
		if diff := gocmp.Diff([]any{0, 1, 2}, snk.got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// The graph waits for the sink, but not beyond its drain timeout.
func TestSinkNeverCompletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		snk := newSlowSink(time.Hour)
		r, err := flow.New("g", flow.To(source.Of(1), Sink[int](snk)), flow.AckTimeout(time.Second)).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r.State() != flow.Active {
			t.Errorf("the graph is %v", r.State())
		}
		if _, err := r.Drain(t.Context()); !errors.Is(err, flow.ErrDrainTimeout) {
			t.Errorf("got %v", err)
		}
		<-snk.done
	})
}

// Our source runs into a go-streams flow and file. Then a go-streams file and flow run into our
// sink.
func TestOutletAndInlet(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	out := NewOutlet(t.Context(), source.Of("a", "b", "c"))
	out.Via(goflow.NewMap(func(s string) string { return strings.ToUpper(s) + "\n" }, 1)).
		To(extension.NewFileSink(name))
	if err := out.Wait(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "A\nB\nC\n" {
		t.Errorf("got %q, %v", got, err)
	}
	snk, got := sink.Collect[string]()
	in := NewInlet(t.Context(), snk)
	extension.NewFileSource(name).Via(goflow.NewMap(strings.ToLower, 1)).To(in)
	if err := in.Wait(); err != nil {
		t.Error(err)
	}
	if diff := gocmp.Diff([]string{"a", "b", "c"}, got.Values()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The channel is closed however the graph ends.
func TestOutletEnds(t *testing.T) {
	boom := errors.New("boom")
	failing := NewOutlet(t.Context(), source.Seq(func(yield func(int, error) bool) {
		if yield(1, nil) {
			yield(0, boom)
		}
	}))
	var got []any
	for v := range failing.Out() {
		got = append(got, v)
	}
	if err := failing.Wait(); !errors.Is(err, boom) || !gocmp.Equal([]any{1}, got) {
		t.Errorf("got %v, %v", got, err)
	}
	invalid := NewOutlet(t.Context(), source.Chan[int](nil))
	for v := range invalid.Out() {
		t.Errorf("got %v", v)
	}
	var b *flow.BuildError
	if err := invalid.Wait(); !errors.As(err, &b) {
		t.Errorf("got %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		drained := NewOutlet(ctx, source.Chan(make(chan int)))
		out := drained.Out()
		synctest.Wait()
		cancel()
		if _, ok := <-out; ok {
			t.Error("there is something in the channel")
		}
		if err := drained.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// Elements that an Inlet's graph does not take are not discarded. Their sender blocks, and a call
// that waits for the sink reports the end.
func TestFault_D16_InletBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		in := NewInlet(ctx, sink.Discard[string]())
		in.In() <- 1
		in.AwaitCompletion()
		var wrong *TypeError
		if err := in.Wait(); !errors.As(err, &wrong) || *wrong != (TypeError{Position: 0, Got: "int", Want: "string"}) {
			t.Errorf("got %v", err)
		}
		sent := make(chan struct{})
		go func() {
			in.In() <- "x"
			close(in.In())
			close(sent)
		}()
		synctest.Wait()
		select {
		case <-sent:
			t.Error("an element was taken after the graph's end")
		default:
		}
		cancel() // the caller gives up, and go-streams ends
		<-sent
	})
}

// When its context ends, an Inlet does not discard elements in flight. It reports a channel that is
// never closed.
func TestFault_D16_InletReadsToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		snk, got := sink.Collect[int]()
		in := NewInlet(ctx, snk)
		in.In() <- 1
		synctest.Wait()
		cancel()
		synctest.Wait()
		in.In() <- 2
		close(in.In())
		if err := in.Wait(); err != nil {
			t.Errorf("got %v", err)
		}
		if diff := gocmp.Diff([]int{1, 2}, got.Values()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		ctx, cancel = context.WithCancel(t.Context())
		in = NewInlet(ctx, sink.Discard[int]())
		in.In() <- 1
		cancel() // and the channel is never closed
		if err := in.Wait(); !errors.Is(err, ErrNotClosed) {
			t.Errorf("of a channel that stays open: %v", err)
		}
	})
}

// counted is a go-streams flow that counts elements.
func counted(n *atomic.Int64) streams.Flow {
	return goflow.NewMap(func(i int) int {
		n.Add(1)
		return i
	}, 4)
}

// Two ends that share a context lose nothing when it is cancelled.
func TestFault_D16_EndsShareACancelledContext(t *testing.T) {
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		src := source.Seq(func(yield func(int, error) bool) {
			for i := 0; yield(i, nil); i++ {
			}
		})
		var through, written atomic.Int64
		snk := sink.Func(func(context.Context, int) error {
			if written.Add(1) == 1000 {
				cancel()
			}
			return nil
		})
		from, to := Ends(ctx, src, snk)
		from.Via(counted(&through)).Via(goflow.NewMap(func(i int) int { return i }, 4)).To(to)
		if err := to.Wait(); err != nil {
			t.Fatal(err)
		}
		if through.Load() != written.Load() || written.Load() < 1000 {
			t.Fatalf("%d went in, %d were written", through.Load(), written.Load())
		}
		cancel()
	}
}

// When the sink's graph stops, the source's graph stops as well, and values not handed over go
// back.
func TestFault_D16_EndsStopTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, fed := flowtest.Feed[int](t)
		boom := errors.New("boom")
		taken, stopped := make(chan struct{}), make(chan struct{})
		snk := sink.Func(func(_ context.Context, i int) error {
			if i == 10 {
				<-taken // so that something is lost
				return flow.Permanent(boom)
			}
			return nil
		}, flow.OnFault(flow.Stop))
		from, to := Ends(t.Context(), src, snk)
		pass := goflow.NewMap(func(i int) int { // stops behind the value that fails: the sink's graph reads ahead
			if i == 11 {
				close(taken)
				<-stopped
			}
			return i
		}, 1)
		done := make(chan struct{})
		go func() {
			defer close(done)
			from.Via(pass).To(to)
		}()
		for i := range 100 {
			fed.Send(i)
		}
		synctest.Wait() // both graphs have stopped
		close(stopped)
		err := to.Wait() // of both
		if !errors.Is(err, boom) {
			t.Errorf("ended with %v", err)
		}
		acked := 0
		for _, s := range fed.Settlements() {
			if s.Outcome == flow.Acked {
				acked++
			}
		}
		if acked < 10 || acked > 20 {
			t.Errorf("%d of 100 are acknowledged, 10 were written", acked)
		}
		<-done // To has returned, and go-streams has ended
		if !strings.Contains(err.Error(), "elements that left go-streams") {
			t.Errorf("what was lost is not told: %v", err)
		}
	})
}

// A flow behind Func acknowledges entries when the sink has written their results. The graph is
// stopped in the middle, like a process that is killed. No entry is acknowledged before its results
// are written.
func TestFault_D16_FuncLosesNothing(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	const n = 2000
	pipe := rdb.Pipeline()
	for i := range n {
		pipe.XAdd(t.Context(), redistest.Entry(key, "data", strconv.Itoa(i)))
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	twice := Func[int, int](func(in streams.Source) streams.Source {
		return in.Via(goflow.NewMap(func(i int) int { return i }, 2)).
			Via(goflow.NewFlatMap(func(i int) []int { return []int{i, i} }, 1))
	})
	written := make(map[int]int)
	settled := false // all entries
	for life := 0; !settled; life++ {
		if life > 50 {
			t.Fatalf("%d of %d after %d lives", len(written), n, life)
		}
		stop := make(chan struct{})
		calls := 0
		snk := sink.Func(func(_ context.Context, i int) error {
			written[i]++
			if calls++; calls == 1500 {
				close(stop)
			}
			return nil
		})
		in := source.Stream(
			rdb,
			source.StreamConfig[int]{
				Key:    key,
				Group:  "g",
				Tuning: reader.Tuning{Block: 50 * time.Millisecond, Lease: 300 * time.Millisecond},
			},
		)
		out := operators.Unbatch(operators.Map(operators.Batch(in, 64, 10*time.Millisecond), twice))
		r, err := flow.New("g", flow.To(out, snk)).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		redistest.Soon(t, "some are written, or all", func() bool {
			select {
			case <-stop:
				return true
			default:
			}
			p, err := rdb.XInfoGroups(t.Context(), key).Result()
			settled = err == nil && len(p) == 1 && p[0].Pending+p[0].Lag == 0
			return settled
		})
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if written[i] < 2 {
			t.Fatalf("%d was written %d times, want twice at least", i, written[i])
		}
	}
}

func TestFunc(t *testing.T) {
	upper := Func[string, string](func(in streams.Source) streams.Source {
		return in.Via(goflow.NewMap(strings.ToUpper, 1)).
			Via(goflow.NewFilter(func(s string) bool { return s != "B" }, 1))
	})
	for _, in := range [][]string{{"a", "b", "c"}, nil, {"b"}} {
		got, err := upper(t.Context(), in)
		var want []string
		for _, s := range in {
			if s != "b" {
				want = append(want, strings.ToUpper(s))
			}
		}
		if diff := gocmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	wrong := Func[string, int](func(in streams.Source) streams.Source { return in })
	var is *TypeError
	if _, err := wrong(t.Context(), []string{"a", "b", "c"}); !errors.As(err, &is) || is.Want != "int" {
		t.Errorf("of another type: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("over")
	cancel(over)
	if _, err := upper(ctx, numbers(1000)); !errors.Is(err, over) {
		t.Errorf("with a context that is done: %v", err)
	}
	sorted := func(a, b string) int { return cmp.Compare(a, b) }
	if got, err := upper(t.Context(), numbers(500)); err != nil || len(got) != 500 ||
		!slices.IsSortedFunc(got[:10], sorted) {
		t.Errorf("%d, %v", len(got), err)
	}
}
