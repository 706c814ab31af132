package gateways

import (
	"context"
	"errors"
	"fmt"

	"github.com/streamerson/streamerson-go/redisio"
)

var (
	// ErrTimeout: there was no answer in time. The request may be worked on all the same. It wraps
	// context.DeadlineExceeded where the context's deadline was what ended the wait.
	ErrTimeout = errors.New("gateways: no reply in time")
	// ErrNoHandler: the service has no handler for the type.
	ErrNoHandler = errors.New("gateways: no handler for this type of request")
	// ErrOverloaded: the client has as many requests in flight as it may, the services would not
	// come to the request in time (then it is an *OverloadError), or the service refuses more.
	ErrOverloaded = errors.New("gateways: too many requests in flight")
	// ErrUnavailable: Redis can't be asked now, and nothing was sent: the call may be made again.
	ErrUnavailable = errors.New("gateways: Redis can't be asked now, nothing was sent")
	// ErrFull: Redis is out of memory, and nothing was sent. It also is redisio.ErrBackpressure.
	ErrFull = errors.New("gateways: Redis is out of memory, nothing was sent")
	// ErrNoService: no process has served the topic for two seconds. A process that was killed, or
	// that hangs, counts for redisio.AliveFor after its last sign of life.
	ErrNoService = errors.New("gateways: no service answers requests of this topic")
	// ErrClosed: the client is closed.
	ErrClosed = errors.New("gateways: client is closed")
	// ErrInterrupted: the process that streamed a reply is gone, or the reader was too slow for
	// what was promised; what came so far is all there is. Ask again.
	ErrInterrupted = errors.New("gateways: streamed reply was interrupted")
)

// Code is what kind of failure a service answers with. Services may have their own; these are known.
type Code string

const (
	CodeInternal     Code = "internal"         // the handler failed; details stay in the service's log
	CodeNoHandler    Code = "no_handler"       // is ErrNoHandler
	CodeInvalid      Code = "invalid_request"  // the request can't be decoded, or makes no sense
	CodeUnsupported  Code = "unsupported_type" // the content type is not one the handler takes
	CodeUnauthorized Code = "unauthorized"     // the caller is not known
	CodeForbidden    Code = "forbidden"        // the caller may not do that
	CodeNotFound     Code = "not_found"        //
	CodeConflict     Code = "conflict"         //
	CodeTimeout      Code = "timeout"          // the handler took too long; is ErrTimeout
	CodeOverloaded   Code = "overloaded"       // is ErrOverloaded
	CodeInterrupted  Code = "interrupted"      // is ErrInterrupted

	CodeReplyTooLarge Code = "reply_too_large" // the reply is longer than the service's MaxReply
)

// RemoteError is a failure that the service answered with. A handler returns one to choose the
// code, and what the caller is told; of any other error the caller is told no more than
// CodeInternal.
type RemoteError struct {
	Code    Code
	Message string // for people; it reaches the caller, and the clients of an HTTP gateway
	Status  int    // of HTTP; 0: by the code
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

// Is makes the codes that have a sentinel be it.
func (e *RemoteError) Is(target error) bool {
	switch target {
	case ErrNoHandler:
		return e.Code == CodeNoHandler
	case ErrTimeout:
		return e.Code == CodeTimeout
	case ErrOverloaded:
		return e.Code == CodeOverloaded
	case ErrInterrupted:
		return e.Code == CodeInterrupted
	}
	return false
}

// remote is what a caller is told of an error: what it says itself, if it is a RemoteError, and
// else as little as possible.
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
		return &RemoteError{Code: CodeTimeout, Message: "the handler took too long"}
	}
	return &RemoteError{Code: CodeInternal, Message: "the handler failed; its service's log says why"}
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
