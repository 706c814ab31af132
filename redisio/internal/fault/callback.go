package fault

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Notify calls a callback without a result. A panic in it is only logged, because callbacks also
// run in this package's goroutines, where a panic would end the process.
func Notify(name string, call func()) {
	defer func() {
		if v := recover(); v != nil {
			slog.Error("redisio: callback panicked", "callback", name, "panic", fmt.Sprint(v),
				"stack", string(debug.Stack()))
		}
	}()
	call()
}

// Consult calls a callback that returns a needed result, and returns a panic as an error.
func Consult(name string, call func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("redisio: %s panicked: %v\n%s", name, v, debug.Stack())
		}
	}()
	call()
	return nil
}
