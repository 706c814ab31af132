package main

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/graph-gophers/graphql-go"
	gqlerrors "github.com/graph-gophers/graphql-go/errors"
	gqllog "github.com/graph-gophers/graphql-go/log"
	"github.com/redis/go-redis/v9"
	"github.com/vikstrous/dataloadgen"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
)

//go:embed schema.graphql
var schemaText string

// Limits of an operation. The library checks the first four before it runs anything.
const (
	maxQuery      = 8 << 10 // bytes
	maxDepth      = 12      // introspection needs that much
	maxSelections = 1000
	maxOverlaps   = 10_000
	maxNodes      = 1000 // objects that an operation may ask services for
	maxFirst      = 50
	maxTime       = 10 * time.Second // of a query or a mutation
)

// api answers GraphQL from the services of the library. It is the root of all resolvers.
type api struct {
	schema *graphql.Schema
	feed   *events.Feed
	log    *slog.Logger
	call   calls

	stop    context.Context // done when sockets must end
	end     context.CancelFunc
	sockets atomic.Int64
	running sync.WaitGroup // sockets and subscriptions
}

// calls are the requests to services.
type calls struct {
	books         func(context.Context, many) ([]Book, error)
	booksByID     func(context.Context, many) (map[string]Book, error)
	booksByAuthor func(context.Context, many) (map[string][]Book, error)
	authorsByID   func(context.Context, many) (map[string]Author, error)
	reviewsByBook func(context.Context, many) (map[string][]Review, error)
	addReview     func(context.Context, Review) (Review, error)
}

func newAPI(c *gateways.Client, rdb redis.UniversalClient, log *slog.Logger) *api {
	a := &api{log: log, feed: events.NewFeed(rdb, topic, events.FeedConfig{Log: log})}
	a.stop, a.end = context.WithCancel(context.Background())
	a.call = calls{
		gateways.Call[many, []Book](c, "books"),
		gateways.Call[many, map[string]Book](c, "booksByID"),
		gateways.Call[many, map[string][]Book](c, "booksByAuthor"),
		gateways.Call[many, map[string]Author](c, "authorsByID"),
		gateways.Call[many, map[string][]Review](c, "reviewsByBook"),
		gateways.Call[Review, Review](c, "addReview"),
	}
	a.schema = graphql.MustParseSchema(schemaText, a,
		graphql.UseStringDescriptions(), graphql.MaxQueryLength(maxQuery), graphql.MaxDepth(maxDepth),
		graphql.MaxSelections(maxSelections), graphql.OverlapValidationLimit(maxOverlaps),
		graphql.MaxParallelism(maxNodes), // resolvers that wait for one batch
		// The library drops a result that a slow client has not taken within this time. Calls of services
		// and writes to sockets have limits of their own, which close the socket instead.
		graphql.SubscribeResolverTimeout(24*time.Hour), graphql.PanicHandler(hidden{}),
		graphql.Logger(gqllog.LoggerFunc(func(_ context.Context, v any) {
			log.Error("a resolver panicked", "panic", v, "stack", string(debug.Stack()))
		})))
	return a
}

// close ends all sockets, and waits for them.
func (a *api) close(ctx context.Context) error {
	a.end()
	a.running.Wait()
	return a.feed.Close(ctx)
}

// hidden keeps the values of panics in the log.
type hidden struct{}

func (hidden) MakePanicError(context.Context, any) *gqlerrors.QueryError {
	return &gqlerrors.QueryError{Message: "internal error", Extensions: map[string]any{"code": gateways.CodeInternal}}
}

// operation is the state of one operation, or of one result of a subscription: what it has loaded,
// and what it has cost.
//
// Idea: a query for the authors of ten books runs ten resolvers at once. Each asks a loader for its
// author. A loader collects the keys of five milliseconds into one request, so ten books cost two
// calls of services, not eleven.
type operation struct {
	api          *api
	calls, nodes atomic.Int64

	books    *dataloadgen.Loader[string, Book]
	authors  *dataloadgen.Loader[string, Author]
	byAuthor *dataloadgen.Loader[string, []Book]
	reviews  *dataloadgen.Loader[reviewsOf, []Review]
}

type reviewsOf struct {
	book  string
	first int
}

const collect = 5 * time.Millisecond

func (a *api) operation() *operation {
	o := &operation{api: a}
	o.books = loader(o, a.call.booksByID, func(k string) (string, int) { return k, 0 })
	o.authors = loader(o, a.call.authorsByID, func(k string) (string, int) { return k, 0 })
	o.byAuthor = loader(o, a.call.booksByAuthor, func(k string) (string, int) { return k, 0 })
	o.reviews = loader(o, a.call.reviewsByBook, func(k reviewsOf) (string, int) { return k.book, k.first })
	return o
}

// loader returns a loader that loads each batch with one call of a service.
func loader[K comparable, V any](
	o *operation, call func(context.Context, many) (map[string]V, error), key func(K) (id string, first int),
) *dataloadgen.Loader[K, V] {
	return dataloadgen.NewLoader(func(ctx context.Context, keys []K) ([]V, []error) {
		q := many{Keys: make([]string, len(keys))}
		for i, k := range keys {
			id, first := key(k)
			q.Keys[i], q.First = id, max(q.First, first)
		}
		o.calls.Add(1)
		found, err := call(ctx, q)
		values, errs := make([]V, len(keys)), make([]error, len(keys))
		for i := range keys {
			var exists bool
			if values[i], exists = found[q.Keys[i]]; err != nil {
				errs[i] = failure(err)
			} else if !exists {
				errs[i] = errMissing
			}
		}
		return values, errs
	}, dataloadgen.WithWait(collect))
}

var errMissing = &codedError{gateways.CodeNotFound, "not found"}

// spend takes nodes from the budget of the operation, before services are asked for them.
func (o *operation) spend(n int) error {
	if o.nodes.Add(int64(n)) > maxNodes {
		return &codedError{"too_complex", "query asks for more than 1000 objects: choose smaller values of first"}
	}
	return nil
}

type operationKey struct{}

func (o *operation) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, operationKey{}, o)
}

func operationOf(ctx context.Context) *operation { return ctx.Value(operationKey{}).(*operation) }

// codedError is an error with a code for the client.
type codedError struct {
	code    gateways.Code
	message string
}

func (e *codedError) Error() string { return e.message }

// Extensions is what the library adds to the error in a response.
func (e *codedError) Extensions() map[string]any { return map[string]any{"code": e.code} }

// failure returns what a client may know of a failed call.
func failure(err error) error {
	var said *gateways.RemoteError
	var coded *codedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &coded):
		return coded
	case errors.As(err, &said):
		return &codedError{said.Code, said.Message}
	case errors.Is(err, gateways.ErrNoService):
		return &codedError{gateways.CodeNoService, "no service runs: try again later"}
	case errors.Is(err, gateways.ErrTimeout):
		return &codedError{gateways.CodeTimeout, "no answer in time"}
	case errors.Is(err, gateways.ErrOverloaded):
		return &codedError{gateways.CodeOverloaded, "too many requests: try again later"}
	}
	return &codedError{gateways.CodeUnavailable, "unavailable: try again later"}
}
