package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/window"
	"github.com/streamerson/streamerson-go/operators/window/sketch"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Figures are what is computed of the views of a minute.
type Figures struct {
	Visitors uint64                  `json:"visitors"`
	P95      float64                 `json:"p95"` // of the load times, in ms
	Top      []window.Ranked[string] `json:"top"` // pages
}

// quiet is after how long without views all windows end. A busy machine may pause for a second.
const quiet = 4 * time.Second

// streams are the keys in Redis.
type streams struct{ views, late string }

func streamsOf(name string) streams { return streams{views: name + ":views", late: name + ":late"} }

func userOf(v View) string { return v.User }

func pageOf(v View) string { return v.Page }

func timeOf(v View) time.Time { return v.At }

// minutesOf computes all three figures in one window.
func minutesOf(views flow.Source[View]) (flow.Source[Minute], flow.Source[View]) {
	load := func(v View) float64 { return v.Ms }
	both := window.Both(
		sketch.Distinct(userOf),
		sketch.Quantiles(load, 0.95),
		func(visitors uint64, q []float64) Figures {
			return Figures{Visitors: visitors, P95: q[0]}
		},
	)
	all := window.Both(both, window.TopK(5, 1000, pageOf), func(f Figures, top []window.Ranked[string]) Figures {
		f.Top = top
		return f
	})
	return operators.Window(views, perMinute, all, flow.Name("minutes"))
}

// perMinute cuts the views into minutes.
var perMinute = window.Config[View, string]{
	Windows: window.Tumbling(time.Minute), Key: func(View) string { return "all" }, Time: timeOf, Slack: slack,
	Early: 500 * time.Millisecond, Quiet: quiet, MaxHeld: 10_000,
}

// perUser cuts the views of each user into sessions.
var perUser = window.Config[View, string]{
	Windows: window.Session(gap), Key: userOf, Time: timeOf, Slack: slack,
	Quiet: quiet, MaxHeld: 10_000,
}

// analyse returns the graph. Its figures go to the board. The views stay in the stream's list of
// pending entries until the windows that they belong to have fired.
func analyse(rdb redis.UniversalClient, s streams, b *board, opts ...flow.GraphOption) *flow.Graph {
	views := source.Stream(rdb, source.StreamConfig[View]{Key: s.views, Group: "analytics", MaxInFlight: 50_000})
	copies := operators.FanOut(views, 2)
	minutes, late := minutesOf(copies[0])
	sessions, tooLate := operators.Window(copies[1], perUser, window.Count[View](), flow.Name("sessions"))
	parts := []flow.Part{
		flow.To(minutes, sink.Func(func(_ context.Context, m Minute) error { return b.minute(m) }, flow.Name("board"))),
		flow.To(sessions, sink.Func(func(_ context.Context, s Session) error { return b.session(s) },
			flow.Name("visits"))),
		flow.To(late, sink.Stream(rdb, sink.StreamConfig[View]{Key: s.late})),
		flow.To(tooLate, sink.Discard[View]()), // they are late for their minute, too
	}
	for _, o := range opts {
		parts = append(parts, o)
	}
	return flow.New("analytics", parts...)
}

// load writes the views to the stream, perSecond of them each second; 0 as fast as it goes.
func load(rdb redis.UniversalClient, s streams, views []View, perSecond int, opts ...flow.GraphOption) *flow.Graph {
	all := source.Of(views...)
	if perSecond > 0 {
		all = operators.Throttle(all, perSecond, time.Second, 1+perSecond/20)
	}
	parts := []flow.Part{flow.To(all, sink.Stream(rdb, sink.StreamConfig[View]{Key: s.views}))}
	for _, o := range opts {
		parts = append(parts, o)
	}
	return flow.New("visitors", parts...)
}
