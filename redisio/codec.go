package redisio

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// Codec turns values into bytes and back. Implement it for protobuf, msgpack and the like. It is used by
// many goroutines at once. What Append appends is kept; Decode must not keep or change src, unless the
// value it returns is made of it, as Bytes does. A codec without a ContentType, "", takes entries of any.
type Codec[T any] interface {
	Append(dst []byte, v T) ([]byte, error)
	Decode(src []byte) (T, error)
	ContentType() string
}

// DefaultCodec is String for strings, Bytes for []byte and JSON for everything else.
func DefaultCodec[T any]() Codec[T] {
	var zero T
	switch any(zero).(type) {
	case string:
		return any(String()).(Codec[T])
	case []byte:
		return any(Bytes()).(Codec[T])
	}
	return JSON[T]()
}

// JSON encodes with encoding/json. Unknown fields are ignored.
func JSON[T any]() Codec[T] { return jsonCodec[T]{} }

type jsonCodec[T any] struct{}

func (jsonCodec[T]) ContentType() string { return "application/json" }

func (jsonCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	// json.Marshal's result is copied: an Encoder could write to dst, but escapes HTML and ends in a
	// newline, and measured no faster.
	b, err := json.Marshal(v)
	if err != nil {
		return dst, fmt.Errorf("redisio: encode %v as JSON: %w", reflect.TypeFor[T](), err)
	}
	return append(dst, b...), nil
}

func (jsonCodec[T]) Decode(src []byte) (v T, err error) {
	if err = json.Unmarshal(src, &v); err != nil {
		return v, fmt.Errorf("redisio: decode %v from JSON: %w", reflect.TypeFor[T](), err)
	}
	return v, nil
}

// String keeps strings as they are.
func String() Codec[string] { return stringCodec{} }

type stringCodec struct{}

func (stringCodec) ContentType() string { return "text/plain" }

func (stringCodec) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }

func (stringCodec) Decode(src []byte) (string, error) { return string(src), nil }

// Bytes keeps bytes as they are. What Decode returns is a slice of the reply it came in: see [Batch].
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) ContentType() string { return "application/octet-stream" }

func (bytesCodec) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }

func (bytesCodec) Decode(src []byte) ([]byte, error) { return src[:len(src):len(src)], nil }
