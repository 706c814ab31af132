package source

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/streamerson/streamerson-go/flow"
)

// MaxLine is the maximum length of a line of Lines, in bytes.
const MaxLine = 1 << 20

// LineTooLongError is the fault of a line that exceeds the limit. The line is skipped, not held in
// memory.
type LineTooLongError struct {
	Line  int // line number, from 1
	Limit int // in bytes
}

func (e *LineTooLongError) Error() string {
	return fmt.Sprintf("source: line %d is longer than %d bytes", e.Line, e.Limit)
}

// Lines is a source of the lines of a text, without their ends ("\n" or "\r\n"). The last line need
// not have one. Lines may be up to MaxLine bytes long. The reader is not closed.
//
// A Read of standard input or of a connection may block indefinitely, so Read is called on its own
// goroutine, and the drain does not wait for it. The next run of the graph gets its result first.
// Graphs that run the same Lines share the text: each line goes to one of them.
//
// Order: the text's; a message's ID is the number of its line. Acks: none; a line that fails for
// good stops the graph, unless the policy drops it. Ends: at io.EOF, or by drain; the next run
// continues where the last one stopped. Errors: a line over the limit is a *LineTooLongError, and
// the source's fault policy decides: OnFault(flow.Drop) skips it. An error of the reader ends the
// source: the lines before it are settled, then the graph stops with the error.
func Lines(r io.Reader, opts ...flow.StageOption) flow.Source[string] {
	return LinesUpTo(r, MaxLine, opts...)
}

// LinesUpTo is Lines with a different limit for the length of a line, in bytes.
//
// Order, Acks, Ends, Errors: as for Lines.
func LinesUpTo(r io.Reader, limit int, opts ...flow.StageOption) flow.Source[string] {
	opts = slices.Clip(opts)
	if r == nil {
		opts = append(opts, flow.Invalid("r", "the reader is nil", "give an io.Reader"))
	}
	if limit < 1 {
		opts = append(opts, flow.Invalid("limit", fmt.Sprintf("%d bytes", limit), "give 1 or more"))
	}
	t := &text{r: bufio.NewReaderSize(r, 64<<10), limit: limit}
	f := newFeed(t.produce)
	return flow.NewSource("lines", func() flow.Reader[string] {
		return &feedReader[string, line]{feed: f, add: addLines}
	}, opts...)
}

type line struct {
	text   string
	number int
	err    error
}

func addLines(in *flow.Intake[string], lines []line) int {
	in.Grow(min(in.Room(), len(lines)))
	for n, l := range lines {
		if in.Room() == 0 {
			return n
		}
		meta := flow.Meta{ID: strconv.Itoa(l.number)}
		if l.err != nil {
			in.AddBad(meta, 0, l.err)
			continue
		}
		in.Add(l.text, meta, len(l.text))
	}
	return len(lines)
}

// text splits a reader's data into lines.
type text struct {
	r     *bufio.Reader
	limit int
	n     int    // lines so far
	part  []byte // beginning of a line that is longer than r's buffer
}

func (t *text) produce(yield func(line) bool) error {
	for {
		l, more, err := t.next()
		if more && !yield(l) {
			return nil
		}
		if err == io.EOF {
			return io.EOF
		}
		if err != nil {
			return fmt.Errorf("source: read line %d: %w", t.n+1, err)
		}
	}
}

// next reads one line, and reports whether there was one. The last line may be returned together
// with io.EOF.
func (t *text) next() (l line, ok bool, err error) {
	t.part = t.part[:0]
	long := false
	for {
		piece, err := t.r.ReadSlice('\n')
		whole := err == nil
		if whole {
			piece = bytes.TrimSuffix(piece, []byte("\n"))
		}
		if whole && !long && len(t.part) == 0 { // the usual case: no copy but the string
			return t.cut(piece, false), true, nil
		}
		if !long {
			t.part = append(t.part, piece...)
			long = len(t.part) > t.limit+1 // a "\r" does not count
		}
		switch {
		case err == bufio.ErrBufferFull:
		case whole:
			return t.cut(t.part, long), true, nil
		case err == io.EOF && len(t.part) > 0:
			return t.cut(t.part, long), true, io.EOF
		default:
			return line{}, false, err // an incomplete line before an error is dropped
		}
	}
}

func (t *text) cut(b []byte, long bool) line {
	t.n++
	b = bytes.TrimSuffix(b, []byte("\r"))
	if long || len(b) > t.limit {
		return line{number: t.n, err: &LineTooLongError{Line: t.n, Limit: t.limit}}
	}
	return line{number: t.n, text: string(b)}
}
