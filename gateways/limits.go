package gateways

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// Limits in bytes for the parts of a request other than its body. Clients refuse larger requests,
// and services do not accept them, because these parts are kept in several places.
const (
	idMost      = 256 // ID, type and content type, each
	keyMost     = 1024
	headersMost = 64 << 10 // names and values together
	headersMany = 256
)

// LimitError reports a request that exceeds a limit for its parts other than the body.
type LimitError struct {
	What  string // "ID", "type", "content type", "key", "headers" (bytes), "number of headers"
	Size  int
	Limit int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("gateways: %s of the request: %d, the limit is %d", e.What, e.Size, e.Limit)
}

// checkLimits returns a *LimitError if a part other than the body exceeds its limit.
func checkLimits(r *Request) error {
	for _, l := range [...]LimitError{
		{"ID", len(r.ID), idMost},
		{"type", len(r.Type), idMost},
		{"content type", len(r.ContentType), idMost},
		{"key", len(r.Key), keyMost},
		{"headers", sizeOf(r.Headers), headersMost},
		{"number of headers", len(r.Headers), headersMany},
	} {
		if l.Size > l.Limit {
			return &LimitError{l.What, l.Size, l.Limit}
		}
	}
	return nil
}

// received reads requests for a service. An unreadable entry becomes a request with the error, so
// that its caller receives an answer.
//
// It notes when a request was read: Request.taken is the age of the entry plus its caller's limit,
// because the Redis clock is known only later; see waited.
type received struct{ redisio.Format[Request] }

// waited returns how long a request was in the stream before this process read it. It is 0 for
// requests without a deadline and repeated ones.
func waited(r *Request, meta flow.Meta) time.Duration {
	if meta.Deadline.IsZero() || meta.Attempt > 1 || r.taken == 0 {
		return 0
	}
	return r.taken - meta.Deadline.Sub(meta.Time) // the deadline is by this process's clock
}

func (f received) Decode(entry *redisio.Entry, e *redisio.Envelope) (Request, error) {
	r, err := f.Format.Decode(entry, e)
	if err == nil {
		err = checkLimits(&r)
	}
	switch {
	case err == nil:
		if !e.Deadline.IsZero() && !entry.Position.IsZero() {
			at := entry.Position.Time()
			r.taken = time.Since(at) + e.Deadline.Sub(at)
		}
		return r, nil
	case errors.Is(err, redisio.ErrTombstone):
		return r, err
	}
	if e.ID == "" { // the ID may follow the unreadable field
		id, _ := entry.Fields.Get("id")
		e.ID = string(id)
	}
	if e.ReplyTo == "" {
		address, _ := entry.Fields.Get("reply")
		e.ReplyTo = string(address)
	}
	if len(e.ID) > idMost { // no reply can contain it
		e.ID, e.ReplyTo = "", ""
	}
	e.Headers, e.Type, e.Key, e.ContentType = e.Headers[:0], "", "", ""
	return Request{ID: e.ID, Attempt: int(entry.Deliveries), bad: err}, nil
}

const (
	defaultMaxReply = 1 << 20
	maxMaxReply     = 256 << 20
	messageMost     = 4 << 10 // bytes of an error message
	replyRoom       = 64 << 10
)

// payloadFor returns the largest entry for a reply size, because some formats quote the body.
func payloadFor(maxReply int) int { return max(0, min(6*maxReply+replyRoom, 512<<20)) }

// size returns the approximate bytes of a response, with a small constant for its envelope.
func (r *Response) size() int {
	return len(r.Body) + len(r.ContentType) + len(r.code) + sizeOf(r.Headers)
}

// sizeOf returns the bytes of the names and values.
func sizeOf(headers flow.Headers) (n int) {
	for i := range headers {
		n += len(headers[i].Name) + len(headers[i].Value)
	}
	return n
}

func checkReply(r *Response, most int) error {
	if n := r.size(); n > most {
		return Errorf(CodeReplyTooLarge, "reply of %d bytes exceeds MaxReply of %d", n, most)
	}
	return nil
}

// fit replaces an answer that is too large by an error, and shortens error messages.
func fit(ctx context.Context, typ, id string, r *Response, most int) {
	if err := checkReply(r, most); err != nil && r.kind != kindError {
		flow.Logger(ctx).
			Warn("service: reply too large: raise MaxReply or use HandleStream", "type", typ, "id", id, "error", err)
		*r = failureOf(remote(err))
		return
	}
	if r.kind == kindError {
		r.Headers, r.code = nil, Code(shorten(string(r.code), idMost))
		r.Body = []byte(shorten(string(r.Body), messageMost))
	}
}

// shorten cuts a text to a number of bytes without splitting runes.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
