package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
)

func ints(n int) []int {
	v := make([]int, n)
	for i := range v {
		v[i] = i
	}
	return v
}

// TestSources: each bounded source yields all its values in order, each settled once.
func TestSources(t *testing.T) {
	filled := func(n int) <-chan int {
		c := make(chan int, n)
		for i := range n {
			c <- i
		}
		close(c)
		return c
	}
	pairs := func(n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
		}
	}
	for _, n := range []int{0, 1, 256, 10_000} {
		for name, src := range map[string]flow.Source[int]{
			"of":     Of(ints(n)...),
			"seq":    Seq(pairs(n)),
			"values": Values(slices.Values(ints(n)), flow.MaxInFlight(7)),
			"chan":   Chan(filled(n)),
		} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				var r rig[int]
				g := r.graph(src)
				if err := g.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(ints(n), append([]int{}, r.got()...)); diff != "" {
					t.Errorf("values (-want +got):\n%s", diff)
				}
				if n > 0 {
					if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: n}, r.settled()); diff != "" {
						t.Errorf("settled (-want +got):\n%s", diff)
					}
				}
			})
		}
	}
}

func TestOfRunsTwice(t *testing.T) {
	values := ints(3)
	var r rig[int]
	g := r.graph(Of(values...))
	values[0] = 99 // Of must not keep the caller's slice
	for range 2 {
		if err := g.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]int{0, 1, 2, 0, 1, 2}, r.got()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// counter is a sequence that records how far it was pulled and whether it was ended.
type counter struct {
	pulled int
	ended  int
	fail   error
	at     int // where it fails
}

func (c *counter) seq(yield func(int, error) bool) {
	defer func() { c.ended++ }()
	for i := 0; ; i++ {
		if c.fail != nil && i == c.at {
			yield(0, c.fail)
			return
		}
		c.pulled = i + 1
		if !yield(i, nil) {
			return
		}
	}
}

func TestSeqIsPulledByDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{}
		open := make(chan struct{})
		r := rig[int]{on: func(ctx context.Context, _ int) error {
			select {
			case <-open:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}}
		run := start(t, r.graph(Seq(c.seq, flow.MaxInFlight(10), flow.ChunkSize(4))))
		synctest.Wait()
		if c.pulled != 10 {
			t.Errorf("pulled %d values with 10 credits", c.pulled)
		}
		for range 5 {
			open <- struct{}{}
		}
		time.Sleep(time.Second) // the committer checks by itself while the sink is busy
		synctest.Wait()
		if c.pulled != 15 {
			t.Errorf("pulled %d values with 10 credits and 5 settled", c.pulled)
		}
		if err := run.Stop(); err != nil {
			t.Error(err)
		}
		if c.ended != 1 {
			t.Errorf("the sequence was ended %d times", c.ended)
		}
		if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 5, flow.Nacked: 10}, r.settled()); diff != "" {
			t.Errorf("settled (-want +got):\n%s", diff)
		}
	})
}

func TestSeqDrains(t *testing.T) {
	c := &counter{}
	var r rig[int]
	over := make(chan struct{})
	seq := func(yield func(int, error) bool) {
		defer close(over)
		c.seq(yield)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.on = func(_ context.Context, v int) error {
		if v == 1000 {
			cancel()
		}
		return nil
	}
	if err := r.graph(Seq(seq)).Run(ctx); err != nil {
		t.Fatal(err)
	}
	<-over // the graph does not wait long for it
	got := r.got()
	if diff := cmp.Diff(ints(len(got)), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.ended != 1 {
		t.Errorf("the sequence was ended %d times", c.ended)
	}
	if c.pulled > len(got)+1 {
		t.Errorf("pulled %d, handled %d", c.pulled, len(got))
	}
}

// TestSeqError: values before the error are settled normally, even if that takes long.
func TestSeqError(t *testing.T) {
	for _, at := range []int{0, 1, 256, 700, -1, -256} {
		late := at < 0
		at = max(at, -at)
		t.Run(fmt.Sprint(at, late), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				boom := errors.New("boom")
				c := &counter{fail: boom, at: at}
				seq := func(yield func(int, error) bool) {
					for v, err := range c.seq {
						if err != nil && late {
							time.Sleep(time.Hour) // all before it has long settled
						}
						if !yield(v, err) {
							return
						}
					}
				}
				r := rig[int]{on: func(ctx context.Context, v int) error {
					select {
					case <-time.After(time.Millisecond):
						return nil
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}}
				err := r.graph(Seq(seq)).Run(t.Context())
				var stage *flow.StageError
				if !errors.Is(err, boom) || !errors.As(err, &stage) || stage.Stage != "seq" {
					t.Fatalf("got %v", err)
				}
				if at > 0 {
					if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: at}, r.settled()); diff != "" {
						t.Errorf("settled (-want +got):\n%s", diff)
					}
				}
				if c.ended != 1 {
					t.Errorf("the sequence was ended %d times", c.ended)
				}
			})
		})
	}
}

