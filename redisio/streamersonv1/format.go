package streamersonv1

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/scan"
)

// HeaderSourceID is the header of an envelope for the sourceId of streamerson v1: the client or
// session that a message comes from. The sender sets it, so it proves nothing.
const HeaderSourceID = "sourceId"

// The slots of streamerson v1: the positions in the flat list of names and values.
const (
	v1Slots    = 8 // four pairs
	v1NoHeader = "nil"
	v1JSON     = "json"
	v1Text     = "text"
	v1Unused   = "UnoccupiedField"
	typeJSON   = "application/json"
	typeText   = "text/plain"
)

// Values without a slot in v1 are sent in pairs after the four, which streamerson for Node ignores.
// The prefix distinguishes them from pairs that other programs append.
const (
	v1Prefix      = "streamerson-go:" // before the names that native entries use
	v1Key         = v1Prefix + "key"
	v1ContentType = v1Prefix + "ct"
	v1Deadline    = v1Prefix + "deadline"
	v1Limit       = v1Prefix + "limit"
	v1Traceparent = v1Prefix + "traceparent"
	v1Tracestate  = v1Prefix + "tracestate"
	v1Baggage     = v1Prefix + "baggage"
	v1Duplicate   = v1Prefix + "dup"
	v1Empty       = v1Prefix + "empty" // "1": the payload is really empty
)

var (
	// ErrSlots: an entry without the eight slots of streamerson v1.
	ErrSlots = errors.New("redisio: less than the four pairs of streamerson v1")
	// ErrNoMessageID: an entry of streamerson v1 with an empty first slot.
	ErrNoMessageID = errors.New("redisio: no message id")
	// ErrNotJSON: a payload that is to be sent as JSON and is invalid. It would end a reader of
	// streamerson for Node.
	ErrNotJSON = errors.New("redisio: the payload is not valid JSON")
)

// Format is exactly the format of streamerson for Node: four field/value pairs that are used as
// eight positional slots, whatever the field names are. Both sides can read and write a stream at
// the same time. See [Topic] for the keys.
//
//	0 messageId           Envelope.ID; a random one if it is empty, as Node's readers end without
//	1 messageType         Envelope.Type
//	2 messageDestination  Envelope.ReplyTo
//	3 headers             a JSON object, or nil
//	4 protocol            json, or text for codecs whose content type is not JSON
//	5 sourceId            the header [HeaderSourceID]
//	6 UnoccupiedField
//	7 payload             the value, encoded by the codec
//
// The rest of the envelope follows in further pairs, which Node's readers ignore. They are present
// only if they are set: streamerson-go:key, streamerson-go:ct (the content type, unless the
// protocol implies it), streamerson-go:deadline (Unix milliseconds), streamerson-go:traceparent,
// streamerson-go:tracestate, streamerson-go:baggage, streamerson-go:dup. Other pairs are ignored.
//
// A Node writer at the end of a pipe stops after a payload that is null, false, 0 or an empty
// string. So these four are sent as text. A JSON codec here reads them as usual; Node sees the
// strings "null", "false", "0" and `""`. An empty payload is sent as {}, with the pair
// streamerson-go:empty. If you send objects, as Node does, none of this matters. Bytes are sent
// unchanged, as text, which Node can read if they are UTF-8. Use base64 for other bytes.
//
// Several headers of one name become an array, and an array of strings becomes several headers. Any
// other value that is not a string becomes a header with its JSON. The sourceId slot takes
// precedence over a header of that name within the JSON. A text codec, such as String, decodes a
// JSON string to its text. A codec without a content type receives payloads unchanged. Its output
// is sent as JSON if it is valid JSON and the envelope does not name another type.
func Format[T any](c redisio.Codec[T]) redisio.Format[T] {
	return format[T]{c, c.ContentType(), c == redisio.JSON[T]()}
}

type format[T any] struct {
	codec redisio.Codec[T]
	ct    string
	valid bool // the codec's output is certainly JSON
}

