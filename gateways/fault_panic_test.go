package gateways_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"iter"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
)

// explosive is a value with methods that panic on demand.
type explosive struct {
	Say  string `json:"say"`
	Text bomb   `json:"-"`
}

func (e explosive) Validate() error {
	if e.Say == "boom" {
		panic("Validate")
	}
	return nil
}

func (e *explosive) UnmarshalJSON(b []byte) error {
	if strings.Contains(string(b), "decode") {
		panic("UnmarshalJSON")
	}
	e.Say = strings.Trim(string(b), `"{}say:`)
	return nil
}

func (e explosive) MarshalJSON() ([]byte, error) {
	if e.Say == "encode" {
		panic("MarshalJSON")
	}
	return []byte(`{"say":"` + e.Say + `"}`), nil
}

// bomb is a text with methods that panic.
type bomb string

func (b *bomb) UnmarshalText(text []byte) error {
	if string(text) == "boom" {
		panic("UnmarshalText")
	}
	*b = bomb(text)
	return nil
}

// A panic in a user's function for HTTP, SSE or events used to end its connection, at best. Now it
// fails only its own request, which is answered, and the next one is served.
func TestFault_S3_PanicsInCallbacks(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	boom := func(r *http.Request) bool { return r.URL.Query().Get("a") == "boom" }
	// serves sends a handler a request that panics, and then one that does not.
	serves := func(h http.Handler, bad, good *http.Request) func(*testing.T) {
		return func(t *testing.T) {
			if got := rig.Ask(h, bad); got.Status != http.StatusInternalServerError ||
				got.Failure(t).Code != gateways.CodeInternal ||
				strings.Contains(got.Body, "boom") {
				t.Errorf("%+v", got)
			}
			if got := rig.Ask(h, good); got.Status >= 300 {
				t.Errorf("the next request: %+v", got)
			}
		}
	}
	get := func(query string) *http.Request { return rig.Asked("GET", "/?"+query, "") }
	covered := map[string]func(*testing.T){
		"Authenticate who": serves(web.HTTP(e.Client, "echo",
			web.Authenticate(func(r *http.Request) (gateways.Identity, error) {
				if boom(r) {
					panic("boom")
				}
				return gateways.Identity{User: "ann"}, nil
			})), get("a=boom"), get("a=1")),
		"Keyed key": serves(web.Route[explosive](e.Client, "echo", gateways.Keyed(func(e explosive) string {
			if e.Say == "hit" {
				panic("boom")
			}
			return "k"
		})), rig.Asked("POST", "/", `"hit"`), rig.Asked("POST", "/", `"x"`)),
		"Validate": serves(web.Route[explosive](e.Client, "echo"), rig.Asked("POST", "/", `"boom"`),
			rig.Asked("POST", "/", `"x"`)),
		"UnmarshalJSON": serves(web.Route[explosive](e.Client, "echo"), rig.Asked("POST", "/", `"decode"`),
			rig.Asked("POST", "/", `"x"`)),
		"MarshalJSON": serves(web.Route[explosive](e.Client, "echo"), rig.Asked("POST", "/", `"encode"`),
			rig.Asked("POST", "/", `"x"`)),
		"UnmarshalText": serves(web.Route[struct {
			A bomb `json:"a" query:"a"`
		}](e.Client, "echo"), get("a=boom"), get("a=1")),
		"Ready checks": func(t *testing.T) {
			h := web.Ready(func() error { panic("boom") })
			if got := rig.Ask(h, get("")); got.Status != http.StatusServiceUnavailable ||
				!strings.Contains(got.Body, "boom") {
				t.Errorf("%+v", got)
			}
		},
		"Serve h": func(t *testing.T) {
			addr, _ := rig.Up(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if boom(r) {
					panic("boom")
				}
			}), web.ServerConfig{})
			for query, want := range map[string]int{"a=boom": 500, "a=1": 200} {
				if got := rig.Fetch(t, rig.Asked("GET", "http://"+addr+"/?"+query, "")); got.Status != want {
					t.Errorf("%+v", got)
				}
			}
		},
		"CORS h": func(t *testing.T) {
			addr, _ := rig.Up(t, web.CORS(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") }),
				web.CORSConfig{Origins: []string{"*"}}), web.ServerConfig{})
			got := rig.Fetch(t, rig.Asked("GET", "http://"+addr+"/", "", "Origin: https://a.example.com"))
			if got.Status != 500 || got.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%+v", got)
			}
		},
		"Config.Authenticate": func(t *testing.T) {
			s := rig.NewStand(t)
			h := sse.New(s.RDB, sse.Config{Key: s.Topic, Authenticate: func(*http.Request) (gateways.Identity, error) {
				panic("boom")
			}})
			if got := rig.Ask(h, get("a=1")); got.Status != http.StatusInternalServerError {
				t.Errorf("%+v", got)
			}
		},
		"Config.Feed": func(t *testing.T) {
			var key string
			b := rig.NewBoard(
				t,
				sse.Config{From: "0", Feed: func(r *http.Request, _ gateways.Identity) (sse.Feed, error) {
					if boom(r) {
						panic("boom")
					}
					return sse.Feed{Key: key, All: true}, nil
				}},
			)
			key = b.Topic
			b.Add(t, "n", "", "x")
			if got := rig.Fetch(t, rig.Asked("GET", b.URL+"?a=boom", "")); got.Status != 500 {
				t.Errorf("%+v", got)
			}
			rig.Subscribe(t, b.URL).Data(1)
			redistest.Soon(t, "one client is counted", func() bool { return b.Stats().Clients == 1 })
		},
		"Config.Event": func(t *testing.T) {
			b := rig.NewBoard(t, sse.Config{From: "0", Event: func(e *redisio.Entry) (sse.Event, error) {
				v, _ := e.Fields.Get("data")
				if string(v) == "boom" {
					panic("boom")
				}
				return sse.Event{Data: v}, nil
			}})
			b.Add(t, "n", "", "boom")
			b.Add(t, "n", "", "x")
			if got := rig.Subscribe(t, b.URL).Data(1); got[0] != "x" {
				t.Errorf("%q", got)
			}
		},
		"ServeStream values": func(t *testing.T) {
			values := func(n int) iter.Seq2[int, error] {
				return func(yield func(int, error) bool) {
					for i := range n {
						if !yield(i, nil) {
							return
						}
					}
					panic("boom")
				}
			}
			h := func(n int) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter,
					r *http.Request) {
					sse.ServeStream(w, r, values(n))
				})
			}
			if got := rig.Ask(h(0), get("")); got.Status != 500 || got.Failure(t).Code != gateways.CodeInternal {
				t.Errorf("%+v", got)
			}
			if got := rig.Ask(h(2), get("")); !strings.Contains(got.Body, "event: failure") ||
				strings.Contains(got.Body, "boom") || strings.Contains(got.Body, "event: end") {
				t.Errorf("%+v", got)
			}
		},
		"Publish": func(t *testing.T) { // Keyed and MarshalJSON again
			pub := events.NewPublisher(e.RDB, redistest.Key(t), events.PublisherConfig{})
			defer pub.Close(context.Background())
			publish := events.Publish[explosive](pub, "said", gateways.Keyed(func(e explosive) string {
				if e.Say == "hit" {
					panic("boom")
				}
				return "k"
			}))
			for _, say := range []string{"hit", "encode"} {
				var panicked *flow.PanicError
				if err := publish(t.Context(), explosive{Say: say}); !errors.As(err, &panicked) ||
					len(panicked.Stack) == 0 {
					t.Errorf("%s: %v", say, err)
				}
			}
			if err := publish(t.Context(), explosive{Say: "x"}); err != nil {
				t.Error(err)
			}
		},
		"Subscribe": func(t *testing.T) { // UnmarshalJSON
			topic := redistest.Key(t)
			pub := events.NewPublisher(e.RDB, topic, events.PublisherConfig{})
			defer pub.Close(context.Background())
			publish := events.Publish[string](pub, "said")
			got := make(chan string, 2)
			in := events.Subscribe[explosive](e.RDB, topic, "said",
				events.SubscribeConfig{Start: redisio.StartBeginning()})
			rig.Start(t, flow.New("listens", flow.To(in, sink.Func(func(_ context.Context,
				e explosive) error {
				got <- e.Say
				return nil
			}))))
			for _, text := range []string{`"decode"`, `"x"`} {
				if err := publish(t.Context(), text); err != nil {
					t.Fatal(err)
				}
			}
			if say := <-got; say != "x" {
				t.Errorf("got %q", say)
			}
		},
	}
	for name, test := range covered {
		t.Run(strings.ReplaceAll(name, " ", "_"), test)
	}
	for _, name := range callbacks(t, "web/*.go", "sse/*.go", "events/*.go") {
		if covered[name] == nil {
			t.Errorf("%s is a function of the user's: add what happens when it panics", name)
		}
	}
}

