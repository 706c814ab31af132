package redisio

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// RawStruct maps the fields of entries to those of a struct, for streams that other programs write
// or read. The tag `stream:"name"` names a field; the default is its Go name. `stream:"-"` skips
// it. Options follow the name, as in `stream:"at,unix,required"`:
//
//	omitempty                                 a zero value is not written
//	required                                  decoding an entry without it fails with ErrMissing
//	unix, unixmilli, unixmicro, unixnano      a time.Time as a number since 1970, in this unit
//	sec, milli, micro, nano                   a time.Duration as a number, in this unit
//
// Supported types are strings, []byte, integers, floats and bools (1 and 0; true and false are read
// too). Without a unit, time.Time is RFC 3339 and time.Duration is "1.5s". Pointers to these types
// (nil is not written), and types that implement encoding.TextMarshaler and TextUnmarshaler, are
// supported too. Decoding ignores unknown fields, leaves missing ones zero, and uses the first of
// duplicate fields.
//
// A number with a unit may have a fraction when read; writing truncates it to whole units. A time
// without a unit is also read from Unix milliseconds if the year is from 1973 to 5138. Other
// numbers are an error, because they are most likely seconds, which need the option unix.
//
// RawStruct reports all bad tags and types at once.
func RawStruct[T any]() (Format[T], error) {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return nil, &ConfigError{
			"RawStruct", t.String(), "is not a struct", "use a struct, or Raw for a list of fields",
		}
	}
	f := structFormat[T]{byName: make(map[string]int)}
	m := MistakesOf(t.String())
	for i := range t.NumField() {
		sf := t.Field(i)
		name, list, _ := strings.Cut(sf.Tag.Get("stream"), ",")
		if name == "-" && list == "" || !sf.IsExported() && sf.Tag.Get("stream") == "" {
			continue
		}
		bad := func(problem, fix string) { m.Add(sf.Name, problem, fix) }
		if !sf.IsExported() {
			bad("has a stream tag but is not exported", "export it or drop the tag")
			continue
		}
		if name == "" {
			name = sf.Name
		}
		if _, taken := f.byName[name]; taken {
			bad(fmt.Sprintf("has the name %q, which another field has", name), "use each name once")
		}
		ft := sf.Type
		pointer := ft.Kind() == reflect.Pointer
		if pointer {
			ft = ft.Elem()
		}
		kind, ok := textKind(ft)
		if !ok {
			bad(
				fmt.Sprintf("has the type %v, which is not supported", sf.Type),
				`use a string, []byte, number, bool, time, or text marshaler and unmarshaler; stream:"-" skips it`,
			)
			continue
		}
		field := structField{name: name, index: i, kind: kind, pointer: pointer}
		if list != "" {
			field.options(list, bad)
		}
		f.byName[name] = len(f.fields)
		f.fields = append(f.fields, field)
	}
	if err := m.Err(); err != nil {
		return nil, err
	}
	if len(f.fields) == 0 {
		return nil, &ConfigError{"RawStruct", t.String(), "has no fields to map", "export some"}
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
	required  bool
	unit      time.Duration // of a time or a duration as a number; 0: text
}

// ErrMissing reports that a required field is missing.
var ErrMissing = errors.New("redisio: the field is missing")

var units = map[string]struct {
	kind fieldKind
	unit time.Duration
}{
	"unix":      {asTime, time.Second},
	"unixmilli": {asTime, time.Millisecond},
	"unixmicro": {asTime, time.Microsecond},
	"unixnano":  {asTime, 1},
	"sec":       {asDuration, time.Second},
	"milli":     {asDuration, time.Millisecond},
	"micro":     {asDuration, time.Microsecond},
	"nano":      {asDuration, 1},
}

// options reads the options of a tag.
func (f *structField) options(list string, bad func(problem, fix string)) {
	for option := range strings.SplitSeq(list, ",") {
		u, unit := units[option]
		switch {
		case option == "omitempty":
			f.omitempty = true
		case option == "required":
			f.required = true
		case !unit:
			bad(
				fmt.Sprintf("has the unknown tag option %q", option),
				"use omitempty, required or a unit such as unix or milli",
			)
		case u.kind != f.kind:
			bad(fmt.Sprintf("has the unit %q, which does not fit its type", option),
				"unix… are units of time.Time, sec, milli, micro and nano of time.Duration")
		case f.unit != 0:
			bad("has two units", "drop one")
		default:
			f.unit = u.unit
		}
	}
	if f.omitempty && f.required {
		bad("is both omitempty and required", "drop one: omitted fields could not be read back")
	}
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
		if f.unit != 0 {
			buf, err = f.appendNumber(buf, fv)
		} else {
			buf, err = appendValue(buf, f.kind, fv)
		}
		if err != nil {
			return dst[:had], buf[:from], fmt.Errorf("redisio: encode field %q: %w", f.name, err)
		}
		dst = append(dst, Field{f.name, buf[at:len(buf):len(buf)]})
	}
	if len(dst) == had {
		return dst, buf, errors.New("redisio: encode an entry whose fields are all omitted: set at least one")
	}
	return dst, buf, nil
}

func (s structFormat[T]) Decode(entry *Entry, e *Envelope) (v T, err error) {
	*e = Envelope{Headers: e.Headers[:0]}
	if entry.Deleted {
		return v, &DecodeError{entry.ID, "", ErrTombstone}
	}
	var seen [4]uint64 // the first of duplicates counts; of fields beyond the 256th, the last
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
		var err error
		if f.unit != 0 {
			err = f.setNumber(fv, string(entry.Fields[i].Value))
		} else {
			err = setValue(fv, f.kind, entry.Fields[i].Value)
		}
		if err != nil {
			return v, &DecodeError{entry.ID, f.name, err}
		}
	}
	for i := range s.fields {
		if f := &s.fields[i]; f.required {
			if _, found := entry.Fields.Get(f.name); !found {
				return v, &DecodeError{entry.ID, f.name, ErrMissing}
			}
		}
	}
	return v, nil
}
