package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/inspect"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// published runs an application with one graph and one client that publishes its reports to the
// server, until the test ends.
func published(t *testing.T, rdb *redis.Client, app, graph string) {
	t.Helper()
	show := parts.New().Client(gateways.NewClient(rdb, "stock", gateways.ClientConfig{}))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ticks := source.Every(10*time.Millisecond, time.Time.UnixNano, flow.Name("ticks"))
	price := operators.Map(ticks, func(_ context.Context, n int64) (int64, error) {
		if n%2 == 0 {
			return 0, errors.New("no price")
		}
		return n, nil
	}, flow.Name("price"), flow.OnFault(flow.Drop))
	g := flow.New(graph, flow.To(price, sink.Discard[int64](), flow.Name("out")), flow.Log(silent))
	run, err := g.Start(show.Watch(ctx))
	if err != nil {
		t.Fatal(err)
	}
	page := inspect.New(rdb, show, inspect.Config{App: app, Log: silent})
	ended := make(chan error, 1)
	go func() { ended <- page.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		_ = run.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// top reads what gateways/inspect writes: each field of its report is there.
func TestTopReadsReports(t *testing.T) {
	s := newStand(t)
	srv := redistest.Start(t)
	s.rdb, s.url = srv.Client(t), srv.URL()
	published(t, s.rdb, "shop", "billing")
	a := newApplication("shop")
	redistest.Soon(t, "a report with all figures", func() bool {
		if err := a.refresh(t.Context(), s.rdb); err != nil {
			t.Fatal(err)
		}
		if len(a.processes) != 1 {
			return false
		}
		r := a.sorted()[0].newest()
		return len(r.Graphs) == 1 && r.Graphs[0].Snapshot.Bottleneck != nil && a.alive() == 1
	})
	p := a.sorted()[0]
	if r := p.newest(); r.App != "shop" || r.PID == 0 || r.Host == "" || r.At.Before(r.Started) || p.gone {
		t.Errorf("%+v", r)
	}
	// The newest report may be of a moment without a bottleneck.
	redistest.Soon(t, "a report with all fields: top shows nothing for others", func() bool {
		packed := s.rdb.Get(t.Context(), publishedBefore+"shop"+reportAfter+p.id).Val()
		var raw any
		if err := json.Unmarshal(unpackedText(t, packed), &raw); err != nil {
			t.Fatal(err)
		}
		missing := fieldsMissing(reflect.TypeFor[report](), raw, "report")
		missing = slices.DeleteFunc(missing, func(m string) bool { return optional[m] })
		if len(missing) > 0 {
			t.Logf("a report has no %q", missing)
		}
		return len(missing) == 0
	})

	redistest.Soon(t, "there are rates", func() bool {
		return a.refresh(t.Context(), s.rdb) == nil && a.measured() && a.alive() == 1
	})
	out := ""
	for _, l := range a.frame(new(topOptions)) {
		out += l.text + "\n"
	}
	for _, want := range []string{`application "shop": 1 process`, "billing", "active", "price ", "client", "stock",
		"waiting 0"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	var line struct {
		App, Graph             string
		Measured               bool
		ReadRate, BusiestShare float64
		Lag                    int64
		Each                   []any
	}
	first := ""
	redistest.Soon(t, "the process publishes in time for rates", func() bool {
		first, _, _ = strings.Cut(s.want(t, "top -once -json", exitFine), "\n")
		if err := json.Unmarshal([]byte(first), &line); err != nil {
			t.Fatal(err)
		}
		return line.Measured && line.ReadRate > 0
	})
	if line.App != "shop" || line.Graph != "billing" || line.Lag != -1 || len(line.Each) != 1 {
		t.Errorf("%s", first)
	}
	if out := s.want(t, "top -app chop -once", exitFailed); !strings.Contains(out, `those of ["shop"] do`) {
		t.Errorf("%s", out)
	}
}

func TestTopListsApplications(t *testing.T) {
	s := newStand(t)
	srv := redistest.Start(t)
	s.rdb, s.url = srv.Client(t), srv.URL()
	published(t, s.rdb, "shop", "billing")
	published(t, s.rdb, "warehouse", "stock")
	redistest.Soon(t, "both are listed", func() bool {
		out := s.want(t, "top -once", exitFine)
		return strings.Contains(out, "shop ") && strings.Contains(out, "warehouse") &&
			strings.Contains(out, "-app NAME")
	})
	s.url = s.setUser(t, "watcher", "acl -top shop,warehouse")
	redistest.Soon(t, "both publish in time", func() bool {
		return strings.Contains(s.want(t, "top -once", exitFine), "warehouse")
	})
	for _, bad := range []string{"top -every 1ms", "top -sort size", "top -app shop orders", "top a b"} {
		s.want(t, bad, exitUsage)
	}
}

// optional are the fields that a report has only in some states.
var optional = map[string]bool{
	"report.omitted":                          true,
	"report.graphs.snapshot.failure":          true,
	"report.graphs.snapshot.bottleneck.stuck": true,
	"report.parts.figures.now":                true,
	"report.parts.figures.bad":                true,
}

// fieldsMissing returns the fields of a type that are nowhere in a JSON value.
func fieldsMissing(typ reflect.Type, v any, path string) (missing []string) {
	switch typ.Kind() {
	case reflect.Pointer:
		return fieldsMissing(typ.Elem(), v, path)
	case reflect.Slice:
		all, _ := v.([]any)
		if len(all) == 0 {
			return []string{path}
		}
		return fieldsMissing(typ.Elem(), all[0], path)
	case reflect.Struct:
		if typ == reflect.TypeFor[time.Time]() {
			return nil
		}
		object, _ := v.(map[string]any)
		for f := range typ.Fields() {
			name := f.Tag.Get("json")
			value, ok := object[name]
			if !ok {
				missing = append(missing, path+"."+name)
				continue
			}
			missing = append(missing, fieldsMissing(f.Type, value, path+"."+name)...)
		}
	}
	return missing
}

// twoReports returns an application with a report of two seconds ago and one of now from each of
// some processes.
func twoReports(ids ...string) *application {
	a := newApplication("shop")
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	busy := func(d time.Duration) *time.Duration { return &d }
	for i, id := range ids {
		for n := range 2 {
			at := start.Add(time.Minute + time.Duration(2*n)*time.Second)
			billing := snapshot{Graph: "billing", State: "active", Uptime: at.Sub(start),
				Sources: []sourceSnapshot{
					{Name: "orders", MaxInFlight: 100, InFlight: 10 + i, Read: uint64(1000 + 400*n),
						Settled: uint64(990 + 300*n), Dead: 3, Oldest: 1500 * time.Millisecond, Lag: 70, Pending: 25},
				},
				Stages: []stageSnapshot{
					{Name: "orders", Workers: 1},
					{Name: "price", Workers: 2, Faults: uint64(5 + n), Busy: busy(time.Duration(n) * 3 * time.Second)},
					{Name: "post\x1b[31m", Workers: 1, Busy: busy(time.Duration(n) * time.Second)},
				}}
			other := snapshot{Graph: "audit\x1b]0;title\x07\u202e", State: "active", Uptime: at.Sub(start)}
			switch i {
			case 0:
				other.Bottleneck = &bottleneck{Stage: "disk", Stuck: 12 * time.Second}
			case 1:
				other.State, other.Failure = "ended", "stage \x1b[2Jdisk: full\nsecond line"
			}
			took := make([]uint64, len(gateways.CallBounds())+1)
			took[3], took[5], took[len(took)-1] = uint64(7+90*n), uint64(8*n), uint64(2*n)
			figures := []figure{
				{Name: "waiting", Value: 2, Now: true}, {Name: "answered", Value: int64(100 + 100*n)},
				{Name: "overloaded", Value: int64(4 + 2*n), Bad: true}, {Name: "failed", Bad: true},
			}
			a.put(id, &report{App: "shop", Process: id, Host: "host\x1b[1m", PID: 40 + i, Started: start, At: at,
				Graphs: []graphReport{{billing}, {other}}, Parts: []partReport{
					{Kind: "hub", Name: "chat", Figures: []figure{{Name: "sockets", Value: 30, Now: true}}},
					{Kind: "client", Name: "stock", Figures: figures, Took: took},
				}}, float64(n))
		}
	}
	return a
}

func TestTopFrame(t *testing.T) {
	a := twoReports("a", "b", "c\x1b[0m")
	a.processes["c\x1b[0m"].gone, a.processes["c\x1b[0m"].age = true, 9*time.Second
	var b strings.Builder
	for _, o := range []topOptions{{}, {sort: "name", fold: true}} {
		for _, l := range a.frame(&o) {
			fmt.Fprintf(&b, "%s%s\n", [...]string{plain: " ", heading: "=", faint: ".", alarming: "!"}[l.tone], l.text)
		}
	}
	golden(t, "top", b.String())
}

// The rates are 0 if a graph was started again, and no count goes below 0.
func TestTopOfRestartedGraph(t *testing.T) {
	a := twoReports("a")
	now := &a.processes["a"].newest().Graphs[0].Snapshot
	now.Uptime, now.Sources[0].Read = time.Second, 3
	for _, g := range a.lines() {
		if g.Graph == "billing" && (g.Measured || g.ReadRate != 0) {
			t.Errorf("%+v", g)
		}
	}
	now.Uptime = time.Hour
	for _, g := range a.lines() {
		if g.Graph == "billing" && (!g.Measured || g.ReadRate != 0) {
			t.Errorf("%+v", g)
		}
	}
}

// Foreign values under the keys of reports do no harm.
func TestTopOfForeignReports(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	for i, value := range []string{"", "no gzip", "\x1f\x8b", strings.Repeat("x", 100)} {
		id := fmt.Sprint(i)
		rdb.ZAdd(t.Context(), "inspect:{shop}:processes", redis.Z{Score: 1e15, Member: id})
		rdb.Set(t.Context(), "inspect:{shop}:report:"+id, value, 0)
	}
	a := newApplication("shop")
	if err := a.refresh(t.Context(), rdb); err != nil || len(a.processes) != 0 {
		t.Errorf("%v, %d processes", err, len(a.processes))
	}
}

func TestTopOfStreams(t *testing.T) {
	s := newStand(t)
	for range 5 {
		s.add(t, s.key, "*", "n", "x")
	}
	s.add(t, s.key+":alone", "*", "n", "x")
	for _, g := range []string{"billing", "audit\x1b"} {
		if err := s.rdb.XGroupCreate(t.Context(), s.key, g, "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "billing", Consumer: "w1",
		Streams: []string{s.key, ">"}, Count: 2}).Err(); err != nil {
		t.Fatal(err)
	}
	want := `streams with groups like "KEY*": 1` + "\n\n" +
		"STREAM GROUP ENTRIES ADDED/s READ/s LAG OLDEST UNREAD PENDING OLDEST PENDING CONSUMERS\n" +
		`KEY audit\x1b 5 0 0 5 T 0 - 0` + "\nKEY billing 5 0 0 3 T 2 T 1\n"
	if got := shape(s.want(t, "top KEY* -once -every 100ms", exitFine)); got != want {
		t.Errorf("%s\nwant:\n%s", got, want)
	}
	if out := s.want(t, "top KEY* -once -every 100ms -json -sort name", exitFine); !strings.Contains(out,
		`"group":"audit\u001b","lag":5,`) || strings.Count(out, "\n") != 2 {
		t.Errorf("%s", out)
	}
	v := &streamsView{hint: true}
	if f := v.frame(new(topOptions)); !strings.Contains(f[len(f)-2].text, "inspect.New(") {
		t.Errorf("%v", f)
	}
}

// silent is the log of what the tests run.
var silent = slog.New(slog.DiscardHandler)

// unpackedText returns the JSON of a report.
func unpackedText(t *testing.T, packed string) []byte {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
