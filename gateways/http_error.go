package gateways

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
	"github.com/streamerson/streamerson-go/redisio"
)

// Codes of failures that the gateway itself answers with, in addition to those of services.
const (
	CodeTooLarge    Code = "too_large"   // the request body; 413
	CodeUnavailable Code = "unavailable" // Redis is unavailable, or the server is stopping; 503
	CodeNoService   Code = "no_service"  // no process serves the topic; 503
	CodeBadReply    Code = "bad_reply"   // invalid reply from the service; 502
)

// HTTPError is the JSON body of every failure that an Endpoint answers with, unless the body is the
// service's.
//
//	{"error": {"code": "invalid_request", "message": "limit must be a whole number", "field": "limit"}}
//
// The failure determines the status:
//
//	400  invalid_request   the request can't be parsed or bound, or the service returned it
//	401  unauthorized      Authenticate failed, or the service returned it
//	403, 404, 409          forbidden, not_found, conflict: returned by the service
//	408  timeout           the body arrived too slowly
//	413  too_large         the body is longer than MaxBody
//	414, 431               too_large: path and query, or the forwarded headers, exceed 8 KiB
//	415  unsupported_type  Accept does not name the body's type
//	422                    any other code of the service, without a status
//	500  internal          the handler failed; details stay in the service's log
//	501  no_handler        no service handles the type
//	502  bad_reply         the reply is invalid; reply_too_large;
//	                       interrupted: the replying process is gone
//	503  overloaded        with Retry-After, also when bodies exceed BodyMemory;
//	                       unavailable: Redis is unavailable, or the server is stopping
//	504  timeout           no reply in time
//
// A status from 400 to 599 in a *RemoteError takes precedence.
type HTTPError struct {
	Error HTTPErrorDetail `json:"error"`
}

// HTTPErrorDetail describes the failure.
type HTTPErrorDetail struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// Field is the part of the request that is invalid, if known.
	Field string `json:"field,omitempty"`
}

// FieldError is what a Validate method returns to name a field to the caller; see Route.
type FieldError struct {
	Field   string // the caller's name for it
	Problem string // for people, such as "must be 1 to 100"
}

func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// refusal is an error answer of the gateway itself.
type refusal struct {
	Status  int
	Code    Code
	Message string
	Field   string
	retry   time.Duration // Retry-After; 0 leaves it out
}

func (r refusal) Error() string { return "gateways: " + r.Message }

func fieldf(field, format string, args ...any) refusal {
	return refusal{
		Status:  http.StatusBadRequest,
		Code:    CodeInvalid,
		Message: fmt.Sprintf(format, args...),
		Field:   field,
	}
}

var statusOf = map[Code]int{
	CodeInternal:     http.StatusInternalServerError,
	CodeNoHandler:    http.StatusNotImplemented,
	CodeInvalid:      http.StatusBadRequest,
	CodeUnsupported:  http.StatusUnsupportedMediaType,
	CodeUnauthorized: http.StatusUnauthorized,
	CodeForbidden:    http.StatusForbidden,
	CodeNotFound:     http.StatusNotFound,
	CodeConflict:     http.StatusConflict,
	CodeTooLarge:     http.StatusRequestEntityTooLarge,
	CodeTimeout:      http.StatusGatewayTimeout,
	CodeOverloaded:   http.StatusServiceUnavailable,
	CodeUnavailable:  http.StatusServiceUnavailable,
	CodeInterrupted:  http.StatusBadGateway,
	CodeBadReply:     http.StatusBadGateway,

	CodeNoService:     http.StatusServiceUnavailable,
	CodeReplyTooLarge: http.StatusBadGateway,
}

// statusGone is written when the caller has disconnected. Only the access log shows it.
const statusGone = 499

// retryAfter is the Retry-After when there is no better estimate.
const retryAfter = time.Second

