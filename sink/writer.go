package sink

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/streamerson/streamerson-go/flow"
)

// CutError is the fault of a value of which an io.Writer took only a part. A retry writes the whole
// value again, behind that part.
type CutError struct {
	Written int // bytes of the value that were written
	Size    int // bytes of the value
	Err     error
}

func (e *CutError) Error() string {
	return fmt.Sprintf("sink: %d of %d bytes written: %v", e.Written, e.Size, e.Err)
}

// Unwrap returns the writer's error.
func (e *CutError) Unwrap() error { return e.Err }

// Writer is a sink that writes values to an io.Writer. appendTo appends a value's bytes to dst and
// returns the extended slice, like the append functions of package strconv. All available values,
// up to ChunkSize, are written by one call. The io.Writer is neither flushed nor closed. One
// goroutine at a time calls it, even if the sink ends several branches or its graph runs twice.
//
// Order: kept. Acks: a value is acked when Write has taken all its bytes. Ends: with its input. A
// Write that blocks cannot be interrupted: the sink waits for it, at the end for as long as
// flow.KillGrace. Errors: after an error or a short write (io.ErrShortWrite), the values that were
// written completely are acked. The value that was cut off has a *CutError, and all behind it have
// the error. The fault policy decides on them, and by default writes them again. If appendTo
// panics, nothing of its chunk is written.
func Writer[T any](w io.Writer, appendTo func(dst []byte, v T) []byte, opts ...flow.StageOption) flow.Sink[T] {
	opts = slices.Clip(opts)
	if appendTo == nil {
		opts = append(opts,
			flow.Invalid("appendTo", "the function is nil", "give a function that appends a value to a slice"))
	}
	return newWriter("writer", w, appendTo, opts)
}

// Lines is Writer for strings: it writes each as a line that ends with "\n".
//
// Order, Acks, Ends, Errors: as for Writer.
func Lines(w io.Writer, opts ...flow.StageOption) flow.Sink[string] {
	return newWriter("lines", w, func(dst []byte, v string) []byte {
		return append(append(dst, v...), '\n')
	}, slices.Clip(opts))
}

func newWriter[T any](name string, w io.Writer, appendTo func([]byte, T) []byte, opts []flow.StageOption) flow.Sink[T] {
	if w == nil {
		opts = append(opts, flow.Invalid("w", "the writer is nil", "give an io.Writer"))
	}
	turn := make(chan struct{}, 1)
	return flow.NewSink(name, func() flow.Writer[T] {
		return &ioWriter[T]{w: w, appendTo: appendTo, turn: turn}
	}, opts...)
}

type ioWriter[T any] struct {
	w        io.Writer
	appendTo func([]byte, T) []byte
	turn     chan struct{} // holds a token while one of the sink's writers writes

	buf  []byte
	ends []int // end offsets of the values in buf
}

// keepBuffer is the largest buffer that is kept for the next chunk.
const keepBuffer = 1 << 20

func (w *ioWriter[T]) Write(ctx context.Context, chunk []flow.Message[T]) error {
	if cap(w.buf) > keepBuffer {
		w.buf = nil
	}
	w.buf, w.ends = w.buf[:0], w.ends[:0]
	for i := range chunk {
		w.buf = w.appendTo(w.buf, chunk[i].Value)
		w.ends = append(w.ends, len(w.buf))
	}
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	n, err := w.write()
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	if err == nil {
		return nil
	}
	errs := make([]error, len(chunk))
	from := 0
	for i, to := range w.ends {
		switch {
		case to <= n && to > from:
		case n > from:
			errs[i] = &CutError{Written: n - from, Size: to - from, Err: err}
		default:
			errs[i] = err
		}
		from = to
	}
	return &flow.WriteError{Errs: errs}
}

// write calls the io.Writer once, and releases the turn even if that panics.
func (w *ioWriter[T]) write() (int, error) {
	defer func() { <-w.turn }()
	if len(w.buf) == 0 {
		return 0, nil
	}
	return w.w.Write(w.buf)
}
