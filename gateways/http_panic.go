package gateways

import (
	"net/http"
	"runtime/debug"

	"github.com/streamerson/streamerson-go/flow"
)

// caught converts a panic of a user's function into a *flow.PanicError. Defer it. It does not catch
// http.ErrAbortHandler, which suppresses the answer.
func caught(err *error) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		*err = &flow.PanicError{Value: p, Stack: debug.Stack()}
	}
}

// broken is the answer to a panic.
var broken = refusal{Status: http.StatusInternalServerError, Code: CodeInternal,
	Message: "internal error"}