func TestSeqPanic(t *testing.T) {
	var r rig[int]
	g := r.graph(Values(func(yield func(int) bool) {
		yield(1)
		panic("oh")
	}), flow.Restarts(5, time.Minute, 0))
	err := g.Run(t.Context())
	var p *flow.PanicError
	if !errors.As(err, &p) || p.Value != "oh" || !strings.Contains(string(p.Stack), "TestSeqPanic") {
		t.Fatalf("got %v", err)
	}
	if diff := cmp.Diff([]int{1}, r.got()); diff != "" { // and not once more after a restart
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSeqBlocks: a sequence that blocks delays neither the values it has yielded nor the drain.
func TestSeqBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var r rig[int]
		run := start(t, r.graph(Values(func(yield func(int) bool) {
			if yield(1) && yield(2) {
				<-release
				yield(3)
			}
		})))
		synctest.Wait()
		if diff := cmp.Diff([]int{1, 2}, r.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		began := time.Now()
		drain(t, run)
		if took := time.Since(began); took != seqGrace {
			t.Errorf("the drain took %v", took)
		}
		close(release)
	})
}

func TestChanTakesWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := make(chan int, 10)
		for i := range 10 {
			c <- i
		}
		var r rig[int]
		run := start(t, r.graph(Chan(c)))
		synctest.Wait()
		s := run.Snapshot(t.Context())
		if e := s.Edges[0]; e.Messages != 10 || e.Chunks != 1 {
			t.Errorf("%d messages in %d chunks", e.Messages, e.Chunks)
		}
		c <- 10
		synctest.Wait()
		drain(t, run)
		c <- 11 // stays there
		if diff := cmp.Diff(ints(11), r.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if len(c) != 1 {
			t.Errorf("%d values left in the channel", len(c))
		}
	})
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var r rig[time.Duration]
		r.on = func(_ context.Context, at time.Duration) error {
			if at == 2*time.Second {
				time.Sleep(3500 * time.Millisecond) // the ticks at 3, 4 and 5 coalesce
			}
			return nil
		}
		run := start(t, r.graph(Every(time.Second, func(tick time.Time) time.Duration { return tick.Sub(began) })))
		time.Sleep(7100 * time.Millisecond)
		drain(t, run)
		want := []time.Duration{1, 2, 3, 6, 7}
		for i := range want {
			want[i] *= time.Second
		}
		if diff := cmp.Diff(want, r.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if at := r.metas[1].Time.Sub(began); at != 2*time.Second {
			t.Errorf("the second tick's message is of %v", at)
		}
	})
}

func TestEveryPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		var r rig[int]
		run := start(t, r.graph(Every(time.Second, func(time.Time) int {
			if n++; n == 2 {
				panic("oh")
			}
			return n
		}), flow.Restarts(1, time.Minute, 0)))
		time.Sleep(3500 * time.Millisecond)
		drain(t, run)
		if diff := cmp.Diff([]int{1, 3}, r.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":          {"", nil},
		"one":            {"a", []string{"a"}},
		"ends":           {"a\nb\n", []string{"a", "b"}},
		"no last end":    {"a\nb", []string{"a", "b"}},
		"returns":        {"a\r\n\r\nb\rc\r\n", []string{"a", "", "b\rc"}},
		"blank":          {"\n\n", []string{"", ""}},
		"over a buffer":  {long + "\n" + long + "\r\nz", []string{long, long, "z"}},
		"last is longer": {"a\n" + long, []string{"a", long}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			for how, reader := range map[string]io.Reader{
				"whole": strings.NewReader(c.text), "bytes": oneByte{strings.NewReader(c.text)},
			} {
				var r rig[string]
				if err := r.graph(Lines(reader)).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, r.got()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", how, diff)
				}
			}
		})
	}
}

// oneByte gives its text byte by byte, the last one together with io.EOF.
type oneByte struct{ r *strings.Reader }

func (o oneByte) Read(p []byte) (int, error) {
	n, err := o.r.Read(p[:min(1, len(p))])
	if err == nil && o.r.Len() == 0 {
		err = io.EOF
	}
	return n, err
}

func TestLinesTooLong(t *testing.T) {
	text := "1234\n12345\nok\n" + strings.Repeat("x", 200_000) + "\n1234\r\n12345\r\n" + strings.Repeat("y", 70_000)
	var r rig[string]
	if err := r.graph(LinesUpTo(strings.NewReader(text), 4, flow.OnFault(flow.Drop))).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1234", "ok", "1234"}, r.got()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 3, flow.Dropped: 4}, r.settled()); diff != "" {
		t.Errorf("settled (-want +got):\n%s", diff)
	}
	var long *LineTooLongError
	for i, line := range []int{2, 4, 6, 7} {
		if !errors.As(r.faults[i], &long) || *long != (LineTooLongError{Line: line, Limit: 4}) {
			t.Errorf("fault %d is %v", i, r.faults[i])
		}
	}

	r = rig[string]{}
	err := r.graph(LinesUpTo(strings.NewReader("1234\n12345\nok\n"), 4)).Run(t.Context())
	if !errors.As(err, &long) || long.Line != 2 || !errors.Is(err, flow.ErrNotRedeliverable) {
		t.Errorf("without a policy: %v", err)
	}
}

