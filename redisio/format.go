package redisio

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/scan"
)

// Envelope is the metadata of a value. The zero value of each field means "not set".
type Envelope struct {
	ID          string    // of the message, chosen by its sender; not the ID of the entry
	Key         string    // the key for ordering and partitioning
	Type        string    // the kind of message
	ContentType string    // "" means the content type of the codec
	ReplyTo     string    // the stream for replies
	Traceparent string    // the trace that the entry belongs to, and the span that wrote it (W3C)
	Tracestate  string    // what tracing systems add to Traceparent
	Baggage     string    // name=value pairs for all that work on the trace
	Deadline    time.Time // by the Redis clock
	// Limit is how long the sender waits, counted from the time the entry was added. Decoding sets
	// Deadline from it and the entry's ID. It is encoded instead of Deadline, because it needs no
	// synchronized clocks.
	Limit time.Duration
	// MaybeDuplicate reports that the sender retried the write without knowing whether the first
	// try succeeded.
	MaybeDuplicate bool
	// Traced reports that the writer has a span for this very entry, rather than passing on the trace
	// of its cause. It is not encoded. Formats of replies encode no other trace.
	Traced  bool
	Headers []Header
}

// Header is one name and value of an envelope.
type Header struct{ Name, Value string }

// readDeadline reads Unix milliseconds, unless the deadline is already set.
func (e *Envelope) readDeadline(text []byte) error {
	if !e.Deadline.IsZero() {
		return nil
	}
	ms, err := strconv.ParseInt(scan.String(text), 10, 64)
	if err != nil {
		return fmt.Errorf("%.40q is not a Unix time in milliseconds", text)
	}
	e.Deadline = time.UnixMilli(ms)
	return nil
}

// readLimit reads milliseconds, unless the limit is already set.
func (e *Envelope) readLimit(entry *Entry, text []byte) error {
	if e.Limit != 0 {
		return nil
	}
	ms, err := strconv.ParseInt(scan.String(text), 10, 64)
	if err != nil || ms < 0 || ms > int64(fault.MaxDelay/time.Millisecond) {
		return fmt.Errorf("%.40q is not a limit in milliseconds", text)
	}
	e.Limit = time.Duration(ms) * time.Millisecond
	if !entry.Position.IsZero() {
		e.Deadline = entry.Position.Time().Add(e.Limit)
	}
	return nil
}

// Format maps a value and its envelope to the fields of an entry and back. It must be safe for
// concurrent use.
//
// Encode appends fields to dst and the bytes they refer to to buf, and returns both. Earlier fields
// stay valid when buf grows. Decode fills e and returns the value. If it can't read the entry, it
// returns a *DecodeError. Strings of e may refer to the reply that held the entry, see [Batch].
type Format[T any] interface {
	Encode(dst Fields, buf []byte, e *Envelope, v T) (Fields, []byte, error)
	Decode(entry *Entry, e *Envelope) (T, error)
}

var (
	// ErrNoData reports an entry without the field that holds the value.
	ErrNoData = errors.New("redisio: no data field")
	// ErrContentType reports an entry with another content type than the codec's.
	ErrContentType = errors.New("redisio: unexpected content type")
	// ErrTombstone reports an entry that was trimmed or deleted.
	ErrTombstone = errors.New("redisio: entry was deleted")
)

// DecodeError reports one entry that can't be decoded. It does not concern other entries.
type DecodeError struct {
	ID    string // of the entry
	Field string // the field at fault, "" if the entry as a whole
	Err   error
}

func (e *DecodeError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("redisio: decode entry %s: %v", e.ID, e.Err)
	}
	return fmt.Sprintf("redisio: decode entry %s, field %q: %v", e.ID, e.Field, e.Err)
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// FormatOf returns the format of a config that has a codec and a format: the format if set, else
// the native format with the codec if set, else the default of T. The default is Raw for Fields,
// and the native format with DefaultCodec for other types.
func FormatOf[T any](codec Codec[T], format Format[T]) Format[T] {
	if format != nil {
		return format
	}
	if codec == nil {
		if raw, ok := Raw().(Format[T]); ok {
			return raw
		}
		codec = DefaultCodec[T]()
	}
	return Native(codec)
}
