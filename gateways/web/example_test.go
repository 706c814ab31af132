package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/embedded"
)

// The code of the README's part on HTTP is in this file, word for word: a test compares them.

type (
	// GetBook is a request: the id comes from the path, the language from the query.
	GetBook struct {
		ID       string `json:"id" path:"id"`
		Language string `json:"language" query:"lang" default:"en"`
	}
	// Book is the reply.
	Book struct {
		ID    string `json:"id"`
		Title string `json:"title"`
	}
)

// A service, and a route to it.
func Example_http() {
	server, err := embedded.Start() // or your own Redis
	if err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := server.Client()
	defer rdb.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	svc := gateways.NewService(rdb, "books", gateways.ServiceConfig{})
	gateways.Handle(svc, "getBook", func(ctx context.Context, q GetBook) (Book, error) {
		if q.ID != "42" {
			return Book{}, gateways.Errorf(gateways.CodeNotFound, "there is no book %s", q.ID)
		}
		return Book{ID: q.ID, Title: "The Sirens of Titan"}, nil
	})

	client := gateways.NewClient(rdb, "books", gateways.ClientConfig{})
	mux := http.NewServeMux()
	mux.Handle("GET /books/{id}", web.Route[GetBook](client, "getBook", gateways.Timeout(2*time.Second)))

	defer client.Close(ctx)
	run, err := svc.Graph().Start(ctx)
	if err != nil {
		panic(err)
	}
	defer run.Drain(ctx)
	for _, path := range []string{"/books/42", "/books/43"} {
		w := get(mux, path)
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 {"id":"42","title":"The Sirens of Titan"}
	// 404 {"error":{"code":"not_found","message":"there is no book 43"}}
}

// get tries again if a busy machine did not answer in time.
func get(h http.Handler, path string) (w *httptest.ResponseRecorder) {
	for range 20 {
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code < http.StatusServiceUnavailable {
			break
		}
	}
	return w
}

func ExampleHTTP() {
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	client := gateways.NewClient(rdb, "my-stream-topic", gateways.ClientConfig{})
	mux := http.NewServeMux()
	mux.Handle("GET /", web.HTTP(client, "helloWorldEvent"))
	mux.Handle("POST /notes", web.HTTP(client, "note", web.FireAndForget(), web.MaxBody(64<<10)))
	mux.Handle(
		"PUT /files/{name}",
		web.HTTP(
			client,
			"putFile",
			web.Accept("application/octet-stream"),
			web.ForwardHeaders("If-Match"),
		),
	)

	login := web.HTTP(
		client,
		"login",
		web.PassHeaders("Set-Cookie"),
		web.Log(slog.New(slog.DiscardHandler)),
	)
	mux.Handle("POST /login", login)
	// With another router, which sets path values by SetPathValue.
	profile := web.HTTP(client, "getProfile", web.PathValues("user"))
	fmt.Println(login.Validate(), profile.Validate())
	// Output: <nil> <nil>
}

func ExampleRoute() {
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	client := gateways.NewClient(rdb, "books", gateways.ClientConfig{})
	route := web.Route[struct {
		Shelf string `json:"shelf" path:"shelf"`
		Limit int    `json:"limit" query:"limit" default:"20"`
	}](client, "listBooks")
	fmt.Println(route.Validate())

	mux := http.NewServeMux()
	mux.Handle("GET /shelves/{shelf}/books", route)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/shelves/7/books?limit=many", nil))
	fmt.Println(w.Code, w.Body)
	// Output:
	// <nil>
	// 400 {"error":{"code":"invalid_request","message":"the query's \"limit\" must be a 64-bit integer","field":"limit"}}
}

func ExampleAuthenticate() {
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	client := gateways.NewClient(rdb, "books", gateways.ClientConfig{})
	route := web.HTTP(client, "listBooks", web.Authenticate(func(r *http.Request) (gateways.Identity, error) {
		user, password, given := r.BasicAuth()
		if !given || password != "secret of "+user {
			return gateways.Identity{}, errors.New("wrong user or password")
		}
		return gateways.Identity{User: user}, nil // the handler receives it in the header gateways.HeaderIdentity
	}))
	w := httptest.NewRecorder()
	route.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println(w.Code, w.Body)
	// Output: 401 {"error":{"code":"unauthorized","message":"authentication required"}}
}

// The handler of a webhook receives the signed bytes unchanged.
func ExampleRawBody() {
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	client := gateways.NewClient(rdb, "payments", gateways.ClientConfig{})
	hook := web.HTTP(client, "paid", web.RawBody(), web.FireAndForget(),
		web.ForwardHeaders("X-Signature"))
	fmt.Println(hook.Validate())
	// Output: <nil>
}

// A browser asks whether a page of another origin may send JSON.
func ExampleCORS() {
	mux := http.NewServeMux()
	mux.Handle("PUT /books/{id}", http.NotFoundHandler()) // web.HTTP(client, "putBook")
	h := web.CORS(mux, web.CORSConfig{Origins: []string{"https://app.example.com"}})

	r := httptest.NewRequest("OPTIONS", "/books/7", nil)
	r.Header.Set("Origin", "https://app.example.com")
	r.Header.Set("Access-Control-Request-Method", "PUT")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Access-Control-Allow-Methods"))
	// Output: 204 GET, HEAD, POST, PUT, PATCH, DELETE
}

// A server that ends cleanly with Ctrl-C.
func ExampleServe() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	l, err := web.Listen("localhost:0") // localhost:3000
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", web.Healthy())
	go func() { // a client sends a request, then the user presses Ctrl-C
		defer stop()
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		r, err := c.Get("http://" + l.Addr().String() + "/healthz")
		if err != nil {
			panic(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		fmt.Println(r.StatusCode, strings.TrimSpace(string(b)))
	}()
	fmt.Println(web.Serve(ctx, l, mux, web.ServerConfig{}))
	// Output:
	// 200 ok
	// <nil>
}

func ExampleListen() {
	l, err := web.Listen("localhost:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	_, err = web.Listen(l.Addr().String())
	var busy *web.ListenError
	fmt.Println(errors.As(err, &busy))
	// Output: true
}

func ExampleReady() {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", web.Healthy())
	mux.Handle("GET /readyz", web.Ready(func() error { return flow.ErrNotReady }))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	// Output: 503 flow: not ready
}
