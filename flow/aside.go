package flow

import "github.com/streamerson/streamerson-go/flow/internal/run"

// Aside runs f, which may block and takes no context, on a goroutine of its own. The channel gives what f returned, or its
// panic as a *PanicError, and is closed then. It is for Readers and Writers over what cannot be interrupted, such as a Read
// of standard input: they wait for the channel and their context, and leave f behind when the context is done.
func Aside(f func() error) <-chan error {
	done := make(chan error, 1)
	run.Aside(func() {
		defer close(done)
		p, err := run.Call(f, func() { done <- errGoexit })
		if p != nil {
			err = &PanicError{Value: p.Value, Stack: p.Stack}
		}
		done <- err
	})
	return done
}
