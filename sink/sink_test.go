package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
)

var errBoom = errors.New("boom")

// TestSinks: each sink takes all values in order, and each is acked once.
func TestSinks(t *testing.T) {
	for _, n := range []int{0, 1, 256, 5000} {
		var got []int
		collected, values := Collect[int]()
		c := make(chan int, n)
		for name, s := range map[string]struct {
			sink flow.Sink[int]
			got  func() []int
		}{
			"func":      {Func(func(_ context.Context, v int) error { got = append(got, v); return nil }), nil},
			"func_many": {Func(func(_ context.Context, v int) error { got = append(got, v); return nil }, flow.ChunkSize(9)), nil},
			"messages": {Messages(func(_ context.Context, m flow.Message[int]) error {
				got = append(got, m.Value)
				return nil
			}), nil},
			"batches": {Batches(func(_ context.Context, v []int) error { got = append(got, v...); return nil }), nil},
			"chan": {Chan(c), func() (got []int) {
				for range len(c) {
					got = append(got, <-c)
				}
				return got
			}},
			"collect": {collected, values.Values},
			"discard": {Discard[int](), func() []int { return ints(n) }},
		} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				got = nil
				r := rig{n: n}
				if err := r.graph(s.sink).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if s.got != nil {
					got = s.got()
				}
				if diff := cmp.Diff(ints(n), append([]int{}, got...)); diff != "" {
					t.Errorf("values (-want +got):\n%s", diff)
				}
				if o := r.settled(t); o[flow.Acked] != n {
					t.Errorf("settled %v", o)
				}
			})
		}
		if values.Len() != n {
			t.Errorf("collected %d", values.Len())
		}
	}
}

// TestFuncSettlesEach: each result settles its value, and a panic is a fault like any other.
func TestFuncSettlesEach(t *testing.T) {
	for _, chunk := range []int{1, 10} {
		t.Run(strconv.Itoa(chunk), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := make(map[int]int)
				snk := Func(func(_ context.Context, v int) error {
					calls[v]++
					switch {
					case v == 2:
						return errBoom
					case v == 3:
						return flow.Skip
					case v == 4:
						return flow.Reject(errBoom)
					case v == 5:
						panic(errBoom)
					case v == 6 && calls[v] < 3:
						return errBoom
					}
					return nil
				}, flow.ChunkSize(chunk))
				r := rig{n: 10}
				if err := r.graph(snk).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				want := map[int]flow.Outcome{2: flow.Nacked, 3: flow.Dropped, 4: flow.Dead, 5: flow.Nacked}
				wantCalls := map[int]int{2: 3, 5: 3, 6: 3}
				for i := range 10 {
					want[i] += 0 // Acked
					wantCalls[i] = max(1, wantCalls[i])
				}
				if diff := cmp.Diff(want, r.outcomes); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(wantCalls, calls); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				var p *flow.PanicError
				if !slices.ContainsFunc(
					r.faults,
					func(err error) bool { return errors.As(err, &p) && errors.Is(err, errBoom) },
				) {
					t.Errorf("no panic among %v", r.faults)
				}
			})
		})
	}
}

// TestFuncStops: when the graph stops, unfinished values go back, and finished ones stay done.
func TestFuncStops(t *testing.T) {
	for _, chunk := range []int{1, 10} {
		t.Run(strconv.Itoa(chunk), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				r := rig{n: 10}
				run := start(t, r.graph(Func(func(ctx context.Context, v int) error {
					calls++
					if v == 4 {
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				}, flow.ChunkSize(chunk))))
				synctest.Wait()
				if err := run.Stop(); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 4, flow.Nacked: 6}, r.settled(t)); diff != "" {
					t.Errorf("settled (-want +got):\n%s", diff)
				}
				if calls != 5 {
					t.Errorf("%d calls", calls)
				}
			})
		})
	}
}

