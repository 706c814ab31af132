package ws_test

import (
	"cmp"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/schedule"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// callbacks lists the exported fields and parameters of functions that take a callback, in the
// package of a folder, as "ws.HubConfig.Authorize" and "source.Every f". Options that are functions
// are not callbacks. Only the files for which pass returns true are read.
func callbacks(t *testing.T, folder string, pass func(file string) bool) (found []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	files := make(map[string]*ast.File)
	funcs := make(map[string]bool) // names of types that are functions
	fset := token.NewFileSet()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = f
		for _, d := range f.Decls {
			for _, s := range specs(d) {
				if _, is := s.Type.(*ast.FuncType); is && !strings.HasSuffix(s.Name.Name, "Option") {
					funcs[s.Name.Name] = true
				}
			}
		}
	}
	is := func(e ast.Expr) bool {
		if list, is := e.(*ast.Ellipsis); is {
			e = list.Elt
		}
		switch of := e.(type) {
		case *ast.IndexExpr:
			e = of.X
		case *ast.IndexListExpr:
			e = of.X
		}
		switch e := e.(type) {
		case *ast.FuncType:
			return true
		case *ast.Ident:
			return funcs[e.Name]
		case *ast.SelectorExpr:
			return strings.HasPrefix(e.Sel.Name, "Seq") || e.Sel.Name == "Authenticator"
		}
		return false
	}
	add := func(name string, fields *ast.FieldList, sep string, exported bool) {
		for _, f := range fields.List {
			for _, n := range f.Names {
				if is(f.Type) && (!exported || n.IsExported()) {
					found = append(found, name+sep+n.Name)
				}
			}
		}
	}
	for name, f := range files {
		if !pass(name) {
			continue
		}
		pkg := f.Name.Name + "."
		for _, d := range f.Decls {
			for _, s := range specs(d) {
				if fields, is := s.Type.(*ast.StructType); is && s.Name.IsExported() {
					add(pkg+s.Name.Name, fields.Fields, ".", true)
				}
			}
			if fn, is := d.(*ast.FuncDecl); is && fn.Name.IsExported() && exportedReceiver(fn) {
				add(pkg+fn.Name.Name, fn.Type.Params, " ", false)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func specs(d ast.Decl) (types []*ast.TypeSpec) {
	if g, is := d.(*ast.GenDecl); is {
		for _, s := range g.Specs {
			if t, is := s.(*ast.TypeSpec); is {
				types = append(types, t)
			}
		}
	}
	return types
}

func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	e := f.Recv.List[0].Type
	if p, is := e.(*ast.StarExpr); is {
		e = p.X
	}
	if x, is := e.(*ast.IndexExpr); is {
		e = x.X
	}
	name, is := e.(*ast.Ident)
	return is && name.IsExported()
}

// Every callback of these packages is called and panics. The process and everything unrelated keep
// running. A new callback fails the test until it is listed here.
func TestFault_S3_CallbacksMayPanic(t *testing.T) {
	t.Parallel()
	covered := map[string]func(*testing.T){
		"ws.HubConfig.Authenticate": authenticatePanics,
		"ws.HubConfig.Authorize":    authorizePanics,

		"gateways.Handle f":              handlersPanic,
		"gateways.HandleVoid f":          handlersPanic,
		"gateways.HandleStream f":        handlersPanic,
		"gateways.HandleFunc h":          handlersPanic,
		"gateways.HandleLong h":          handlersPanic,
		"gateways.Use m":                 middlewarePanics,
		"gateways.ServiceConfig.KeyedBy": keyedByPanics,
		"gateways.HeaderFor value":       func(*testing.T) {}, // in the caller's own goroutine
		"gateways.Keyed key":             func(*testing.T) {}, // in the caller's own goroutine

		"reader.GroupConfig.OnEvent":    groupPanics,
		"reader.GroupConfig.OnLost":     groupPanics,
		"writer.Config.OnEvent":         writerPanics,
		"reader.TailConfig.OnEvent":     tailPanics,
		"reader.RangeConfig.OnEvent":    rangePanics,
		"dead.ReplayOptions.OnProgress": progressPanics,
		"dead.DropOptions.OnProgress":   progressPanics,
		"schedule.TickerConfig.Next":    tickerPanics,
		"schedule.TickerConfig.Fields":  tickerPanics,
		"schedule.TickerConfig.OnRetry": tickerPanics,
		"schedule.TickerConfig.OnEvent": tickerEventPanics,
		"schedule.Config.OnEvent":       moverPanics,
		"schedule.Keep ended":           keepPanics,

		"source.StreamConfig.OnEvent": sourcePanics,
		"source.TicksConfig.OnEvent":  ticksPanics,
		"source.TicksConfig.Next":     ticksPanics,
		"source.TailConfig.OnEvent":   tailSourcePanics,
		"source.Every f": func(t *testing.T) {
			stagePanics(t, flow.To(source.Every(time.Millisecond, boom[time.Time, int]), sink.Discard[int]()))
		},
		"source.Seq seq": func(t *testing.T) {
			stagePanics(t, flow.To(source.Seq(func(func(int, error) bool) { panic("boom") }), sink.Discard[int]()))
		},
		"source.Values seq": func(t *testing.T) {
			stagePanics(t, flow.To(source.Values(func(func(int) bool) { panic("boom") }), sink.Discard[int]()))
		},

		"sink.Func f": func(t *testing.T) {
			stagePanics(t, flow.To(source.Of(1), sink.Func(func(context.Context, int) error { panic("boom") })))
		},
		"sink.Messages f": func(t *testing.T) {
			stagePanics(
				t,
				flow.To(source.Of(1), sink.Messages(func(context.Context, flow.Message[int]) error { panic("boom") })),
			)
		},
		"sink.Batches f": func(t *testing.T) {
			stagePanics(t, flow.To(source.Of(1), sink.Batches(func(context.Context, []int) error { panic("boom") })))
		},
		"sink.Later f": func(t *testing.T) {
			later := func(context.Context, int, *flow.Ticket) error { panic("boom") }
			stagePanics(t, flow.To(source.Of(1), sink.Later(1, time.Minute, later)))
		},
		"sink.Writer appendTo": func(t *testing.T) {
			stagePanics(t, flow.To(source.Of(1), sink.Writer(io.Discard, func([]byte, int) []byte { panic("boom") })))
		},
		"sink.StreamConfig.KeyFor": func(t *testing.T) {
			streamPanics(t, func(c *sink.StreamConfig[int]) { c.KeyFor = boom[flow.Message[int], string] })
		},
		"sink.StreamConfig.IDFor": func(t *testing.T) {
			streamPanics(t, func(c *sink.StreamConfig[int]) {
				c.IDFor, c.DedupeWindow = boom[flow.Message[int], string], time.Minute
			})
		},
		"sink.StreamConfig.At": func(t *testing.T) {
			streamPanics(t, func(c *sink.StreamConfig[int]) { c.At = boom[flow.Message[int], time.Time] })
		},
		"sink.StreamConfig.HeadersFor": func(t *testing.T) {
			streamPanics(t, func(c *sink.StreamConfig[int]) { c.HeadersFor = boom[flow.Message[int], flow.Headers] })
		},
		"sink.StreamConfig.OnRetry": retryPanics,
		"sink.StreamConfig.OnFull":  fullPanics,
		"sink.StreamConfig.OnEvent": sinkEventPanics,
	}
	all := func(string) bool { return true }
	rpc := func(file string) bool { // the rest of the package has a test of its own
		return file == "service.go" || file == "handle.go" || strings.HasPrefix(file, "client") || file == "call.go"
	}
	var found []string
	for folder, pass := range map[string]func(string) bool{
		".": all, "../../redisio": all, "../../redisio/reader": all, "../../redisio/writer": all,
		"../../redisio/schedule": all, "../../redisio/dead": all, "../../redisio/admin": all,
		"../../redisio/dedupe": all, "../../source": all, "../../sink": all, "..": rpc,
	} {
		found = append(found, callbacks(t, folder, pass)...)
	}
	found = slices.DeleteFunc(found, func(name string) bool { return strings.HasSuffix(name, " opts") })
	slices.Sort(found)
	equal(t, "callbacks", slices.Sorted(maps.Keys(covered)), found)
	for name, test := range covered {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

func boom[A, B any](A) B { panic("boom") }

// called returns a callback that reports its call and panics.
func called[A any](calls chan struct{}) func(A) {
	return func(A) {
		select {
		case calls <- struct{}{}:
		default:
		}
		panic("boom")
	}
}

func wait(t *testing.T, calls chan struct{}) {
	t.Helper()
	select {
	case <-calls:
	case <-time.After(redistest.Patience):
		t.Fatal("the callback was not called")
	}
}

func authenticatePanics(t *testing.T) {
	n := newStand(t).node(t, ws.HubConfig{Authenticate: func(r *http.Request) (gateways.Identity, error) {
		if r.URL.RawQuery == "" {
			return gateways.Identity{User: "ann"}, nil
		}
		panic("boom")
	}})
	res, _, _ := n.handshake(t, "?panic")
	equal(t, "status", http.StatusInternalServerError, res.StatusCode)
	n.join(t)
}

func authorizePanics(t *testing.T) {
	n := newStand(
		t,
	).node(t, ws.HubConfig{Authorize: func(_ context.Context, _ gateways.Identity, what ws.Action, room string) error {
		if room == "bad" || what == ws.Send {
			panic("boom")
		}
		return nil
	}})
	c := n.join(t, "bad", "good")
	equal(t, "rooms", []string{"good"}, c.hi.Rooms)
	equal(t, "refused", []string{"bad"}, c.hi.Refused)
	c.send(map[string]any{"kind": "join", "id": "1", "room": "bad"})
	equal(t, "id", "1", c.refused("internal").ID)
	c.send(map[string]any{"kind": "send", "id": "2", "room": "good", "type": "say"})
	equal(t, "id", "2", c.refused("internal").ID)
	c.send(map[string]any{"kind": "ping"})
	c.want("pong")
}

func handlersPanic(t *testing.T) {
	s := newStand(t)
	svc := gateways.NewService(s.rdb, s.name, gateways.ServiceConfig{})
	gateways.Handle(svc, "handle", func(context.Context, int) (int, error) { panic("boom") })
	gateways.HandleVoid(svc, "void", func(context.Context, int) error { panic("boom") })
	gateways.HandleStream(svc, "stream", func(context.Context, int, func(int) error) error { panic("boom") })
	panics := func(context.Context, *gateways.Request) (gateways.Response, error) { panic("boom") }
	svc.HandleFunc("func", panics)
	svc.HandleLong("long", panics)
	gateways.Handle(svc, "good", func(_ context.Context, n int) (int, error) { return n, nil })
	rig.Start(t, svc.Graph())
	c := s.client(t)
	for _, typ := range []string{"handle", "void", "func", "long"} {
		_, err := gateways.Call[int, int](c, typ)(t.Context(), 1)
		internal(t, typ, err)
	}
	for _, err := range gateways.Stream[int, int](c, "stream")(t.Context(), 1) {
		internal(t, "stream", err)
	}
	if n, err := gateways.Call[int, int](c, "good")(t.Context(), 1); n != 1 || err != nil {
		t.Errorf("good: %d, %v", n, err)
	}
}

func middlewarePanics(t *testing.T) {
	s := newStand(t)
	svc := gateways.NewService(s.rdb, s.name, gateways.ServiceConfig{})
	gateways.Handle(svc, "good", func(_ context.Context, n int) (int, error) { return n, nil })
	svc.Use(func(next gateways.Handler) gateways.Handler {
		return func(ctx context.Context, r *gateways.Request) (gateways.Response, error) {
			if string(r.Body) == "0" {
				panic("boom")
			}
			return next(ctx, r)
		}
	})
	rig.Start(t, svc.Graph())
	call := gateways.Call[int, int](s.client(t), "good")
	_, err := call(t.Context(), 0)
	internal(t, "middleware", err)
	if n, err := call(t.Context(), 1); n != 1 || err != nil {
		t.Errorf("good: %d, %v", n, err)
	}
}

func keyedByPanics(t *testing.T) {
	s := newStand(t)
	svc := gateways.NewService(
		s.rdb,
		s.name,
		gateways.ServiceConfig{Workers: 2, KeyedBy: func(r gateways.Request) string {
			if string(r.Body) == "0" {
				panic("boom")
			}
			return r.Key
		}},
	)
	gateways.Handle(svc, "good", func(_ context.Context, n int) (int, error) { return n, nil })
	rig.Start(t, svc.Graph())
	c := s.client(t)
	if _, err := gateways.Call[int, int](c, "good", gateways.Timeout(time.Second))(t.Context(), 0); err == nil {
		t.Error("a request without a key was answered")
	}
	if n, err := gateways.Call[int, int](c, "good")(t.Context(), 1); n != 1 || err != nil {
		t.Errorf("good: %d, %v", n, err)
	}
}

func internal(t *testing.T, what string, err error) {
	t.Helper()
	var said *gateways.RemoteError
	if !errors.As(err, &said) || said.Code != gateways.CodeInternal {
		t.Errorf("%s: %v", what, err)
	}
}

// client is a client of the topic that has the stand's name.
func (s *stand) client(t *testing.T) *gateways.Client {
	c := gateways.NewClient(s.rdb, s.name, patient)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// read reads until a callback was called. Readers block for a short time only.
func read(t *testing.T, calls chan struct{}, read func(ctx context.Context) error) {
	t.Helper()
	for len(calls) == 0 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := read(ctx)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
}

func groupPanics(t *testing.T) {
	s := newStand(t)
	events, lost := make(chan struct{}, 1), make(chan struct{}, 1)
	r, err := reader.NewGroup(
		s.rdb,
		reader.GroupConfig{Key: s.name, Group: "g", Tuning: reader.Tuning{
			Lease:        300 * time.Millisecond,
			DelayedEvery: -1,
			Block:        20 * time.Millisecond,
		}, OnEvent: called[redisio.Event](events), OnLost: called[[]string](lost)},
	)
	if err == nil {
		err = r.Open(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	id := s.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: s.name, Values: []string{"data", "1"}}).Val()
	var b redisio.Batch
	for len(b.Entries) == 0 {
		if err := r.Read(t.Context(), 1, 1<<20, &b); err != nil {
			t.Fatal(err)
		}
	}
	s.rdb.XClaim(t.Context(), &redis.XClaimArgs{Stream: s.name, Group: "g", Consumer: "other", Messages: []string{id}})
	wait(t, lost) // from the goroutine that renews leases
	wait(t, events)
}

func writerPanics(t *testing.T) {
	s := newStand(t)
	s.rdb.XGroupCreateMkStream(t.Context(), s.name, "g", "0")
	events := make(chan struct{}, 1)
	w, err := writer.New(
		s.rdb,
		writer.Config{
			Key:    s.name,
			MaxLen: 1,
			Tuning: writer.Tuning{
				Exact:      true,
				DropUnread: true,
			},
			OnEvent: called[redisio.Event](events),
		},
	)
	if err == nil {
		err = w.Open(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(context.Background())
	out := redisio.Outgoing{Fields: redisio.Fields{{Name: "data", Value: []byte("1")}}}
	if err := w.Write(t.Context(), []redisio.Outgoing{out, out, out}, make([]redisio.Result, 3)); err != nil {
		t.Error(err)
	}
	wait(t, events)
}

func tailPanics(t *testing.T) {
	srv := redistest.Shared(t)
	proxy := redistest.StartProxy(t, srv.Addr())
	key := redistest.Key(t)
	events := make(chan struct{}, 1)
	r, err := reader.NewTail(
		proxy.Client(t),
		reader.TailConfig{Key: key, Block: 20 * time.Millisecond, OnEvent: called[redisio.Event](events)},
	)
	if err == nil {
		err = r.Open(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	proxy.SetDown(true)
	read(t, events, func(ctx context.Context) error {
		var b redisio.Batch
		return r.Read(ctx, 1, 1<<20, &b)
	})
}

func rangePanics(t *testing.T) {
	s := newStand(t)
	s.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: s.name, Values: []string{"data", strings.Repeat("x", 1000)}})
	proxy := redistest.StartProxy(t, redistest.Shared(t).Addr())
	events := make(chan struct{}, 1)
	r, err := reader.NewRange(
		proxy.Client(t),
		reader.RangeConfig{Key: s.name, OnEvent: called[redisio.Event](events)},
	)
	if err == nil {
		err = r.Open(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	proxy.Cut(redistest.CutHalfReply, "xrange", 8)
	for len(events) == 0 {
		var b redisio.Batch
		if err := r.Read(t.Context(), 100, 0, &b); err == nil && len(events) == 0 {
			t.Fatal("it read all without an event")
		}
	}
}

func progressPanics(t *testing.T) {
	s := newStand(t)
	for range 3 {
		s.rdb.XAdd(
			t.Context(),
			&redis.XAddArgs{
				Stream: s.name,
				Values: []string{"data", "1", "dead:key", s.name + ":to", "dead:id", "1-1"},
			},
		)
	}
	calls := make(chan struct{}, 1)
	report, err := dead.Replay(
		t.Context(),
		s.rdb,
		s.name,
		dead.Filter{},
		dead.ReplayOptions{To: s.name + ":to", OnProgress: called[dead.ReplayReport](calls)},
	)
	if err != nil || report.Replayed != 3 {
		t.Errorf("replay: %+v, %v", report, err)
	}
	wait(t, calls)
	s.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: s.name, Values: []string{"data", "1"}})
	n, err := dead.Drop(
		t.Context(),
		s.rdb,
		s.name,
		dead.Filter{},
		dead.DropOptions{OnProgress: called[int64](calls)},
	)
	if err != nil || n == 0 {
		t.Errorf("drop: %d, %v", n, err)
	}
	wait(t, calls)
}

func tickerPanics(t *testing.T) {
	for _, cfg := range []schedule.TickerConfig{
		{Next: boom[time.Time, time.Time], Fields: func(time.Time) redisio.Fields { return nil }},
		{Next: func(at time.Time) time.Time { return at.Truncate(time.Millisecond).Add(time.Millisecond) }, Fields: boom[time.Time, redisio.Fields]},
	} {
		s := newStand(t)
		told := make(chan error, 1)
		cfg.Key = s.name
		cfg.OnRetry = func(err error, _ time.Duration) {
			select {
			case told <- err:
			default:
			}
			panic("boom")
		}
		ticker, err := schedule.NewTicker(s.rdb, cfg)
		if err != nil {
			t.Fatal(err)
		}
		k := ticker.Keep(nil)
		if err := <-told; !strings.Contains(err.Error(), "TickerConfig.") {
			t.Errorf("OnRetry is told %v", err)
		}
		_ = k.Stop()
	}
}

// everyMillisecond returns the next full millisecond.
func everyMillisecond(after time.Time) time.Time {
	return after.Truncate(time.Millisecond).Add(time.Millisecond)
}

// ahead writes an entry with an ID in the future: a ticker reports that it waits.
func ahead(t *testing.T, s *stand) {
	t.Helper()
	id := redisio.IDAt(time.Now().Add(time.Hour)).String()
	if err := s.rdb.XAdd(t.Context(),
		&redis.XAddArgs{Stream: s.name, ID: id, Values: []string{"data", "x"}}).Err(); err != nil {
		t.Fatal(err)
	}
}

func tickerEventPanics(t *testing.T) {
	s := newStand(t)
	ahead(t, s)
	calls := make(chan struct{}, 1)
	ticker, err := schedule.NewTicker(s.rdb, schedule.TickerConfig{Key: s.name, OnEvent: called[redisio.Event](calls),
		Next: everyMillisecond, Fields: func(time.Time) redisio.Fields { return redisio.Fields{{Name: "data"}} }})
	if err != nil {
		t.Fatal(err)
	}
	k := ticker.Keep(nil)
	wait(t, calls)
	s.rdb.Del(t.Context(), s.name)
	redistest.Soon(t, "it ticks behind the panic", func() bool { return s.rdb.Exists(t.Context(), s.name).Val() > 0 })
	if err := k.Stop(); err != nil {
		t.Fatal(err)
	}
}

func moverPanics(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "nowhere:1", MaxRetries: -1, DialerRetries: 1,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no server") }})
	defer rdb.Close()
	calls := make(chan struct{}, 1)
	s, err := schedule.New(rdb, schedule.Config{Key: "orders", OnEvent: called[redisio.Event](calls)})
	if err != nil {
		t.Fatal(err)
	}
	k := s.Keep(nil)
	wait(t, calls)
	if err := k.Stop(); err != nil {
		t.Fatal(err)
	}
}

// ticksPanics makes Next panic first. Then OnEvent panics at the event that the stream's last ID
// lies in the future.
func ticksPanics(t *testing.T) {
	s := newStand(t)
	var fail atomic.Bool
	fail.Store(true)
	nexts, events := make(chan struct{}, 1), make(chan struct{}, 1)
	ticks := source.Ticks(
		s.rdb,
		source.TicksConfig{Key: s.name, Group: "g", Tuning: reader.Tuning{Block: 20 * time.Millisecond},
			OnEvent: called[redisio.Event](events),
			Next: func(after time.Time) time.Time {
				if fail.Load() {
					called[time.Time](nexts)(after)
				}
				return everyMillisecond(after)
			}},
	)
	got := make(chan struct{}, 1)
	rig.Start(t, flow.New("ticks", flow.To(ticks, sink.Func(func(context.Context, source.Tick) error {
		select {
		case got <- struct{}{}:
		default:
		}
		return nil
	}))))
	wait(t, nexts)
	ahead(t, s)
	fail.Store(false)
	wait(t, events)
	s.rdb.Del(t.Context(), s.name)
	wait(t, got) // it ticks after the panics
}

func keepPanics(t *testing.T) {
	s := newStand(t)
	s.rdb.Set(t.Context(), s.name, "a string", 0)
	ticker, err := schedule.NewTicker(
		s.rdb,
		schedule.TickerConfig{Key: s.name, Next: func(at time.Time) time.Time { return at.Add(time.Second) },
			Fields: func(time.Time) redisio.Fields { return nil }},
	)
	if err != nil {
		t.Fatal(err)
	}
	calls := make(chan struct{}, 1)
	k := ticker.Keep(called[error](calls))
	wait(t, calls)
	<-k.Done()
	if !redisio.IsPermanent(k.Stop()) {
		t.Error("it does not say why it ended")
	}
}

func sourcePanics(t *testing.T) {
	s := newStand(t)
	calls := make(chan struct{}, 1)
	in := source.Stream(
		s.rdb,
		source.StreamConfig[int]{
			Key:     s.name,
			Group:   "g",
			Tuning:  reader.Tuning{Block: 20 * time.Millisecond},
			OnEvent: called[redisio.Event](calls),
		},
	)
	got := make(chan int, 10)
	rig.Start(
		t,
		flow.New("read", flow.To(in, sink.Func(func(_ context.Context, n int) error { got <- n; return nil }))),
	)
	s.rdb.Del(t.Context(), s.name)
	wait(t, calls)
	s.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: s.name, Values: []string{"data", "7"}})
	equal(t, "what is read behind the panic", 7, <-got)
}

func tailSourcePanics(t *testing.T) {
	proxy := redistest.StartProxy(t, redistest.Shared(t).Addr())
	rdb, key := proxy.Client(t), redistest.Key(t)
	calls := make(chan struct{}, 1)
	in := source.Tail(
		rdb,
		source.TailConfig[int]{Key: key, Block: 20 * time.Millisecond, OnEvent: called[redisio.Event](calls)},
	)
	got := make(chan int, 10)
	rig.Start(
		t,
		flow.New("read", flow.To(in, sink.Func(func(_ context.Context, n int) error { got <- n; return nil }))),
	)
	direct := redistest.Shared(t).Client(t)
	direct.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []string{"data", "6"}})
	equal(t, "what is read before the panic", 6, <-got) // it is connected then
	proxy.SetDown(true)
	wait(t, calls)
	proxy.SetDown(false)
	direct.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []string{"data", "7"}})
	equal(t, "what is read behind the panic", 7, <-got)
}

// stagePanics runs a graph that ends with an error, because a function in it panics.
func stagePanics(t *testing.T, b flow.Branch) {
	t.Helper()
	err := flow.New("boom", b, flow.Faults(flow.Retry(1, time.Millisecond, flow.Stop)),
		flow.Restarts(1, time.Minute, time.Millisecond)).
		Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("it ended with %v", err)
	}
}

func streamPanics(t *testing.T, set func(*sink.StreamConfig[int])) {
	s := newStand(t)
	cfg := sink.StreamConfig[int]{Key: s.name}
	set(&cfg)
	stagePanics(t, flow.To(source.Of(1), sink.Stream(s.rdb, cfg), flow.OnFault(flow.Stop)))
}

func retryPanics(t *testing.T) {
	proxy := redistest.StartProxy(t, redistest.Shared(t).Addr())
	calls := make(chan struct{}, 1)
	from, in := source.Queue[int](1)
	key := redistest.Key(t)
	rig.Start(
		t,
		flow.New(
			"write",
			flow.To(
				from,
				sink.Stream(
					proxy.Client(t),
					sink.StreamConfig[int]{Key: key, OnRetry: called[sink.StreamRetry](calls)},
				),
			),
		),
	)
	if err := in.Deliver(t.Context(), 1); err != nil { // it is connected then
		t.Fatal(err)
	}
	proxy.SetDown(true)
	if err := in.Offer(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	wait(t, calls)
	proxy.SetDown(false)
	rdb := redistest.Shared(t).Client(t)
	redistest.Soon(t, "it is written", func() bool { return rdb.XLen(t.Context(), key).Val() > 1 })
}

func fullPanics(t *testing.T) {
	s := newStand(t)
	s.rdb.XGroupCreateMkStream(t.Context(), s.name, "g", "0")
	calls := make(chan struct{}, 1)
	full := called[flow.Message[int]](calls)
	from, in := source.Queue[int](1)
	out := sink.StreamConfig[int]{Key: s.name, Tuning: writer.Tuning{HardCap: 1},
		OnFull: func(m flow.Message[int]) error { full(m); return nil }}
	rig.Start(t, flow.New("write", flow.To(from, sink.Stream(s.rdb, out))))
	for n := range 2 {
		if err := in.Offer(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, calls)
	s.rdb.XReadGroup(
		t.Context(),
		&redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{s.name, ">"}, NoAck: true},
	)
	redistest.Soon(t, "the second is written", func() bool {
		last := s.rdb.XRevRangeN(t.Context(), s.name, "+", "-", 1).Val()
		return len(last) == 1 && last[0].Values["data"] == "1"
	})
}

func sinkEventPanics(t *testing.T) {
	s := newStand(t)
	s.rdb.XGroupCreateMkStream(t.Context(), s.name, "g", "0")
	calls := make(chan struct{}, 1)
	run(
		t,
		sink.Stream(
			s.rdb,
			sink.StreamConfig[int]{
				Key:    s.name,
				MaxLen: 1,
				Tuning: writer.Tuning{
					Exact:      true,
					DropUnread: true,
				},
				OnEvent: called[redisio.Event](calls),
			},
		),
		1,
		2,
		3,
	)
	wait(t, calls)
	equal(t, "entries", int64(1), cmp.Or(s.rdb.XLen(t.Context(), s.name).Val(), -1))
}
