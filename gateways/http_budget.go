package gateways

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
)

// defaultBodyMemory is a budget for the request bodies of all routes.
const defaultBodyMemory = 64 << 20

// firstRead is how much room a body is given before it is there, whatever length it claims.
const firstRead = 4 << 10

// budget limits the bytes of all bodies that are held at once, so that many callers with large bodies,
// or with bodies that they never finish, can't take the process's memory.
type budget struct {
	max  int64
	used atomic.Int64
}

// bodies is the budget of routes that are not behind Serve.
var bodies = &budget{max: defaultBodyMemory}

// budgetOf returns the budget of the server that a request came to.
func budgetOf(ctx context.Context) *budget {
	if state, ours := ctx.Value(connectionKey{}).(*connection); ours {
		return &state.server.bodies
	}
	return bodies
}

// most is how much one body, or all large ones, may take. The rest is for the first bytes of bodies:
// small requests go on while large ones are refused.
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

// room makes in.body hold n bytes at least.
func (in *incoming) room(n int64) error {
	if !in.budget.take(n) {
		return refusal{Status: http.StatusServiceUnavailable, Code: CodeOverloaded,
			Message: "too many request bodies: try again later", retry: retryAfter}
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

// release gives back what the body took of the budget.
func (in *incoming) release() {
	if in.held > 0 {
		in.budget.give(in.held)
		in.held = 0
	}
}

// fill reads the body. The room for it grows with what comes, whatever length was claimed.
func (in *incoming) fill(limit int64) error {
	r := in.http
	want := limit + 1 // with a byte that tells that it is too long
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
