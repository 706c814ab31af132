package main

import (
	"context"
	"embed"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/streamerson/streamerson-go/examples/crud/todo"
	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/web"
)

// Requests, bound by the routes and received by the handlers.
type (
	list struct {
		Done *bool `json:"done,omitempty" query:"done"`
	}
	get struct {
		ID string `json:"id" path:"id"`
	}
	add struct {
		Title string `json:"title"`
	}
	change struct {
		ID      string  `json:"id" path:"id"`
		Title   *string `json:"title,omitempty"`
		Done    *bool   `json:"done,omitempty"`
		IfMatch string  `json:"ifMatch" header:"If-Match"`
	}
	remove struct {
		ID string `json:"id" path:"id"`
	}
)

// Validate rejects an invalid If-Match before the request is sent.
func (c change) Validate() error {
	if _, err := version(c.IfMatch); err != nil {
		return &gateways.FieldError{Field: "If-Match", Problem: `must be an ETag, as "3"`}
	}
	return nil
}

// version returns the version in an If-Match header; 0 means any.
func version(ifMatch string) (int, error) {
	if ifMatch == "" || ifMatch == "*" {
		return 0, nil
	}
	text, err := strconv.Unquote(ifMatch)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// handle registers handlers that answer from a list.
func handle(svc *gateways.Service, l *todo.List) {
	gateways.Handle(svc, "list", func(_ context.Context, q list) ([]todo.Item, error) { return l.All(q.Done), nil })
	gateways.Handle(svc, "get", func(_ context.Context, q get) (gateways.Answer[todo.Item], error) {
		it, err := l.Get(q.ID)
		return answer(http.StatusOK, it), remote(err)
	})
	gateways.Handle(svc, "add", func(_ context.Context, q add) (gateways.Answer[todo.Item], error) {
		it, err := l.Add(q.Title)
		return answer(http.StatusCreated, it, flow.Header{Name: "Location", Value: "/todos/" + it.ID}), remote(err)
	})
	gateways.Handle(svc, "change", func(_ context.Context, q change) (gateways.Answer[todo.Item], error) {
		v, err := version(q.IfMatch)
		if err != nil {
			return gateways.Answer[todo.Item]{}, gateways.Errorf(gateways.CodeInvalid, "If-Match is not an ETag")
		}
		it, err := l.Change(q.ID, todo.Change{Title: q.Title, Done: q.Done, Version: v})
		return answer(http.StatusOK, it), remote(err)
	})
	gateways.HandleVoid(svc, "remove", func(_ context.Context, q remove) error { return remote(l.Remove(q.ID)) })
}

// answer returns an item, with its version as an ETag.
func answer(status int, it todo.Item, more ...flow.Header) gateways.Answer[todo.Item] {
	etag := flow.Header{Name: "ETag", Value: strconv.Quote(strconv.Itoa(it.Version))}
	return gateways.Answer[todo.Item]{Status: status, Headers: append(more, etag), Value: it}
}

// remote converts an error of the list into one for the caller.
func remote(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, todo.ErrNotFound):
		return gateways.Errorf(gateways.CodeNotFound, "%v", err)
	case errors.Is(err, todo.ErrTwice), errors.Is(err, todo.ErrFull):
		return gateways.Errorf(gateways.CodeConflict, "%v", err)
	case errors.Is(err, todo.ErrChanged):
		return &gateways.RemoteError{Code: "changed", Message: err.Error(), Status: http.StatusPreconditionFailed}
	}
	return gateways.Errorf(gateways.CodeInvalid, "%v", err)
}

//go:embed page
var files embed.FS

// routes serves the resource, and the page that uses it.
func routes(c *gateways.Client) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /todos", web.Route[list](c, "list"))
	mux.Handle("POST /todos", web.Route[add](c, "add", web.MaxBody(4<<10)))
	mux.Handle("GET /todos/{id}", web.Route[get](c, "get"))
	mux.Handle("PATCH /todos/{id}", web.Route[change](c, "change", web.MaxBody(4<<10)))
	mux.Handle("DELETE /todos/{id}", web.Route[remove](c, "remove"))
	assets := cli.Page(files)
	mux.Handle("GET /", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().
			Set("Content-Security-Policy", strings.Join([]string{"default-src 'self'", "frame-ancestors 'none'",
				"form-action 'self'"}, "; "))
		assets.ServeHTTP(w, r)
	}))
	return mux
}