// callbacks lists the functions that users supply: "Type.Field" of exported structs, and "Func
// parameter" of exported functions.
func callbacks(t *testing.T, patterns ...string) (names []string) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if d.Recv == nil && d.Name.IsExported() {
						names = append(names, functions(d.Name.Name+" ", d.Type.Params)...)
					}
				case *ast.GenDecl:
					for _, spec := range d.Specs {
						if s, is := spec.(*ast.TypeSpec); is && s.Name.IsExported() {
							if st, is := s.Type.(*ast.StructType); is {
								names = append(names, functions(s.Name.Name+".", st.Fields)...)
							}
						}
					}
				}
			}
		}
	}
	if !slices.Contains(names, "Config.Feed") || !slices.Contains(names, "Authenticate who") {
		t.Errorf("it finds %q only", names)
	}
	return names
}

func functions(prefix string, fields *ast.FieldList) (names []string) {
	for _, f := range fields.List {
		for _, n := range f.Names {
			if isFunction(f.Type) && (n.IsExported() || strings.HasSuffix(prefix, " ")) {
				names = append(names, prefix+n.Name)
			}
		}
	}
	return names
}

// isFunction reports functions, several of them, iterators and handlers.
func isFunction(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.FuncType:
		return true
	case *ast.Ellipsis:
		return isFunction(x.Elt)
	case *ast.ArrayType:
		return isFunction(x.Elt)
	case *ast.IndexListExpr: // iter.Seq2
		return isFunction(x.X)
	case *ast.IndexExpr:
		return isFunction(x.X)
	case *ast.SelectorExpr:
		return slices.Contains([]string{"Seq", "Seq2", "Handler", "HandlerFunc", "Authenticator"}, x.Sel.Name)
	case *ast.Ident:
		return slices.Contains([]string{"Handler", "Middleware"}, x.Name)
	}
	return false
}
