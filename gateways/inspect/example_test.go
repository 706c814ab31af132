package inspect_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/inspect"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func ExampleNew() {
	show := parts.New()
	ctx := show.Watch(context.Background()) // each graph that starts with ctx is shown
	page := inspect.New(nil, show, inspect.Config{App: "shop"})
	mux := http.NewServeMux()
	mux.Handle("/inspect/", page)

	orders := flow.New("orders", flow.To(source.Of(1, 2, 3), sink.Discard[int]()))
	if err := orders.Run(ctx); err != nil { // together with page, by app.Run
		fmt.Println(err)
	}
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest("GET", "/inspect/", nil))
	fmt.Println(answer.Code, answer.Header().Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}

func ExampleConfig_Access() {
	fmt.Println(inspect.Config{App: "shop"}.Access().Selectors[0].Writes)
	// Output: [inspect:{shop}:*]
}
