package operators_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/window"
)

// event is a value with a key and a time in seconds after zeroHour.
type event struct {
	Key string
	At  int
}

// zeroHour is in the past of virtual time, so that no event is ahead of the clock.
var zeroHour = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)

func (e event) time() time.Time { return zeroHour.Add(time.Duration(e.At) * time.Second) }

// events makes events of the key "k".
func events(at ...int) []event {
	all := make([]event, len(at))
	for i, s := range at {
		all[i] = event{"k", s}
	}
	return all
}

type (
	countResult = window.Result[string, int]
	config      = window.Config[event, string]
)

func byKey(cfg config) config {
	if cfg.Key == nil {
		cfg.Key = func(e event) string { return e.Key }
	}
	return cfg
}

// byTime is a config with event time.
func byTime(w window.Windows, more ...func(*config)) config {
	cfg := byKey(config{Windows: w, Time: event.time})
	for _, f := range more {
		f(&cfg)
	}
	return cfg
}

// short prints a result as "k 0-10 on time #0: 3", with seconds after zeroHour.
func short[K comparable, R any](r window.Result[K, R]) string {
	s := func(t time.Time) int { return int(t.Sub(zeroHour) / time.Second) }
	return fmt.Sprintf("%v %d-%d %s #%d: %v", r.Key, s(r.Start), s(r.End), r.Pane, r.Number, r.Value)
}

// windowed sends the outputs of a window to boxes, and is the parts of the graph.
type windowed struct {
	results *box[string]
	late    *box[event]
	parts   []flow.Part
}

func windowsOf[A any](
	in flow.Source[event], cfg config, agg window.Aggregate[event, A, int], opts ...flow.StageOption,
) windowed {
	w := windowed{results: &box[string]{}, late: &box[event]{}}
	results, late := operators.Window(in, cfg, agg, opts...)
	texts := operators.Map(results, flow.Pure(short[string, int]))
	w.parts = []flow.Part{flow.To(texts, w.results.sink(), flow.Name("results")),
		flow.To(late, w.late.sink(), flow.Name("late"))}
	return w
}

// wantWindows runs events through windows that count, and checks the results and the late events.
func wantWindows(t *testing.T, cfg config, in []event, results []string, late ...event) {
	t.Helper()
	feed := newFeed(in...)
	w := windowsOf(feed.source(), cfg, window.Count[event]())
	run(t, w.parts...)
	w.results.want(t, results...)
	if diff := cmp.Diff(late, w.late.values()); diff != "" {
		t.Errorf("late events (-want +got):\n%s", diff)
	}
	feed.allSettledAs(t, flow.Acked)
}

// merged joins both outputs of a window to one, for suites that read one output.
func merged[K comparable, T, R, U any](
	results flow.Source[window.Result[K, R]],
	late flow.Source[T],
	ofResult func(window.Result[K, R]) U,
	ofLate func(T) U,
) flow.Source[U] {
	return operators.FanIn(operators.Map(results, flow.Pure(ofResult)), operators.Map(late, flow.Pure(ofLate)))
}

// sumOf is an aggregate that sums ints after a call of f.
func sumOf(f func(int) error) window.Aggregate[int, int, int] {
	agg := window.Sum(func(v int) int { return v })
	add := agg.Add
	agg.Add = func(sum, v int) (int, error) {
		if err := f(v); err != nil {
			return sum, err
		}
		return add(sum, v)
	}
	return agg
}
