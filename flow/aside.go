package flow

import "github.com/streamerson/streamerson-go/flow/internal/run"

// Aside runs f, which may block and takes no context, on a goroutine of its own. The channel gives
// what f returned, or its panic as a *PanicError, and is closed then. It is for Readers and Writers
// over what cannot be interrupted, such as a Read of standard input: they wait for the channel and
// their context, and leave f behind when the context is done.
func Aside(f func() error) <-chan error {
	done := make(chan error, 1)
	run.Aside(func() {
		defer close(done)
		done <- contained(f, func() { done <- errGoexit })
	})
	return done
}

// contained calls f, at the bottom of a goroutine of ours, and returns its error or its panic as one. exited is called
// when f ends the goroutine by runtime.Goexit.
func contained(f func() error, exited func()) error {
	p, err := run.Call(f, exited)
	if p != nil {
		return &PanicError{Value: p.Value, Stack: p.Stack}
	}
	return err
}
