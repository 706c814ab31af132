package web

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
)

// defaultBodyMemory is the default budget for the request bodies of all routes.
const defaultBodyMemory = 64 << 20

// firstRead is how much is allocated for a body before its bytes arrive, whatever its length
// claims.
const firstRead = 4 << 10

// budget limits the bytes of all request bodies held at once. It protects the process from callers
// that send many large or unfinished bodies.
type budget struct {
	max  int64
	used atomic.Int64
}

// bodies is the budget of routes that are not behind Serve.
var bodies = &budget{max: defaultBodyMemory}

// budgetOf returns the budget of the request's server.
func budgetOf(ctx context.Context) *budget {
	if state, ours := ctx.Value(connectionKey{}).(*connection); ours {
		return &state.server.bodies
	}
	return bodies
}

// most is the limit for one body and for all large bodies together. The rest is reserved for small
// bodies, so small requests are served while large ones are refused.
func (b *budget) most() int64 { return b.max - b.max/4 }

func (b *budget) take(n int64) bool {
	most := b.most()
	if n <= firstRead {
		most = b.max
	}
	if b.used.Add(n) > most {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// room grows in.body to a capacity of n bytes.
func (in *incoming) room(n int64) error {
	if !in.budget.take(n) {
		return problem.Error{Status: http.StatusServiceUnavailable, Code: gateways.CodeOverloaded,
			Message: "too many request bodies: retry later", Retry: problem.RetryAfter}
	}
	grown := make([]byte, len(in.body), n)
	copy(grown, in.body)
	in.body = grown
	if in.held > 0 {
		in.budget.give(in.held)
	}
	in.held = n
	return nil
}

// Release returns the body's bytes to the budget.
func (in *incoming) Release() {
	if in.held > 0 {
		in.budget.give(in.held)
		in.held = 0
	}
}

// fill reads the body. Its buffer grows with the bytes that arrive, whatever length was claimed.
func (in *incoming) fill(limit int64) error {
	r := in.http
	want := limit + 1 // one byte more shows that it is too long
	if r.ContentLength > 0 {
		want = r.ContentLength
	}
	if err := in.room(min(want, firstRead)); err != nil {
		return err
	}
	for {
		n := len(in.body)
		if n == cap(in.body) {
			if err := in.room(min(want, 4*int64(n))); err != nil {
				return err
			}
		}
		m, err := r.Body.Read(in.body[n:cap(in.body)])
		in.body = in.body[:n+m]
		switch n = len(in.body); {
		case int64(n) > limit:
			return &http.MaxBytesError{Limit: limit}
		case int64(n) == r.ContentLength:
			return nil
		case err == io.EOF && r.ContentLength > 0:
			return io.ErrUnexpectedEOF
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
