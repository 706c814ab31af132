package operators_test

import (
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/window"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// visit is a page view at a second of an hour.
type visit struct {
	page   string
	second int
}

func (v visit) String() string { return fmt.Sprintf("%s at %d s", v.page, v.second) }

func page(v visit) string { return v.page }

func at(v visit) time.Time { return time.Date(2026, 1, 1, 12, 0, v.second, 0, time.UTC) }

// Views per minute and page, by the time of the view. One of them comes out of order, and one too
// late.
func ExampleWindow() {
	views := source.Of(visit{"home", 5}, visit{"docs", 30}, visit{"home", 65}, visit{"home", 58},
		visit{"home", 75}, visit{"docs", 20}, visit{"home", 130})
	perMinute, late := operators.Window(views, window.Config[visit, string]{
		Windows: window.Tumbling(time.Minute), Key: page, Time: at, Slack: 10 * time.Second,
	}, window.Count[visit]())
	exec(
		flow.To(perMinute, sink.Func(printed[window.Result[string, int]])),
		flow.To(late, sink.Func(as[visit]("late:"))),
	)
	// Unordered output:
	// home 12:00:00-12:01:00 on time: 2
	// docs 12:00:00-12:01:00 on time: 1
	// late: docs at 20 s
	// home 12:01:00-12:02:00 on time: 2
	// home 12:02:00-12:03:00 on time: 1
}

// Sessions of users: a session ends after a minute without a view.
func ExampleWindow_sessions() {
	views := source.Of(visit{"ann", 0}, visit{"bob", 10}, visit{"ann", 50}, visit{"ann", 200})
	sessions, late := operators.Window(views, window.Config[visit, string]{
		Windows: window.Session(time.Minute), Key: page, Time: at,
	}, window.Count[visit]())
	exec(
		flow.To(sessions, sink.Func(printed[window.Result[string, int]])),
		flow.To(late, sink.Discard[visit]()),
	)
	// Output:
	// bob 12:00:10-12:01:10 on time: 1
	// ann 12:00:00-12:01:50 on time: 2
	// ann 12:03:20-12:04:20 on time: 1
}

// Orders with their payments. An order that is not paid within a minute is passed on alone.
func ExampleJoinWithin() {
	orders := source.Of(visit{"tea", 0}, visit{"jam", 5}, visit{"milk", 200})
	payments := source.Of(visit{"tea", 30}, visit{"jam", 100})
	paid := operators.JoinWithin(orders, payments, window.Join[visit, visit, string]{
		Kind: window.Left, LeftKey: page, RightKey: page, LeftTime: at, RightTime: at, After: time.Minute,
	}, func(_ context.Context, order, payment *visit) (string, error) {
		if payment == nil {
			return order.page + " was not paid", nil
		}
		return fmt.Sprintf("%s was paid after %d s", order.page, payment.second-order.second), nil
	})
	exec(flow.To(paid, sink.Func(printed[string])))
	// Unordered output:
	// tea was paid after 30 s
	// jam was not paid
	// milk was not paid
}
