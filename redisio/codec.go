package redisio

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// Codec encodes values to bytes and decodes them. Implement it for protobuf, msgpack and similar
// formats. It must be safe for concurrent use. Appended bytes are retained. Decode must not modify
// src, and must not retain it except in the value it returns, as Bytes does. A codec with the
// ContentType "" accepts entries of any content type.
type Codec[T any] interface {
	Append(dst []byte, v T) ([]byte, error)
	Decode(src []byte) (T, error)
	ContentType() string
}

// DefaultCodec returns String for strings, Bytes for []byte and JSON for everything else.
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
	// The result of json.Marshal is copied. An Encoder could write to dst, but it escapes HTML,
	// appends a newline and measured no faster.
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

// Bytes keeps bytes as they are. Decode returns a slice of the reply that held the entry, see
// [Batch].
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) ContentType() string { return "application/octet-stream" }

func (bytesCodec) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }

func (bytesCodec) Decode(src []byte) ([]byte, error) { return src[:len(src):len(src)], nil }
