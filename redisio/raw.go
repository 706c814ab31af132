package redisio

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Raw leaves entries as they are: all fields, in order, duplicates kept. The envelope stays empty and is
// not written.
func Raw() Format[Fields] { return rawFormat{} }

type rawFormat struct{}

func (rawFormat) Encode(dst Fields, buf []byte, _ *Envelope, v Fields) (Fields, []byte, error) {
	if len(v) == 0 {
		return dst, buf, errors.New("redisio: encode an entry without fields: Redis takes none")
	}
	return append(dst, v...), buf, nil
}

func (rawFormat) Decode(entry *Entry, e *Envelope) (Fields, error) {
	*e = Envelope{Headers: e.Headers[:0]}
	if entry.Deleted {
		return nil, &DecodeError{entry.ID, "", ErrTombstone}
	}
	return entry.Fields, nil
}

// RawStruct maps the fields of entries to those of a struct, for streams that others write or read. A
// field is named by its tag `stream:"name"`, or as in Go; `stream:"-"` leaves it out, and
// `stream:"name,omitempty"` leaves it out of entries when it is zero. Strings, []byte, integers, floats,
// bools (1 and 0; true and false are read as well), time.Time (RFC 3339; Unix milliseconds are read as
// well), time.Duration (as "1.5s"), pointers to these (nil is left out) and what implements
// encoding.TextMarshaler and TextUnmarshaler are possible. On decoding, unknown fields are ignored,
// missing ones stay zero, and of a field that occurs twice the first counts.
//
// Bad tags and types are errors here, all at once, not when the first entry comes.
func RawStruct[T any]() (Format[T], error) {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return nil, &ConfigError{"RawStruct", t.String(), "is no struct", "use a struct, or Raw for a list of fields"}
	}
	f := structFormat[T]{byName: make(map[string]int)}
	var errs []error
	for i := range t.NumField() {
		sf := t.Field(i)
		name, option, _ := strings.Cut(sf.Tag.Get("stream"), ",")
		if name == "-" && option == "" || !sf.IsExported() && sf.Tag.Get("stream") == "" {
			continue
		}
		bad := func(problem, fix string) {
			errs = append(errs, &ConfigError{t.String(), sf.Name, problem, fix})
		}
		if !sf.IsExported() {
			bad("has a stream tag but is not exported", "export it or drop the tag")
			continue
		}
		if name == "" {
			name = sf.Name
		}
		if option != "" && option != "omitempty" {
			bad(fmt.Sprintf("has the unknown tag option %q", option), "only omitempty is known")
		}
		if _, taken := f.byName[name]; taken {
			bad(fmt.Sprintf("has the name %q, which another field has", name), "name each field once")
		}
		ft := sf.Type
		pointer := ft.Kind() == reflect.Pointer && !ft.Implements(textMarshaler)
		if pointer {
			ft = ft.Elem()
		}
		kind, ok := textKind(ft)
		if !ok {
			bad(fmt.Sprintf("has the type %v, which is no text", sf.Type),
				`use a string, []byte, number, bool, time, or a TextMarshaler and TextUnmarshaler; stream:"-" leaves it out`)
			continue
		}
		f.byName[name] = len(f.fields)
		f.fields = append(f.fields, structField{name, i, kind, pointer, option == "omitempty"})
	}
	if len(f.fields) == 0 && len(errs) == 0 {
		errs = append(errs, &ConfigError{"RawStruct", t.String(), "has no fields to map", "export some"})
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return f, nil
}

type structFormat[T any] struct {
	fields []structField
	byName map[string]int
}

type structField struct {
	name      string
	index     int
	kind      fieldKind
	pointer   bool
	omitempty bool
}

type fieldKind int

const (
	asString fieldKind = iota
	asBytes
	asInt
	asUint
	asFloat
	asBool
	asTime
	asDuration
	asText
)

var (
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func textKind(t reflect.Type) (fieldKind, bool) {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return asTime, true
	case t == reflect.TypeFor[time.Duration]():
		return asDuration, true
	case reflect.PointerTo(t).Implements(textUnmarshaler) && reflect.PointerTo(t).Implements(textMarshaler):
		return asText, true
	}
	switch t.Kind() {
	case reflect.String:
		return asString, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return asInt, true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return asUint, true
	case reflect.Float32, reflect.Float64:
		return asFloat, true
	case reflect.Bool:
		return asBool, true
	case reflect.Slice:
		return asBytes, t.Elem().Kind() == reflect.Uint8
	}
	return 0, false
}

