package gateways

import (
	"net/http"
	"runtime/debug"

	"github.com/streamerson/streamerson-go/flow"
)

// caught makes a panic of a user's function the error of its request, a *flow.PanicError. It is to be
// deferred. http.ErrAbortHandler goes on: who panics with it wants no answer.
func caught(err *error) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		*err = &flow.PanicError{Value: p, Stack: debug.Stack()}
	}
}

// broken is what callers are told of a panic.
var broken = refusal{Status: http.StatusInternalServerError, Code: CodeInternal, Message: "something is wrong here; the log says what"}
