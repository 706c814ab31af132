package sse_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/sse"
)

// Note is for a user.
type Note struct{ User, Text string }

// userOf stands for your authentication, such as a session or a token.
func userOf(r *http.Request) (gateways.Identity, error) {
	user, _, ok := r.BasicAuth()
	if !ok {
		return gateways.Identity{}, gateways.Errorf(gateways.CodeUnauthorized, "log in first")
	}
	return gateways.Identity{User: user}, nil
}

func ExampleNew() {
	rdb, mux := redis.NewClient(&redis.Options{Addr: "localhost:6379"}), http.NewServeMux()
	defer rdb.Close()

	pub := events.NewPublisher(rdb, "notes", events.PublisherConfig{})
	publish := events.Publish[Note](pub, "note", gateways.Keyed(func(n Note) string { return n.User }))

	feed := sse.New(rdb, sse.Config{Authenticate: userOf, Feed: func(_ *http.Request, who gateways.Identity) (
		sse.Feed, error,
	) {
		return sse.Feed{Key: events.Key("notes"), Topics: []string{who.User, "everyone"}}, nil
	}})
	mux.Handle("GET /events", feed)
	defer feed.Close(context.Background())

	_ = publish // err := publish(ctx, Note{User: "ann", Text: "lunch is ready"})
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil))
	fmt.Println(w.Code, w.Body)
	// Output:
	// 401 {"error":{"code":"unauthorized","message":"log in first"}}
}

func ExampleServeStream() {
	// Stands for the result of gateways.Stream[Range, int](client, "count").
	count := func(ctx context.Context, from, to int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for n := from; n <= to && yield(n, nil); n++ {
			}
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sse.ServeStream(w, r, count(r.Context(), 1, 2))
	}))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Print(string(body), err)
	// Output:
	// id: 1
	// data: 1
	//
	// id: 2
	// data: 2
	//
	// id: 3
	// event: end
	// data: {}
	//
	// <nil>
}