// refusalOf returns the answer to an error.
func refusalOf(err error) refusal {
	var at refusal
	var field *FieldError
	var said *RemoteError
	var large *redisio.TooLargeError
	var panicked *flow.PanicError
	var limit *LimitError
	switch {
	case errors.As(err, &panicked):
		return broken
	case errors.As(err, &at):
		return at
	case errors.As(err, &field):
		return refusal{Status: http.StatusBadRequest, Code: CodeInvalid, Message: field.Error(), Field: field.Field}
	case errors.As(err, &said):
		return remoteRefusal(said)
	case errors.As(err, &limit):
		return refusal{
			Status:  http.StatusBadRequest,
			Code:    CodeInvalid,
			Message: strings.TrimPrefix(limit.Error(), "gateways: "),
		}
	case errors.As(err, &large):
		return refusal{
			Status:  http.StatusRequestEntityTooLarge,
			Code:    CodeTooLarge,
			Message: "request too large",
		}
	case errors.Is(err, ErrOverloaded):
		at := refusal{
			Status:  http.StatusServiceUnavailable,
			Code:    CodeOverloaded,
			Message: "too many requests: retry later",
			retry:   retryAfter,
		}
		var overload *OverloadError
		if errors.As(err, &overload) {
			at.retry = overload.RetryAfter
		}
		return at
	case errors.Is(err, ErrNoService):
		return refusal{
			Status:  http.StatusServiceUnavailable,
			Code:    CodeNoService,
			Message: "no service available: retry later",
			retry:   retryAfter,
		}
	case errors.Is(err, ErrUnavailable),
		errors.Is(err, ErrFull): // also of a call that queued until its deadline
		return unavailable
	case errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return refusal{Status: http.StatusGatewayTimeout, Code: CodeTimeout, Message: "no reply in time"}
	}
	return unavailable
}

var unavailable = refusal{
	Status:  http.StatusServiceUnavailable,
	Code:    CodeUnavailable,
	Message: "service unavailable: retry later",
	retry:   retryAfter,
}

// remoteRefusal returns the answer to an error of the service.
func remoteRefusal(said *RemoteError) refusal {
	r := refusal{Status: said.Status, Code: said.Code, Message: said.Message}
	known, is := statusOf[said.Code]
	switch {
	case r.Status == 0 && is:
		r.Status = known
	case r.Status == 0:
		r.Status = http.StatusUnprocessableEntity
	case r.Status < 400 || r.Status > 599:
		return refusal{Status: http.StatusBadGateway, Code: CodeBadReply, Message: "invalid reply from the service"}
	}
	if r.Status == http.StatusServiceUnavailable {
		r.retry = retryAfter
	}
	return r
}

// refuse answers with an error.
func (e *Endpoint) refuse(w http.ResponseWriter, in *incoming, err error) {
	var at refusal
	var panicked *flow.PanicError
	if ctx := in.http.Context(); !errors.As(err, &at) && !errors.As(err, &panicked) &&
		errors.Is(ctx.Err(), context.Canceled) && context.Cause(ctx) != ErrStopping {
		e.stats.gone.Add(1)
		w.WriteHeader(statusGone)
		return
	}
	r := refusalOf(err)
	switch {
	case e.err != nil || e.seen.Load() != nil && e.seen.Load().err != nil:
		r = refusal{
			Status:  http.StatusInternalServerError,
			Code:    CodeInternal,
			Message: "route misconfigured: see the server's log",
		}
		e.cfg.log.Error("http: route misconfigured", "id", in.id, "error", err)
	case panicked != nil:
		e.cfg.log.Error("http: callback panicked", "id", in.id, "panic", fmt.Sprint(panicked.Value), "stack",
			string(panicked.Stack))
	case r.Code == CodeBadReply, r.Code == CodeUnavailable:
		e.cfg.log.Warn("http: request failed", "id", in.id, "status", r.Status, "error", err)
	}
	e.stats.count(r.Status)
	r.write(w)
}

func (r refusal) write(w http.ResponseWriter) {
	body, err := json.Marshal(HTTPError{HTTPErrorDetail{Code: r.Code, Message: r.Message, Field: r.Field}})
	if err != nil { // can't happen: all fields can be encoded
		panic(err)
	}
	h := w.Header()
	h.Set("Content-Type", jsonType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(r.retry.Seconds())))))
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(body) // the caller may have disconnected
}
