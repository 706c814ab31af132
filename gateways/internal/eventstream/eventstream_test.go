package eventstream_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways/internal/eventstream"
)

func TestAppend(t *testing.T) {
	for want, in := range map[string]struct{ id, typ, data string }{
		"data: \n\n":  {},
		"data: a\n\n": {typ: "message", data: "a"},
		"id: 7\nevent: price\ndata: 3\ndata: 4\n\n": {"7", "price", "3\n4"},
		"data: a\ndata: b\ndata: \ndata: c\n\n":     {data: "a\r\nb\r\rc"},
		"data: \ndata: id: 9\ndata: \n\n":           {data: "\nid: 9\n"},
		"data: a\uFFFDb\n\n":                        {data: "a\xffb"},
	} {
		if got := string(eventstream.Append(nil, in.id, in.typ, []byte(in.data))); got != want {
			t.Errorf("%+v: %q, want %q", in, got, want)
		}
	}
}

// Small events wait for a flush; more than 64 KiB of them do not.
func TestWriter(t *testing.T) {
	w := httptest.NewRecorder()
	out := eventstream.New(w, time.Second)
	out.Retry(1500 * time.Millisecond)
	if err := errors.Join(out.Event("1", "", []byte("a")), out.Frame([]byte("data: b\n\n"))); err != nil {
		t.Fatal(err)
	}
	out.Comment()
	if out.Begun() || w.Body.Len() > 0 {
		t.Fatalf("%d bytes were sent before the flush", w.Body.Len())
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := w.Body.String(); got != "retry: 1500\nid: 1\ndata: a\n\ndata: b\n\n:\n" || !w.Flushed || !out.Begun() {
		t.Errorf("%q, flushed %v", got, w.Flushed)
	}
	w.Body.Reset()
	large := []byte(strings.Repeat("x", 40<<10))
	if err := errors.Join(out.Event("", "", large), out.Event("", "", large)); err != nil {
		t.Fatal(err)
	}
	if n := w.Body.Len(); n < 40<<10 || n > 41<<10 {
		t.Errorf("%d bytes were sent, want the first of two large events", n)
	}
	out.End()
}

// unable is a response writer that cannot flush.
type unable struct{ http.ResponseWriter }

func (unable) FlushError() error { return http.ErrNotSupported }

func TestWriterThatCannotFlush(t *testing.T) {
	out := eventstream.New(unable{httptest.NewRecorder()}, time.Second)
	if err := out.Flush(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("%v", err)
	}
}
