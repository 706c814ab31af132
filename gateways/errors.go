package gateways

import (
	"context"
	"errors"
	"fmt"

	"github.com/streamerson/streamerson-go/gateways/internal/outbox"
	"github.com/streamerson/streamerson-go/redisio"
)

var (
	// ErrTimeout: no answer arrived in time. The request may still be handled. It wraps
	// context.DeadlineExceeded if the context's deadline ended the wait.
	ErrTimeout = outbox.ErrTimeout
	// ErrNoHandler: the service has no handler for the type.
	ErrNoHandler = errors.New("gateways: no handler for this type of request")
	// ErrOverloaded: the client has reached MaxInFlight, services would start the request too late
	// (then it is an *OverloadError), or the service refuses more requests.
	ErrOverloaded = errors.New("gateways: too many requests in flight")
	// ErrUnavailable: Redis is unavailable and nothing was sent. The call can be repeated.
	ErrUnavailable = outbox.ErrUnavailable
	// ErrFull: Redis is out of memory and nothing was sent. It also is redisio.ErrBackpressure.
	ErrFull = outbox.ErrFull
	// ErrNoService: no process has served the topic for two seconds. A killed or hanging
	// process counts for redisio.AliveFor after its last activity.
	ErrNoService = errors.New("gateways: no service handles this topic")
	// ErrClosed: the client is closed.
	ErrClosed = outbox.ErrClosed
	// ErrInterrupted: the process that streamed a reply is gone, or the reader was too slow for the
	// mailbox. The parts received so far are all there are. Repeat the request.
	ErrInterrupted = errors.New("gateways: streamed reply was interrupted")
)

// Code is a kind of failure that a service answers with. Services may define their own codes.
type Code string

const (
	CodeInternal     Code = "internal"         // the handler failed; details stay in the service's log
	CodeNoHandler    Code = "no_handler"       // is ErrNoHandler
	CodeInvalid      Code = "invalid_request"  // the request can't be decoded, or is invalid
	CodeUnsupported  Code = "unsupported_type" // the handler does not accept the content type
	CodeUnauthorized Code = "unauthorized"     // the caller is not authenticated
	CodeForbidden    Code = "forbidden"        // the caller has no permission
	CodeNotFound     Code = "not_found"
	CodeConflict     Code = "conflict"
	CodeTimeout      Code = "timeout"     // the handler timed out; is ErrTimeout
	CodeOverloaded   Code = "overloaded"  // is ErrOverloaded
	CodeInterrupted  Code = "interrupted" // is ErrInterrupted

	CodeReplyTooLarge Code = "reply_too_large" // the reply exceeds the service's MaxReply
)

// Codes of failures that HTTP gateways answer with themselves, in addition to those of services.
const (
	CodeTooLarge    Code = "too_large"   // the request body; 413
	CodeUnavailable Code = "unavailable" // Redis is unavailable, or the server is stopping; 503
	CodeNoService   Code = "no_service"  // no process serves the topic; 503
	CodeBadReply    Code = "bad_reply"   // invalid reply from the service; 502
)

// RemoteError is a failure that the service answered with. A handler returns one to choose the code
// and the message for the caller. For all other errors the caller receives only CodeInternal.
type RemoteError struct {
	Code    Code
	Message string // for people; sent to the caller, and to the clients of an HTTP gateway
	Status  int    // HTTP status; 0 derives it from Code
}

// Errorf makes a RemoteError.
func Errorf(code Code, format string, args ...any) *RemoteError {
	return &RemoteError{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *RemoteError) Error() string {
	if e.Message == "" {
		return "gateways: service answered " + string(e.Code)
	}
	return "gateways: service answered " + string(e.Code) + ": " + e.Message
}

// Is matches codes with their sentinel errors.
func (e *RemoteError) Is(target error) bool {
	is, known := sentinels[e.Code]
	return known && is == target
}

var sentinels = map[Code]error{
	CodeNoHandler:   ErrNoHandler,
	CodeTimeout:     ErrTimeout,
	CodeOverloaded:  ErrOverloaded,
	CodeInterrupted: ErrInterrupted,
}

// remote returns the error that is sent to the caller: a RemoteError unchanged, and as little as
// possible of others.
func remote(err error) *RemoteError {
	var said *RemoteError
	var decode *RequestError
	var large *redisio.TooLargeError
	switch {
	case errors.As(err, &said):
		return said
	case errors.As(err, &decode):
		return &RemoteError{Code: CodeInvalid, Message: decode.Error()}
	case errors.As(err, &large):
		return &RemoteError{Code: CodeReplyTooLarge, Message: large.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrTimeout):
		return &RemoteError{Code: CodeTimeout, Message: "handler timed out"}
	}
	return &RemoteError{Code: CodeInternal, Message: "handler failed: see the service's log"}
}

// RequestError is a request that a handler's codec can't decode.
type RequestError struct {
	Type string
	Err  error
}

func (e *RequestError) Error() string {
	return fmt.Sprintf("gateways: request of type %q: %v", e.Type, e.Err)
}

// Unwrap returns the cause.
func (e *RequestError) Unwrap() error { return e.Err }

// FieldError is what a Validate method returns to name a field to the caller; see web.Route.
type FieldError struct {
	Field   string // the caller's name for it
	Problem string // for people, such as "must be 1 to 100"
}

func (e *FieldError) Error() string { return e.Field + " " + e.Problem }