func (s structFormat[T]) Encode(dst Fields, buf []byte, _ *Envelope, v T) (Fields, []byte, error) {
	from, had := len(buf), len(dst)
	rv := reflect.ValueOf(&v).Elem()
	for i := range s.fields {
		f := &s.fields[i]
		fv := rv.Field(f.index)
		if f.omitempty && fv.IsZero() || f.pointer && fv.IsNil() {
			continue
		}
		if f.pointer {
			fv = fv.Elem()
		}
		at := len(buf)
		var err error
		if buf, err = appendValue(buf, f.kind, fv); err != nil {
			return dst[:had], buf[:from], fmt.Errorf("redisio: encode field %q: %w", f.name, err)
		}
		dst = append(dst, Field{f.name, buf[at:len(buf):len(buf)]})
	}
	if len(dst) == had {
		return dst, buf, errors.New("redisio: encode an entry whose fields are all left out: Redis takes none")
	}
	return dst, buf, nil
}

func appendValue(buf []byte, kind fieldKind, v reflect.Value) ([]byte, error) {
	switch kind {
	case asString:
		return append(buf, v.String()...), nil
	case asBytes:
		return append(buf, v.Bytes()...), nil
	case asInt:
		return strconv.AppendInt(buf, v.Int(), 10), nil
	case asUint:
		return strconv.AppendUint(buf, v.Uint(), 10), nil
	case asFloat:
		return strconv.AppendFloat(buf, v.Float(), 'g', -1, v.Type().Bits()), nil
	case asBool:
		if v.Bool() {
			return append(buf, '1'), nil
		}
		return append(buf, '0'), nil
	case asTime:
		return v.Addr().Interface().(*time.Time).AppendFormat(buf, time.RFC3339Nano), nil
	case asDuration:
		return append(buf, time.Duration(v.Int()).String()...), nil
	}
	text, err := v.Addr().Interface().(encoding.TextMarshaler).MarshalText()
	return append(buf, text...), err
}

func (s structFormat[T]) Decode(entry *Entry, e *Envelope) (v T, err error) {
	*e = Envelope{Headers: e.Headers[:0]}
	if entry.Deleted {
		return v, &DecodeError{entry.ID, "", ErrTombstone}
	}
	var seen [4]uint64 // the first of duplicates counts; beyond 256 fields the last does
	rv := reflect.ValueOf(&v).Elem()
	for i := range entry.Fields {
		at, ok := s.byName[entry.Fields[i].Name]
		if !ok {
			continue
		}
		if at < 256 {
			bit := uint64(1) << (at % 64)
			if seen[at/64]&bit != 0 {
				continue
			}
			seen[at/64] |= bit
		}
		f := &s.fields[at]
		fv := rv.Field(f.index)
		if f.pointer {
			fv.Set(reflect.New(fv.Type().Elem()))
			fv = fv.Elem()
		}
		if err := setValue(fv, f.kind, entry.Fields[i].Value); err != nil {
			return v, &DecodeError{entry.ID, f.name, err}
		}
	}
	return v, nil
}

func setValue(v reflect.Value, kind fieldKind, b []byte) error {
	switch kind {
	case asString:
		v.SetString(string(b))
	case asBytes:
		v.SetBytes(append(make([]byte, 0, len(b)), b...))
	case asInt:
		n, err := strconv.ParseInt(string(b), 10, v.Type().Bits())
		if err != nil {
			return err
		}
		v.SetInt(n)
	case asUint:
		n, err := strconv.ParseUint(string(b), 10, v.Type().Bits())
		if err != nil {
			return err
		}
		v.SetUint(n)
	case asFloat:
		n, err := strconv.ParseFloat(string(b), v.Type().Bits())
		if err != nil {
			return err
		}
		v.SetFloat(n)
	case asBool:
		n, err := strconv.ParseBool(string(b))
		if err != nil {
			return err
		}
		v.SetBool(n)
	case asTime:
		t, err := parseTime(string(b))
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(t))
	case asDuration:
		d, err := time.ParseDuration(string(b))
		if err != nil {
			return err
		}
		v.SetInt(int64(d))
	case asText:
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(b)
	}
	return nil
}

func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err == nil {
		return t, nil
	}
	if ms, msErr := strconv.ParseInt(s, 10, 64); msErr == nil && ms > math.MinInt64/2 {
		return time.UnixMilli(ms), nil
	}
	return time.Time{}, err
}
