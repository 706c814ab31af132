package gateways

import (
	"net/http"
	"runtime/debug"

	"github.com/streamerson/streamerson-go/flow"
)

// caught makes a panic of a user's function the error of its request, a *flow.PanicError. Defer it.
// http.ErrAbortHandler goes on: it means that there is to be no answer.
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
var broken = refusal{Status: http.StatusInternalServerError, Code: CodeInternal,
	Message: "something is wrong here; the log says what"}
