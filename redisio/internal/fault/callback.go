package fault

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Notify calls a callback that has no say in what happens. A panic in it is logged and has no other
// consequence: callbacks run in goroutines of this package too, where a panic would end the
// process.
func Notify(name string, call func()) {
	defer func() {
		if v := recover(); v != nil {
			slog.Error("redisio: callback panicked", "callback", name, "panic", fmt.Sprint(v),
				"stack", string(debug.Stack()))
		}
	}()
	call()
}

// Consult calls a callback whose result is needed. A panic in it becomes an error.
func Consult(name string, call func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("redisio: %s panicked: %v\n%s", name, v, debug.Stack())
		}
	}()
	call()
	return nil
}