func TestFuncWorkers(t *testing.T) {
	var mu sync.Mutex
	at := make(map[int][]int)
	r := rig{n: 2000}
	err := r.graph(Func(func(_ context.Context, v int) error {
		mu.Lock()
		defer mu.Unlock()
		at[v%5] = append(at[v%5], v)
		return nil
	}, flow.Workers(4), flow.KeyedBy(func(v int) int { return v % 5 }))).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for k, got := range at {
		if len(got) != 400 || !slices.IsSorted(got) {
			t.Errorf("key %d: %d values, sorted: %v", k, len(got), slices.IsSorted(got))
		}
	}
	if o := r.settled(t); o[flow.Acked] != 2000 {
		t.Errorf("settled %v", o)
	}
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls [][]int // keeping the slice is allowed
		r := rig{n: 5}
		err := r.graph(Batches(func(_ context.Context, v []int) error {
			calls = append(calls, v)
			switch len(calls) {
			case 1:
				errs := make([]error, len(v))
				errs[1], errs[3], errs[4] = errBoom, flow.Skip, errBoom
				return &flow.WriteError{Errs: errs}
			case 2:
				return errBoom // nothing was written
			}
			return nil
		})).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := [][]int{{0, 1, 2, 3, 4}, {1, 4}, {1, 4}}
		if diff := cmp.Diff(want, calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 4, flow.Dropped: 1}, r.settled(t)); diff != "" {
			t.Errorf("settled (-want +got):\n%s", diff)
		}
	})
}

// TestChanBlocks: no value is received, so they go back when the drain takes too long. The channel
// stays open.
func TestChanBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := make(chan int)
		r := rig{n: 10, forever: true}
		run := start(t, r.graph(Chan(c)))
		for want := range 3 {
			if got := <-c; got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(r.outcomes); n != 3 { // each is settled when it is received, not with its chunk
			t.Errorf("%d settled", n)
		}
		_, err := run.Drain(t.Context())
		if !errors.Is(err, flow.ErrDrainTimeout) {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 3, flow.Nacked: 7}, r.settled(t)); diff != "" {
			t.Errorf("settled (-want +got):\n%s", diff)
		}
		select {
		case v, ok := <-c:
			t.Errorf("got %d, open: %v", v, ok)
		default:
		}
	})
}

func TestChanClosed(t *testing.T) {
	c := make(chan int)
	close(c)
	r := rig{n: 1}
	if err := r.graph(Chan(c)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var p *flow.PanicError
	if len(r.faults) != 3 || !errors.As(r.faults[0], &p) || r.settled(t)[flow.Nacked] != 1 {
		t.Errorf("settled %v, faults %v", r.settled(t), r.faults)
	}
}

func TestCollectWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		snk, got := Collect[int]()
		r := rig{n: 3, forever: true}
		run := start(t, r.graph(snk))
		synctest.Wait()
		values := got.Values()
		values[0] = 99 // the caller owns the slice
		if diff := cmp.Diff(ints(3), got.Values()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if _, err := run.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// target is an io.Writer that follows a script with one entry for each Write.
type target struct {
	bytes.Buffer
	script []func(p []byte) (int, error)
	writes int
}

func (w *target) Write(p []byte) (int, error) {
	w.writes++
	if len(w.script) == 0 {
		return w.Buffer.Write(p)
	}
	f := w.script[0]
	w.script = w.script[1:]
	n, err := f(p)
	w.Buffer.Write(p[:max(0, min(n, len(p)))])
	return n, err
}

func appendInt(dst []byte, v int) []byte { return fmt.Appendf(dst, "%03d\n", v) }

func TestWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w target
		r := rig{n: 100}
		if err := r.graph(Writer(&w, appendInt, flow.ChunkSize(50))).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		var want []byte
		for i := range 100 {
			want = appendInt(want, i)
		}
		if diff := cmp.Diff(string(want), w.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if w.writes != 2 {
			t.Errorf("%d writes for 2 chunks", w.writes)
		}
		if o := r.settled(t); o[flow.Acked] != 100 {
			t.Errorf("settled %v", o)
		}
	})
}

// TestWriterErrors: the writer fails after a given number of bytes of five values of four bytes
// each.
func TestWriterErrors(t *testing.T) {
	for _, c := range []struct {
		name    string
		n       int
		err     error
		text    string
		cut     *CutError
		wantErr error
	}{
		{"error_at_once", 0, errBoom, "000\n001\n002\n003\n004\n", nil, errBoom},
		{"error_between", 8, errBoom, "000\n001\n002\n003\n004\n", nil, errBoom},
		{"error_within", 9, errBoom, "000\n001\n0002\n003\n004\n", &CutError{1, 4, errBoom}, errBoom},
		{"short_write", 10, nil, "000\n001\n00002\n003\n004\n", &CutError{2, 4, io.ErrShortWrite}, io.ErrShortWrite},
		{"error_after_all", 20, errBoom, "000\n001\n002\n003\n004\n", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := target{script: []func([]byte) (int, error){func([]byte) (int, error) { return c.n, c.err }}}
				r := rig{n: 5}
				if err := r.graph(Writer(&w, appendInt)).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.text, w.String()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if o := r.settled(t); o[flow.Acked] != 5 {
					t.Errorf("settled %v", o)
				}
				if len(r.faults) != (20-c.n+3)/4 {
					t.Errorf("%d faults", len(r.faults))
				}
				for i, err := range r.faults {
					if !errors.Is(err, c.wantErr) {
						t.Errorf("fault %d: %v", i, err)
					}
				}
				var cut *CutError
				if c.cut != nil && (!errors.As(r.faults[0], &cut) || *cut != *c.cut) {
					t.Errorf("got %v", r.faults[0])
				}
			})
		})
	}
}