func TestLinesReadError(t *testing.T) {
	boom := errors.New("boom")
	var r rig[string]
	err := r.graph(Lines(io.MultiReader(strings.NewReader("a\nb\nhal"), failing{boom}))).Run(t.Context())
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "read line 3") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, r.got()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 2}, r.settled()); diff != "" {
		t.Errorf("settled (-want +got):\n%s", diff)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestLinesOfABlockedReader: the drain does not wait for the Read, and the next run gets its
// result.
func TestLinesOfABlockedReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		var r rig[string]
		g := r.graph(Lines(pr))
		run := start(t, g)
		if _, err := io.WriteString(pw, "a\nb\nhal"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		drain(t, run)
		if took := time.Since(began); took != 0 {
			t.Errorf("the drain took %v", took)
		}
		if diff := cmp.Diff([]string{"a", "b"}, r.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if _, err := io.WriteString(pw, "f\nc\nd\n"); err != nil { // the first is read between the runs
			t.Fatal(err)
		}
		synctest.Wait()
		run = start(t, g)
		synctest.Wait()
		if diff := cmp.Diff([]string{"a", "b", "half", "c", "d"}, r.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := pw.Close(); err != nil {
			t.Fatal(err)
		}
		if err := run.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestLinesOfTwoRuns: concurrent runs share the text.
func TestLinesOfTwoRuns(t *testing.T) {
	const n = 20_000
	var text strings.Builder
	for i := range n {
		fmt.Fprintln(&text, i)
	}
	var r rig[string]
	g := r.graph(Lines(strings.NewReader(text.String()), flow.ChunkSize(5)))
	a, b := start(t, g), start(t, g)
	if err := errors.Join(a.Wait(), b.Wait()); err != nil {
		t.Fatal(err)
	}
	got := r.got()
	slices.Sort(got)
	got = slices.Compact(got)
	if len(got) != n || len(r.got()) != n {
		t.Errorf("%d different lines of %d, %d in all", len(got), n, len(r.got()))
	}
}

func TestValidate(t *testing.T) {
	queue, _ := Queue[int](0)
	for name, c := range map[string]struct {
		err  error
		want []string
	}{
		"seq":    {flow.New("g", flow.To(Seq[int](nil), devNull[int]())).Validate(), []string{"seq"}},
		"values": {flow.New("g", flow.To(Values[int](nil), devNull[int]())).Validate(), []string{"seq"}},
		"chan":   {flow.New("g", flow.To(Chan[int](nil), devNull[int]())).Validate(), []string{"c"}},
		"lines":  {flow.New("g", flow.To(LinesUpTo(nil, -1), devNull[string]())).Validate(), []string{"r", "limit"}},
		"every":  {flow.New("g", flow.To(Every[int](0, nil), devNull[int]())).Validate(), []string{"d", "f"}},
		"queue":  {flow.New("g", flow.To(queue, devNull[int]())).Validate(), []string{"size"}},
	} {
		joined, ok := c.err.(interface{ Unwrap() []error })
		if !ok {
			t.Errorf("%s: got %v", name, c.err)
			continue
		}
		var fields []string
		for _, err := range joined.Unwrap() {
			var b *flow.BuildError
			if !errors.As(err, &b) || b.Fix == "" {
				t.Errorf("%s: got %v", name, err)
				continue
			}
			fields = append(fields, b.Field)
		}
		if diff := cmp.Diff(c.want, fields); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func devNull[T any]() flow.Sink[T] {
	return flow.NewSink("null", func() flow.Writer[T] {
		return flow.WriterFunc[T](func(context.Context, []flow.Message[T]) error { return nil })
	})
}

func BenchmarkSeq(b *testing.B) {
	b.ReportAllocs()
	i := 0
	src := Values(func(yield func(int) bool) {
		for ; i < b.N && yield(i); i++ {
		}
	})
	if err := flow.New("g", flow.To(src, devNull[int]())).Run(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkLines(b *testing.B) {
	b.ReportAllocs()
	text := strings.Repeat("the quick brown fox jumps over the lazy dog\n", b.N)
	b.ResetTimer()
	if err := flow.New("g", flow.To(Lines(strings.NewReader(text)), devNull[string]())).Run(b.Context()); err != nil {
		b.Fatal(err)
	}
}
