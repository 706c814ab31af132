package problem

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
)

// Identify identifies the caller of a request for all gateways. Without an Authenticator the caller
// is anonymous.
func Identify(r *http.Request, authenticate gateways.Authenticator) (who gateways.Identity, err error) {
	if authenticate == nil {
		return who, nil
	}
	return Decide(unauthorized, func() (gateways.Identity, error) { return authenticate(r) })
}

var unauthorized = New(gateways.CodeUnauthorized, "authentication required")

// Unidentified is the answer to a caller with an invalid identity.
func Unidentified(err error) error { return fmt.Errorf("%w: %w", unauthorized, err) }

// Decide calls a function of the application that admits a caller. It returns the application's
// *RemoteError unchanged, a panic as *flow.PanicError, and any other error as the given answer, with
// the error as its cause.
func Decide[T any](refused Error, decide func() (T, error)) (v T, err error) {
	v, err = call(decide)
	var said *gateways.RemoteError
	var panicked *flow.PanicError
	if err == nil || errors.As(err, &said) || errors.As(err, &panicked) {
		return v, err
	}
	return v, fmt.Errorf("%w: %w", refused, err)
}

func call[T any](f func() (T, error)) (v T, err error) {
	defer Caught(&err)
	return f()
}

// LogPanic logs err if it is the panic of a user's function, and reports whether it is.
func LogPanic(log *slog.Logger, err error, message string, attrs ...any) bool {
	var panicked *flow.PanicError
	if !errors.As(err, &panicked) {
		return false
	}
	log.Error(message, append(attrs, "panic", fmt.Sprint(panicked.Value), "stack", string(panicked.Stack))...)
	return true
}

// Caught converts a panic of a user's function into a *flow.PanicError. Defer it. It does not catch
// http.ErrAbortHandler, which suppresses the answer.
func Caught(err *error) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		*err = &flow.PanicError{Value: p, Stack: debug.Stack()}
	}
}

// Panicked is the answer to a panic.
var Panicked = New(gateways.CodeInternal, "internal error")
