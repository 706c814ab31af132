// Package problem answers HTTP requests with failures: it maps errors to a status, headers and a JSON
// body.
package problem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio"
)

// Body is the JSON body of a failure: web.ErrorBody documents it.
type Body struct {
	Error Detail `json:"error"`
}

// Detail describes a failure.
type Detail struct {
	Code    gateways.Code `json:"code"`
	Message string        `json:"message"`
	// Field is the part of the request that is invalid, if known.
	Field string `json:"field,omitempty"`
}

// Error is an error answer of the gateway itself.
type Error struct {
	Status  int
	Code    gateways.Code
	Message string
	Field   string
	Retry   time.Duration // Retry-After; 0 leaves it out
}

func (r Error) Error() string { return "gateways: " + r.Message }

// New returns a failure with the status of its code. One with 503 asks to retry after a second.
func New(code gateways.Code, message string) Error {
	e := Error{Status: statusOf[code], Code: code, Message: message}
	if e.Status == http.StatusServiceUnavailable {
		e.Retry = RetryAfter
	}
	return e
}

// Fieldf returns the answer to a request with an invalid field.
func Fieldf(field, format string, args ...any) Error {
	e := New(gateways.CodeInvalid, fmt.Sprintf(format, args...))
	e.Field = field
	return e
}

var statusOf = map[gateways.Code]int{
	gateways.CodeInternal:     http.StatusInternalServerError,
	gateways.CodeNoHandler:    http.StatusNotImplemented,
	gateways.CodeInvalid:      http.StatusBadRequest,
	gateways.CodeUnsupported:  http.StatusUnsupportedMediaType,
	gateways.CodeUnauthorized: http.StatusUnauthorized,
	gateways.CodeForbidden:    http.StatusForbidden,
	gateways.CodeNotFound:     http.StatusNotFound,
	gateways.CodeConflict:     http.StatusConflict,
	gateways.CodeTooLarge:     http.StatusRequestEntityTooLarge,
	gateways.CodeTimeout:      http.StatusGatewayTimeout,
	gateways.CodeOverloaded:   http.StatusServiceUnavailable,
	gateways.CodeUnavailable:  http.StatusServiceUnavailable,
	gateways.CodeInterrupted:  http.StatusBadGateway,
	gateways.CodeBadReply:     http.StatusBadGateway,

	gateways.CodeNoService:     http.StatusServiceUnavailable,
	gateways.CodeReplyTooLarge: http.StatusBadGateway,
}

// RetryAfter is the Retry-After when there is no better estimate.
const RetryAfter = time.Second

// Of returns the answer to an error.
func Of(err error) Error {
	var at Error
	var field *gateways.FieldError
	var said *gateways.RemoteError
	var large *redisio.TooLargeError
	var panicked *flow.PanicError
	var limit *gateways.LimitError
	switch {
	case errors.As(err, &panicked):
		return Panicked
	case errors.As(err, &at):
		return at
	case errors.As(err, &field):
		return Fieldf(field.Field, "%s", field)
	case errors.As(err, &said):
		return remoteRefusal(said)
	case errors.As(err, &limit):
		return New(gateways.CodeInvalid, strings.TrimPrefix(limit.Error(), "gateways: "))
	case errors.As(err, &large):
		return New(gateways.CodeTooLarge, "request too large")
	case errors.Is(err, gateways.ErrOverloaded):
		at := New(gateways.CodeOverloaded, "too many requests: retry later")
		var overload *gateways.OverloadError
		if errors.As(err, &overload) {
			at.Retry = overload.RetryAfter
		}
		return at
	case errors.Is(err, gateways.ErrNoService):
		return New(gateways.CodeNoService, "no service available: retry later")
	case errors.Is(err, gateways.ErrUnavailable),
		errors.Is(err, gateways.ErrFull): // also of a call that queued until its deadline
		return unavailable
	case errors.Is(err, gateways.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return New(gateways.CodeTimeout, "no reply in time")
	}
	return unavailable
}

var unavailable = New(gateways.CodeUnavailable, "service unavailable: retry later")

// remoteRefusal returns the answer to an error of the service.
func remoteRefusal(said *gateways.RemoteError) Error {
	r := Error{Status: said.Status, Code: said.Code, Message: said.Message}
	known, is := statusOf[said.Code]
	switch {
	case r.Status == 0 && is:
		r.Status = known
	case r.Status == 0:
		r.Status = http.StatusUnprocessableEntity
	case r.Status < 400 || r.Status > 599:
		return New(gateways.CodeBadReply, "invalid reply from the service")
	}
	if r.Status == http.StatusServiceUnavailable {
		r.Retry = RetryAfter
	}
	return r
}

// Write answers with the failure.
func (r Error) Write(w http.ResponseWriter) {
	body, err := json.Marshal(Body{Detail{Code: r.Code, Message: r.Message, Field: r.Field}})
	if err != nil { // can't happen: all fields can be encoded
		panic(err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Retry > 0 {
		h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(r.Retry.Seconds())))))
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(body) // the caller may have disconnected
}

// Cut shortens a text from outside for a message or the log.
func Cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), 200)], "") }

// StopReading skips the rest of the body: the connection is closed after the answer.
func StopReading(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	// Without a past deadline net/http would read the rest before it answers.
	_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
}

// LogPath returns the request's path for the log.
func LogPath(r *http.Request) string { return Cut(r.URL.EscapedPath()) }
