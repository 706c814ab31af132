package redisio

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/scan"
)

// Envelope is what travels beside a value. The zero value of each part means "not set".
type Envelope struct {
	ID          string    // of the message, chosen by its sender; not the entry's
	Key         string    // what orders and partitions it
	Type        string    // which kind of message
	ContentType string    // on decoding "" if the sender used the codec's; on encoding "" means the codec's
	ReplyTo     string    // the stream that answers belong to
	Traceparent string    // W3C trace context
	Deadline    time.Time // by Redis's clock
	// Limit is how long the sender waits, from when the entry was added. Decoding sets Deadline by
	// it, from the entry's ID. It is encoded instead of Deadline, because it needs no common clock.
	Limit time.Duration
	// MaybeDuplicate says that the sender could not know whether it had written the message already.
	MaybeDuplicate bool
	Headers        []Header
}

// Header is one name and value of an envelope.
type Header struct{ Name, Value string }

// readDeadline reads Unix milliseconds, unless there is a deadline already.
func (e *Envelope) readDeadline(text []byte) error {
	if !e.Deadline.IsZero() {
		return nil
	}
	ms, err := strconv.ParseInt(scan.String(text), 10, 64)
	if err != nil {
		return fmt.Errorf("%.40q is no Unix time in milliseconds", text)
	}
	e.Deadline = time.UnixMilli(ms)
	return nil
}

// readLimit reads milliseconds, unless there is a limit already.
func (e *Envelope) readLimit(entry *Entry, text []byte) error {
	if e.Limit != 0 {
		return nil
	}
	ms, err := strconv.ParseInt(scan.String(text), 10, 64)
	if err != nil || ms < 0 || ms > int64(fault.MaxDelay/time.Millisecond) {
		return fmt.Errorf("%.40q is no limit in milliseconds", text)
	}
	e.Limit = time.Duration(ms) * time.Millisecond
	if !entry.Position.IsZero() {
		e.Deadline = entry.Position.Time().Add(e.Limit)
	}
	return nil
}

// Format maps a value and its envelope to the fields of an entry and back. It is used by many
// goroutines at once.
//
// Encode appends fields to dst, and bytes they refer to, to buf; both are returned grown. Earlier
// fields stay valid when buf grows. Decode fills e and returns the value; what it cannot read is a
// *DecodeError. Strings of e may refer to the reply the entry came in: see [Batch].
type Format[T any] interface {
	Encode(dst Fields, buf []byte, e *Envelope, v T) (Fields, []byte, error)
	Decode(entry *Entry, e *Envelope) (T, error)
}

var (
	// ErrNoData: an entry without the field that holds the value.
	ErrNoData = errors.New("redisio: no data field")
	// ErrContentType: an entry in another content type than the codec's.
	ErrContentType = errors.New("redisio: unexpected content type")
	// ErrTombstone: an entry that was trimmed or deleted.
	ErrTombstone = errors.New("redisio: entry was deleted")
)

// DecodeError is an entry that can't be decoded. It says nothing about the entries beside it.
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

// FormatOf is the format that a config asks for which has a codec and a format: the format, or the native one with the
// codec, or what suits T: Raw for Fields, and else the native one with DefaultCodec.
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
