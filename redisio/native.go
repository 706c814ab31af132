package redisio

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio/internal/scan"
)

// The fields of a native entry. Only data is always present.
const (
	fieldData        = "data"
	fieldType        = "type"
	fieldID          = "id"
	fieldKey         = "key"
	fieldContentType = "ct"
	fieldReply       = "reply"
	fieldDeadline    = "deadline" // Unix milliseconds
	fieldLimit       = "limit"    // milliseconds
	fieldTraceparent = "traceparent"
	fieldTracestate  = "tracestate"
	fieldBaggage     = "baggage"
	fieldDuplicate   = "dup" // "1": the entry may be a duplicate
	headerPrefix     = "h:"
)

// Native returns this project's own format: one field per part of the envelope, readable in
// redis-cli.
//
//	data         the value, encoded by the codec
//	type, id, key, reply   only when set
//	traceparent, tracestate, baggage   the trace (W3C), only when set
//	ct           the content type, only if it is not the codec's; see ContentTypeMatches
//	limit        how long the sender waits, in milliseconds from the time of the entry ID, only when set
//	deadline     Unix milliseconds by the Redis clock, instead of a limit
//	dup          1 if the sender wrote it again without knowing whether the first try succeeded
//	h:<name>     one per header
//
// Unknown fields are ignored, so other writers may add some. If a field occurs twice, the first
// counts. All headers are kept. The file WIRE.md specifies the format for other languages.
func Native[T any](c Codec[T]) Format[T] { return native[T]{c, c.ContentType()} }

type native[T any] struct {
	codec Codec[T]
	ct    string
}

func (n native[T]) Encode(dst Fields, buf []byte, e *Envelope, v T) (Fields, []byte, error) {
	from := len(buf)
	buf, err := n.codec.Append(buf, v)
	if err != nil {
		return dst, buf[:from], err
	}
	dst = append(dst, Field{fieldData, buf[from:len(buf):len(buf)]})
	for _, p := range [...]struct{ name, value string }{
		{fieldType, e.Type}, {fieldID, e.ID}, {fieldKey, e.Key}, {fieldReply, e.ReplyTo},
		{fieldTraceparent, e.Traceparent}, {fieldTracestate, e.Tracestate}, {fieldBaggage, e.Baggage},
	} {
		if p.value != "" {
			dst, buf = dst.AppendText(buf, p.name, p.value)
		}
	}
	if e.ContentType != "" && e.ContentType != n.ct {
		dst, buf = dst.AppendText(buf, fieldContentType, e.ContentType)
	}
	if e.Limit > 0 {
		dst, buf = dst.AppendLimit(buf, fieldLimit, e.Limit)
	} else if !e.Deadline.IsZero() {
		at := len(buf)
		buf = strconv.AppendInt(buf, e.Deadline.UnixMilli(), 10)
		dst = append(dst, Field{fieldDeadline, buf[at:len(buf):len(buf)]})
	}
	if e.MaybeDuplicate {
		dst, buf = dst.AppendText(buf, fieldDuplicate, "1")
	}
	for _, h := range e.Headers {
		at := len(buf)
		buf = append(append(buf, headerPrefix...), h.Name...)
		name := buf[at:len(buf):len(buf)]
		at = len(buf)
		buf = append(buf, h.Value...)
		dst = append(dst, Field{scan.String(name), buf[at:len(buf):len(buf)]})
	}
	return dst, buf, nil
}

// AppendText appends a field and copies its value to buf. Use it in formats.
func (f Fields) AppendText(buf []byte, name, value string) (Fields, []byte) {
	at := len(buf)
	buf = append(buf, value...)
	return append(f, Field{name, buf[at:len(buf):len(buf)]}), buf
}

// AppendLimit appends a limit field in milliseconds, rounded up, and writes its value to buf. Use
// it in formats.
func (f Fields) AppendLimit(buf []byte, name string, limit time.Duration) (Fields, []byte) {
	at := len(buf)
	buf = strconv.AppendInt(buf, int64((limit+time.Millisecond-1)/time.Millisecond), 10)
	return append(f, Field{name, buf[at:len(buf):len(buf)]}), buf
}

func (n native[T]) Decode(entry *Entry, e *Envelope) (v T, err error) {
	*e = Envelope{Headers: e.Headers[:0]}
	if entry.Deleted {
		return v, &DecodeError{entry.ID, "", ErrTombstone}
	}
	var data []byte
	found := false
	for i := range entry.Fields {
		f := &entry.Fields[i]
		switch f.Name {
		case fieldData:
			if !found {
				data, found = f.Value, true
			}
		case fieldType:
			first(&e.Type, f)
		case fieldID:
			first(&e.ID, f)
		case fieldReply:
			first(&e.ReplyTo, f)
		default:
			if name, ok := strings.CutPrefix(f.Name, headerPrefix); ok {
				e.Headers = append(e.Headers, Header{name, scan.String(f.Value)})
			} else if err := e.SetField(entry, f.Name, f); err != nil {
				return v, &DecodeError{entry.ID, f.Name, err}
			}
		}
	}
	if !found {
		return v, &DecodeError{entry.ID, fieldData, ErrNoData}
	}
	if e.ContentType != "" && n.ct != "" && !ContentTypeMatches(n.ct, e.ContentType) {
		return v, &DecodeError{
			entry.ID,
			fieldContentType,
			fmt.Errorf("%w %q, want %q", ErrContentType, e.ContentType, n.ct),
		}
	}
	if v, err = n.codec.Decode(data); err != nil {
		return v, &DecodeError{entry.ID, fieldData, err}
	}
	return v, nil
}

// SetField sets the part of the envelope that a native field holds. name is the field's name in
// native entries. Other names are ignored. Use it in formats that keep native fields.
func (e *Envelope) SetField(entry *Entry, name string, f *Field) error {
	switch name {
	case fieldKey:
		first(&e.Key, f)
	case fieldTraceparent:
		first(&e.Traceparent, f)
	case fieldTracestate:
		first(&e.Tracestate, f)
	case fieldBaggage:
		first(&e.Baggage, f)
	case fieldContentType:
		first(&e.ContentType, f)
	case fieldDuplicate:
		e.MaybeDuplicate = e.MaybeDuplicate || string(f.Value) == "1"
	case fieldDeadline:
		return e.readDeadline(f.Value)
	case fieldLimit:
		return e.readLimit(entry, f.Value)
	}
	return nil
}

func first(dst *string, f *Field) {
	if *dst == "" {
		*dst = scan.String(f.Value)
	}
}
