package app_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// A graph and a server run in one process. The server ends first, then the graph drains.
func ExampleRun() {
	orders, inbox := source.Queue[string](16)
	packed := sink.Func(func(_ context.Context, item string) error {
		fmt.Println("packed", item)
		return nil
	})
	pack := flow.New("pack", flow.To(orders, packed))

	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		if err := inbox.Deliver(r.Context(), r.FormValue("item")); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		}
	})
	ctx, cancel := context.WithCancel(context.Background()) // app.Main cancels it on Ctrl-C
	server := &app.Server{Addr: "localhost:0", Handler: mux, Listening: func(url string) {
		go func() {
			defer cancel()
			if answer, err := http.Post(url+"orders?item=tea", "", nil); err == nil {
				answer.Body.Close()
			}
		}()
	}}
	if err := app.Run(ctx, pack, server); err != nil {
		log.Fatal(err)
	}
	// Output: packed tea
}

// A client closes after the parts that follow it have ended.
func ExampleClosing() {
	closes := func(name string) app.Part {
		return app.Closing(func(context.Context) error {
			fmt.Println(name, "is closed")
			return nil
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancelled := app.Func(func(context.Context) error { cancel(); return nil })
	if err := app.Run(ctx, closes("the database"), closes("the client"), cancelled); err != nil {
		log.Fatal(err)
	}
	// Output:
	// the client is closed
	// the database is closed
}
