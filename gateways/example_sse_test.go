package gateways_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
)

func ExampleSSE() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer rdb.Close()
	events := gateways.SSE(rdb, gateways.SSEConfig{
		Feed: func(r *http.Request) (gateways.Feed, error) {
			user, _, ok := r.BasicAuth() // or whatever tells who it is
			if !ok {
				return gateways.Feed{}, gateways.Errorf(gateways.CodeUnauthorized, "log in first")
			}
			return gateways.Feed{Key: "{notes}:events", Topics: []string{user, "everybody"}}, nil
		},
		Overflow: gateways.OverflowDropOldest,
	})
	defer events.Close(context.Background())
	mux := http.NewServeMux()
	mux.Handle("GET /events", events)

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil))
	fmt.Println(w.Code, w.Body)
	// Output:
	// 401 {"error":{"code":"unauthorized","message":"log in first"}}
}

func ExampleServeStream() {
	// What gateways.Stream[Range, int](client, "count") returns.
	count := func(ctx context.Context, from, to int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for n := from; n <= to && yield(n, nil); n++ {
			}
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gateways.ServeStream(w, r, count(r.Context(), 1, 2))
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
