// Package eventstream writes server-sent events (text/event-stream) to a client.
//
// A [Writer] collects events and sends them with Flush. Each flush has a limit of time. The time
// between flushes has no limit, so that a client may be silent for hours.
package eventstream

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// flushEvery is how many bytes are collected before they are sent, so that slow clients are noticed
// early.
const flushEvery = 64 << 10

// Writer writes events to one client. It is not safe for concurrent use.
type Writer struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	text    []byte // not sent yet
	begun   bool
}

// New returns a writer. A client may take timeout to receive what is flushed.
func New(w http.ResponseWriter, timeout time.Duration) *Writer {
	return &Writer{w: w, rc: http.NewResponseController(w), timeout: timeout}
}

// Begin sends the status and the header, once. The first flush does it too.
func (o *Writer) Begin() {
	if o.begun {
		return
	}
	o.begun = true
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store, no-transform") // a compressing proxy would wait for more data
	h.Set("X-Accel-Buffering", "no")                 // nginx
	h.Set("X-Content-Type-Options", "nosniff")
	_ = o.rc.SetReadDeadline(time.Time{}) // if not supported, the server's own deadline applies
	o.w.WriteHeader(http.StatusOK)
}

// Begun reports whether the status has been sent.
func (o *Writer) Begun() bool { return o.begun }

// Retry sets how long the client waits before it connects again. It is sent with the next event:
// some libraries treat it alone as an event.
func (o *Writer) Retry(d time.Duration) {
	o.text = append(o.text, "retry: "...)
	o.text = append(strconv.AppendInt(o.text, d.Milliseconds(), 10), '\n')
}

// Comment adds a comment, which keeps a silent connection open. It ends no event.
func (o *Writer) Comment() { o.text = append(o.text, ":\n"...) }

// Event adds an event, as [Append] encodes it.
func (o *Writer) Event(id, typ string, data []byte) error {
	if err := o.room(len(data)); err != nil {
		return err
	}
	o.text = Append(o.text, id, typ, data)
	return nil
}

// Frame adds an event that is encoded already.
func (o *Writer) Frame(frame []byte) error {
	if err := o.room(len(frame)); err != nil {
		return err
	}
	o.text = append(o.text, frame...)
	return nil
}

// room sends what was added if n more bytes are too many.
func (o *Writer) room(n int) error {
	if len(o.text) > 0 && len(o.text)+n > flushEvery {
		return o.Flush()
	}
	return nil
}

// Flush sends what was added. The error is http.ErrNotSupported if a wrapper of the
// http.ResponseWriter lacks a method Unwrap; otherwise the client has gone or is too slow.
func (o *Writer) Flush() (err error) {
	o.Begin()
	for rest := o.text; len(rest) > 0 && err == nil; {
		n := min(len(rest), flushEvery)
		o.End()
		_, err = o.w.Write(rest[:n])
		rest = rest[n:]
	}
	if err == nil {
		o.End()
		err = o.rc.Flush()
	}
	if cap(o.text) > 2*flushEvery { // the client may be silent for hours
		o.text = nil
	}
	o.text = o.text[:0]
	if err == nil {
		_ = o.rc.SetWriteDeadline(time.Time{}) // on HTTP/2 a deadline would also end a silent stream
	}
	return err
}

// End gives what is still to be written its limit of time. Call it when the answer ends.
func (o *Writer) End() {
	_ = o.rc.SetWriteDeadline(time.Now().Add(o.timeout)) // if not supported, the server's own deadline applies
}

// Append appends an event to dst. Neither id nor typ may have a line break. Invalid UTF-8 in the
// data is replaced.
//
// Any line break in the data that browsers know starts another data line. So the data cannot
// contain a field or the end of an event.
func Append(dst []byte, id, typ string, data []byte) []byte {
	if !utf8.Valid(data) {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	if dst == nil {
		dst = make([]byte, 0, len(id)+len(typ)+len(data)+32)
	}
	if id != "" {
		dst = append(append(append(dst, "id: "...), id...), '\n')
	}
	if typ != "" && typ != "message" {
		dst = append(append(append(dst, "event: "...), typ...), '\n')
	}
	for {
		line, rest := data, []byte(nil)
		i := bytes.IndexAny(data, "\r\n")
		if i >= 0 {
			line, rest = data[:i], data[i+1:]
			if data[i] == '\r' && len(rest) > 0 && rest[0] == '\n' {
				rest = rest[1:]
			}
		}
		dst = append(append(append(dst, "data: "...), line...), '\n')
		if i < 0 {
			return append(dst, '\n')
		}
		data = rest
	}
}
