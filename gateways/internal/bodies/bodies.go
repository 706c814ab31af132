// Package bodies reads the bodies of requests. It limits the memory of all bodies of a server, which
// protects the process from clients that send many large or unfinished bodies.
package bodies

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
)

// DefaultMemory is the default limit for the bodies of a server, in bytes.
const DefaultMemory = 64 << 20

// firstRead is how much is allocated for a body before its bytes arrive, whatever its length
// claims.
const firstRead = 4 << 10

// Memory is what all bodies of a server may take at once.
type Memory struct {
	max  int64
	used atomic.Int64
}

// Of returns a memory of max bytes.
func Of(max int64) *Memory { return &Memory{max: max} }

// shared is the memory of all servers that have none.
var shared = Of(DefaultMemory)

type key struct{}

// With returns a context for the requests of a server with this memory.
func With(ctx context.Context, m *Memory) context.Context { return context.WithValue(ctx, key{}, m) }

// most is the limit for one body and for all large bodies together. The rest is reserved for small
// bodies, so small requests are served while large ones are refused.
func (m *Memory) most() int64 { return m.max - m.max/4 }

func (m *Memory) take(n int64) bool {
	most := m.most()
	if n <= firstRead {
		most = m.max
	}
	for { // a refused body must not count, even for a moment: another one may fit
		used := m.used.Load()
		if used+n > most {
			return false
		}
		if m.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (m *Memory) give(n int64) { m.used.Add(-n) }

// Body is the body of a request. The zero value is empty.
type Body struct {
	Bytes []byte

	memory *Memory
	held   int64 // bytes taken from the memory
}

// Read reads the body of a request, of at most limit bytes. The error is the answer to the client.
// Call Release when the body is not needed any more, also after an error.
func (b *Body) Read(w http.ResponseWriter, r *http.Request, limit int64) error {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	b.memory = shared
	if m, is := r.Context().Value(key{}).(*Memory); is {
		b.memory = m
	}
	limit = min(limit, b.memory.most())
	if r.ContentLength > limit {
		problem.StopReading(w)
		return tooLarge(limit)
	}
	if err := b.fill(r, limit); err != nil {
		return unread(w, r, err)
	}
	return nil
}

// Release returns the body's bytes to the memory.
func (b *Body) Release() {
	if b.held > 0 {
		b.memory.give(b.held)
		b.held = 0
	}
}

// fill reads the body. Its buffer grows with the bytes that arrive, whatever length was claimed.
func (b *Body) fill(r *http.Request, limit int64) error {
	want := limit + 1 // one byte more shows that it is too long
	if r.ContentLength > 0 {
		want = r.ContentLength
	}
	if err := b.room(min(want, firstRead)); err != nil {
		return err
	}
	for {
		n := len(b.Bytes)
		if n == cap(b.Bytes) {
			if err := b.room(min(want, 4*int64(n))); err != nil {
				return err
			}
		}
		m, err := r.Body.Read(b.Bytes[n:cap(b.Bytes)])
		b.Bytes = b.Bytes[:n+m]
		switch n = len(b.Bytes); {
		case int64(n) > limit:
			return tooLarge(limit)
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

// room grows the buffer to a capacity of n bytes.
func (b *Body) room(n int64) error {
	if !b.memory.take(n) {
		return problem.New(gateways.CodeOverloaded, "too many request bodies: retry later")
	}
	grown := make([]byte, len(b.Bytes), n)
	copy(grown, b.Bytes)
	b.Bytes = grown
	b.Release()
	b.held = n
	return nil
}

// unread returns the answer to a request if err prevented the reading of its body.
func unread(w http.ResponseWriter, r *http.Request, err error) error {
	var answer problem.Error
	var large *http.MaxBytesError // of a wrapper of the body
	switch {
	case errors.As(err, &answer):
	case errors.As(err, &large):
		err = tooLarge(large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = problem.Error{
			Status:  http.StatusRequestTimeout,
			Code:    gateways.CodeTimeout,
			Message: "request body arrived too slowly",
		}
	case r.Context().Err() != nil:
		return err
	default:
		err = problem.New(gateways.CodeInvalid, "request body is incomplete")
	}
	problem.StopReading(w)
	return err
}

func tooLarge(limit int64) error {
	return problem.New(gateways.CodeTooLarge, fmt.Sprintf("the body exceeds %d bytes", limit))
}