func (f format[T]) Encode(dst redisio.Fields, buf []byte, e *redisio.Envelope, v T) (redisio.Fields, []byte, error) {
	from := len(buf)
	buf, err := f.codec.Append(buf, v)
	if err != nil {
		return dst, buf[:from], err
	}
	payload := buf[from:len(buf):len(buf)]
	ct, protocol := f.ct, v1Text
	if e.ContentType != "" {
		ct = e.ContentType
	}
	empty := len(payload) == 0
	switch {
	case empty:
		buf = append(buf, "{}"...)
		payload, protocol = buf[from:len(buf):len(buf)], v1JSON
	case ct == "":
		if json.Valid(payload) && !falsy(payload) {
			protocol = v1JSON
		}
	case isJSON(ct):
		if (!f.valid || e.ContentType != "" && e.ContentType != f.ct) && !json.Valid(payload) {
			return dst, buf[:from], fmt.Errorf("%w: encode it, or name another content type than %q", ErrNotJSON, ct)
		}
		if !falsy(payload) {
			protocol = v1JSON
		}
	}
	id := e.ID
	if id == "" {
		id = rand.Text()
	}
	source, headers, buf := appendHeaders(buf, e.Headers)
	dst, buf = dst.AppendText(buf, id, e.Type)
	dst = append(dst, redisio.Field{Name: e.ReplyTo, Value: headers})
	dst, buf = dst.AppendText(buf, protocol, source)
	dst = append(dst, redisio.Field{Name: v1Unused, Value: payload})
	if empty {
		dst, buf = dst.AppendText(buf, v1Empty, "1")
	}
	if e.ContentType != "" && e.ContentType != f.ct && (empty || ct != implied(protocol)) {
		dst, buf = dst.AppendText(buf, v1ContentType, ct)
	}
	if e.Key != "" {
		dst, buf = dst.AppendText(buf, v1Key, e.Key)
	}
	if e.Limit > 0 {
		dst, buf = dst.AppendLimit(buf, v1Limit, e.Limit)
	} else if !e.Deadline.IsZero() {
		at := len(buf)
		buf = strconv.AppendInt(buf, e.Deadline.UnixMilli(), 10)
		dst = append(dst, redisio.Field{Name: v1Deadline, Value: buf[at:len(buf):len(buf)]})
	}
	for _, p := range [...]struct{ name, value string }{
		{v1Traceparent, e.Traceparent}, {v1Tracestate, e.Tracestate}, {v1Baggage, e.Baggage},
	} {
		if p.value != "" {
			dst, buf = dst.AppendText(buf, p.name, p.value)
		}
	}
	if e.MaybeDuplicate {
		dst, buf = dst.AppendText(buf, v1Duplicate, "1")
	}
	return dst, buf, nil
}

func (f format[T]) Decode(entry *redisio.Entry, e *redisio.Envelope) (v T, err error) {
	*e = redisio.Envelope{Headers: e.Headers[:0]}
	if entry.Deleted {
		return v, &redisio.DecodeError{ID: entry.ID, Field: "", Err: redisio.ErrTombstone}
	}
	if len(entry.Fields) < v1Slots/2 {
		return v, &redisio.DecodeError{
			ID:    entry.ID,
			Field: "",
			Err:   fmt.Errorf("%w: there are %d", ErrSlots, len(entry.Fields)),
		}
	}
	s := entry.Fields
	if e.ID = s[0].Name; e.ID == "" {
		return v, &redisio.DecodeError{ID: entry.ID, Field: "messageId", Err: ErrNoMessageID}
	}
	e.Type, e.ReplyTo = scan.String(s[0].Value), s[1].Name
	if h := s[1].Value; len(h) > 0 && string(h) != v1NoHeader {
		if e.Headers, err = parseHeaders(e.Headers, h); err != nil {
			return v, &redisio.DecodeError{ID: entry.ID, Field: "headers", Err: err}
		}
	}
	protocol, payload := s[2].Name, s[3].Value
	if source := s[2].Value; len(source) > 0 {
		e.Headers = append(e.Headers, redisio.Header{Name: HeaderSourceID, Value: scan.String(source)})
	}
	for i := v1Slots / 2; i < len(s); i++ {
		x := &s[i]
		name, ours := strings.CutPrefix(x.Name, v1Prefix)
		switch {
		case !ours:
		case x.Name == v1Empty:
			payload = payload[:0]
		default:
			if err := e.SetField(entry, name, x); err != nil {
				return v, &redisio.DecodeError{ID: entry.ID, Field: x.Name, Err: err}
			}
		}
	}
	switch {
	case f.ct == "" && e.ContentType == "":
		e.ContentType = implied(protocol)
	case f.ct == "":
	case e.ContentType == f.ct:
		e.ContentType = ""
	case e.ContentType != "" && !redisio.ContentTypeMatches(f.ct, e.ContentType):
		return v, &redisio.DecodeError{
			ID:    entry.ID,
			Field: v1ContentType,
			Err:   fmt.Errorf("%w %q, want %q", redisio.ErrContentType, e.ContentType, f.ct),
		}
	case e.ContentType == "" && f.ct == typeText && protocol == v1JSON && len(payload) > 0 && payload[0] == '"':
		var text string
		if err := json.Unmarshal(payload, &text); err != nil {
			return v, &redisio.DecodeError{ID: entry.ID, Field: "payload", Err: err}
		}
		payload = []byte(text)
	}
	if v, err = f.codec.Decode(payload); err != nil {
		return v, &redisio.DecodeError{ID: entry.ID, Field: "payload", Err: err}
	}
	return v, nil
}

