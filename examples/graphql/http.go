package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/graph-gophers/graphql-go"
	gqlerrors "github.com/graph-gophers/graphql-go/errors"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways"
)

//go:embed page
var page embed.FS

// maxBody is the size of a request, and of a message of a WebSocket.
const maxBody = 64 << 10

// routes serves the page, POST /graphql, and WebSockets at GET /graphql. Pages of other sites can do
// nothing here: browsers send them a preflight for JSON, which no route answers, CrossOriginProtection
// refuses the rest, and WebSockets are accepted from this site only.
func (a *api) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", cli.Secure(cli.Page(page)))
	mux.HandleFunc("POST /graphql", a.post)
	mux.HandleFunc("GET /graphql", a.socket)
	return http.NewCrossOriginProtection().Handler(mux)
}

// query is an operation that a client sends.
type query struct {
	Query         string         `json:"query"`
	OperationName string         `json:"operationName"`
	Variables     map[string]any `json:"variables"`
	Extensions    map[string]any `json:"extensions"` // allowed by the specification; not used
}

// post answers a query or a mutation. A failed field is an error in a response with status 200. A
// response without data has status 400 if the client knows the type of GraphQL responses.
func (a *api) post(w http.ResponseWriter, r *http.Request) {
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "Content-Type must be application/json")
		return
	}
	var q query
	var large *http.MaxBytesError
	switch err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&q); {
	case errors.As(err, &large):
		refuse(w, http.StatusRequestEntityTooLarge, "request body exceeds 64 KiB")
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, "request body must be JSON with a query")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxTime)
	defer cancel()
	o := a.operation()
	resp := a.schema.Exec(o.in(ctx), q.Query, q.OperationName, q.Variables)
	resp.Extensions = map[string]any{"calls": o.calls.Load()} // calls of services in this operation
	typ, status := "application/json", http.StatusOK
	if strings.Contains(r.Header.Get("Accept"), "application/graphql-response+json") {
		if typ = "application/graphql-response+json"; resp.Data == nil {
			status = http.StatusBadRequest
		}
	}
	answer(w, typ, status, resp)
}

func refuse(w http.ResponseWriter, status int, message string) {
	e := &gqlerrors.QueryError{Message: message, Extensions: map[string]any{"code": gateways.CodeInvalid}}
	answer(w, "application/json", status, &graphql.Response{Errors: []*gqlerrors.QueryError{e}})
}

func answer(w http.ResponseWriter, typ string, status int, resp *graphql.Response) {
	w.Header().Set("Content-Type", typ+"; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(resp) // the client may have gone
}
