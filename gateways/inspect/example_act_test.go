package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/inspect"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Operators may pause and resume graphs. Nobody may drain one from the page.
func ExampleAction() {
	show := parts.New()
	orders, inbox := source.Queue[string](10)
	g := flow.New("orders", flow.To(orders, sink.Discard[string]()))
	running, err := g.Start(show.Watch(context.Background()))
	if err != nil {
		fmt.Println(err)
		return
	}
	page := inspect.New(nil, show, inspect.Config{
		App: "shop", Log: slog.New(slog.DiscardHandler), AllowActions: true,
		Authorize: func(r *http.Request, a inspect.Action) (string, error) {
			user, _, _ := r.BasicAuth() // checked by the handler around the page
			if a.Do == inspect.ActDrain {
				return user, errors.New("graphs end with their process")
			}
			return user, nil
		},
	})
	for _, body := range []string{`{"do":"pause","graph":"orders"}`, `{"do":"drain","graph":"orders"}`} {
		r := httptest.NewRequest("POST", "/inspect/act", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.SetBasicAuth("anne", "")
		answer := httptest.NewRecorder()
		page.ServeHTTP(answer, r)
		fmt.Println(answer.Code, running.State())
	}
	inbox.Close()
	_ = running.Stop()
	// Output:
	// 200 paused
	// 403 paused
}