// TestWriterPanics: neither a panic of the format nor one of the writer leaves it locked.
func TestWriterPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := target{script: []func([]byte) (int, error){func([]byte) (int, error) { panic("w") }}}
		n := 0
		r := rig{n: 2}
		err := r.graph(Writer(&w, func(dst []byte, v int) []byte {
			if n++; n == 2 {
				panic("format")
			}
			return appendInt(dst, v)
		})).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("000\n001\n", w.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if o := r.settled(t); o[flow.Acked] != 2 || len(r.faults) != 4 {
			t.Errorf("settled %v, faults %v", o, r.faults)
		}
	})
}

// TestWriterIsShared: several workers and two branches write whole lines, one at a time.
func TestWriterIsShared(t *testing.T) {
	var w target
	snk := Writer(&w, appendInt, flow.Workers(3), flow.Unordered(), flow.ChunkSize(3))
	a, b := rig{n: 500}, rig{n: 500}
	err := flow.New("g", flow.To(a.source(), snk, flow.Name("a")), flow.To(b.source(), snk, flow.Name("b"))).
		Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(w.String())
	slices.Sort(got)
	var want []string
	for i := range 500 {
		want = append(want, fmt.Sprintf("%03d", i), fmt.Sprintf("%03d", i))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWriterOfNothing(t *testing.T) {
	var w target
	r := rig{n: 3}
	if err := r.graph(Writer(&w, func(dst []byte, _ int) []byte { return dst })).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := r.settled(t); o[flow.Acked] != 3 || w.writes != 0 {
		t.Errorf("settled %v, %d writes", o, w.writes)
	}
}

func TestValidate(t *testing.T) {
	r := rig{}
	for name, c := range map[string]struct {
		sink flow.Sink[int]
		want []string
	}{
		"func":     {Func[int](nil), []string{"f"}},
		"messages": {Messages[int](nil), []string{"f"}},
		"batches":  {Batches[int](nil), []string{"f"}},
		"chan":     {Chan[int](nil), []string{"c"}},
		"writer":   {Writer[int](nil, nil), []string{"appendTo", "w"}},
	} {
		joined, ok := r.graph(c.sink).Validate().(interface{ Unwrap() []error })
		if !ok {
			t.Errorf("%s: no errors", name)
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
	none := flow.NewSource("none", func() flow.Reader[string] { return nil })
	if err := flow.New("g", flow.To(none, Lines(nil))).Validate(); err == nil {
		t.Error("lines: no error")
	}
}

// TestOptionsAreNotShared: a sink does not append into the spare capacity of its options slice.
func TestOptionsAreNotShared(t *testing.T) {
	opts := make([]flow.StageOption, 1, 4)
	opts[0] = flow.ChunkSize(2)
	Batches[int](nil, opts...)
	Writer[int](nil, nil, opts...)
	for _, o := range opts[1:4] {
		if o != nil {
			t.Fatal("written into the caller's slice")
		}
	}
}

func BenchmarkFunc(b *testing.B) { bench(b, Func(func(context.Context, int) error { return nil })) }

func BenchmarkBatches(b *testing.B) {
	bench(b, Batches(func(context.Context, []int) error { return nil }))
}

func BenchmarkWriter(b *testing.B) {
	bench(b, Writer(io.Discard, func(dst []byte, v int) []byte { return strconv.AppendInt(dst, int64(v), 10) }))
}

func bench(b *testing.B, snk flow.Sink[int]) {
	b.ReportAllocs()
	r := struct{ rigReader }{rigReader{rig: &rig{n: b.N}}}
	src := flow.NewSource("ints", func() flow.Reader[int] { return readerOnly{&r.rigReader} })
	b.ResetTimer()
	if err := flow.New("g", flow.To(src, snk)).Run(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// readerOnly hides the Committer.
type readerOnly struct{ r flow.Reader[int] }

func (r readerOnly) Read(ctx context.Context, in *flow.Intake[int]) error { return r.r.Read(ctx, in) }
