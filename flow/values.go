package flow

import (
	"context"
	"iter"
)

// Values iterates over a source in plain Go. Each value is acknowledged when the loop asks for the
// next one. If the loop breaks, the last value is not acknowledged: it goes back to its source,
// together with everything read after it. If the source cannot deliver again, they are lost. The
// sequence ends when the source ends. When ctx is done, it yields the entries already read, at most
// MaxInFlight, and ends. It does not yield entries that the source can take back (see Traits). If
// the graph behind it stops by itself, or cannot start, the last pair is the zero value and that
// error.
//
//	for order, err := range flow.Values(ctx, orders) {
//		if err != nil {
//			return err
//		}
//		…
//	}
func Values[T any](ctx context.Context, in Source[T], opts ...GraphOption) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		next := make(chan T)
		answer := make(chan error)
		over := make(chan struct{})
		parts := []Part{To(in, NewSink("values", func() Writer[T] {
			return WriterFunc[T](func(hard context.Context, chunk []Message[T]) error {
				select {
				case next <- chunk[0].Value:
				case <-over:
					return errLoopOver
				case <-hard.Done():
					return context.Cause(hard)
				}
				return <-answer
			})
		}, ChunkSize(1), OnFault(Nack)))}
		for _, o := range opts {
			parts = append(parts, o)
		}
		r, err := New("values", parts...).Start(ctx)
		if err != nil {
			yield(zero, err)
			return
		}
		for {
			select {
			case v := <-next:
				more := false
				func() {
					// The sink waits for the answer, whether the loop body continues, breaks,
					// returns or panics.
					defer func() {
						if !more {
							r.stopHard(ErrStopped)
							close(over)
							answer <- errLoopOver
							<-r.done
						}
					}()
					more = yield(v, nil)
				}()
				if !more {
					return
				}
				answer <- nil
			case <-r.done:
				if err := r.Wait(); err != nil {
					yield(zero, err)
				}
				return
			}
		}
	}
}
