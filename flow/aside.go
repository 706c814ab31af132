package flow

import "github.com/streamerson/streamerson-go/flow/internal/run"

// Aside runs f on a goroutine of its own. f may block and takes no context. The channel delivers
// the error of f, or its panic as a *PanicError, and is then closed. Readers and Writers use Aside
// for calls that cannot be interrupted, such as a Read of standard input. They wait for the channel
// and their context, and abandon f when the context is done.
func Aside(f func() error) <-chan error {
	done := make(chan error, 1)
	run.Aside(func() {
		defer close(done)
		done <- contained(f, func() { done <- errGoexit })
	})
	return done
}

// contained calls f at the bottom of one of our goroutines. It returns the error of f, or its panic
// as an error. exited is called if f ends the goroutine with runtime.Goexit.
func contained(f func() error, exited func()) error {
	p, err := run.Call(f, exited)
	if p != nil {
		return &PanicError{Value: p.Value, Stack: p.Stack}
	}
	return err
}