// implied returns the content type that a protocol implies. Any protocol except json is text, as
// for Node.
func implied(protocol string) string {
	if protocol == v1JSON {
		return typeJSON
	}
	return typeText
}

func isJSON(ct string) bool { return redisio.ContentTypeMatches(typeJSON, ct) }

// falsy reports whether JavaScript treats the JSON as false: null, false, zero in any spelling and
// "".
func falsy(b []byte) bool {
	b = bytes.Trim(b, " \t\r\n")
	if len(b) == 0 {
		return true
	}
	switch b[0] {
	case 'n', 'f':
		return true
	case '"':
		return len(b) == 2
	}
	if c := b[0]; c == '-' || c == '0' || '1' <= c && c <= '9' && bytes.ContainsAny(b, "eE") {
		n, err := strconv.ParseFloat(scan.String(b), 64) // what is too small for a double is zero to JavaScript as well
		return err == nil && n == 0
	}
	return false
}

// appendHeaders appends the headers as JSON. It returns the source header instead of appending it.
func appendHeaders(buf []byte, headers []redisio.Header) (source string, text, grown []byte) {
	from, n := len(buf), 0
	for i, h := range headers {
		if h.Name == HeaderSourceID {
			if source == "" {
				source = h.Value
			}
			continue
		}
		again := func(o redisio.Header) bool { return o.Name == h.Name }
		if slices.ContainsFunc(headers[:i], again) {
			continue // is in the array of the first
		}
		if n++; n == 1 {
			buf = append(buf, '{')
		} else {
			buf = append(buf, ',')
		}
		buf = append(appendJSONText(buf, h.Name), ':')
		if !slices.ContainsFunc(headers[i+1:], again) {
			buf = appendJSONText(buf, h.Value)
			continue
		}
		open := byte('[')
		for _, o := range headers[i:] {
			if o.Name == h.Name {
				buf = appendJSONText(append(buf, open), o.Value)
				open = ','
			}
		}
		buf = append(buf, ']')
	}
	if n == 0 {
		buf = append(buf, v1NoHeader...)
	} else {
		buf = append(buf, '}')
	}
	return source, buf[from:len(buf):len(buf)], buf
}

func appendJSONText(buf []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, _ := json.Marshal(s) // a string can always be encoded
			return append(buf, b...)
		}
	}
	return append(append(append(buf, '"'), s...), '"')
}

// parseHeaders parses a JSON object. If a name occurs twice, the last one is used, as in
// JavaScript.
func parseHeaders(dst []redisio.Header, text []byte) ([]redisio.Header, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return dst, fmt.Errorf("%.40q is no JSON object: %w", text, err)
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		var one string
		var many []string
		switch value := object[name]; {
		case name == HeaderSourceID:
		case len(value) > 0 && value[0] == '"' && json.Unmarshal(value, &one) == nil:
			dst = append(dst, redisio.Header{Name: name, Value: one})
		case len(value) > 0 && value[0] == '[' && allStrings(value, &many):
			for _, v := range many {
				dst = append(dst, redisio.Header{Name: name, Value: v})
			}
		default:
			dst = append(dst, redisio.Header{Name: name, Value: string(value)})
		}
	}
	return dst, nil
}

// allStrings parses an array and reports whether all its elements are strings.
func allStrings(value []byte, dst *[]string) bool {
	var elements []*string
	if json.Unmarshal(value, &elements) != nil || slices.Contains(elements, nil) {
		return false
	}
	for _, e := range elements {
		*dst = append(*dst, *e)
	}
	return true
}
