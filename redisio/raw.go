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

// Raw returns a format that keeps all fields, in order, with duplicates. The envelope stays empty
// and is not written.
func Raw() Format[Fields] { return rawFormat{} }

type rawFormat struct{}

func (rawFormat) Encode(dst Fields, buf []byte, _ *Envelope, v Fields) (Fields, []byte, error) {
	if len(v) == 0 {
		return dst, buf, errors.New("redisio: encode an entry without fields: add at least one")
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

// RawStruct maps the fields of entries to those of a struct, for streams that other programs write
// or read. The tag `stream:"name"` names a field; the default is its Go name. `stream:"-"` skips
// it. Options follow the name, as in `stream:"at,unix,required"`:
//
//	omitempty                                 a zero value is not written
//	required                                  decoding an entry without it fails with ErrMissing
//	unix, unixmilli, unixmicro, unixnano      a time.Time as a number since 1970, in this unit
//	sec, milli, micro, nano                   a time.Duration as a number, in this unit
//
// Supported types are strings, []byte, integers, floats, bools (1 and 0; true and false are read
// too), time.Time (RFC 3339 unless it has a unit), time.Duration ("1.5s" unless it has a unit),
// pointers to these (nil is not written) and types that implement encoding.TextMarshaler and
// TextUnmarshaler. Decoding ignores unknown fields, leaves missing ones zero, and uses the first of
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
	var errs []error
	for i := range t.NumField() {
		sf := t.Field(i)
		name, list, _ := strings.Cut(sf.Tag.Get("stream"), ",")
		if name == "-" && list == "" || !sf.IsExported() && sf.Tag.Get("stream") == "" {
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

// appendNumber writes a time or a duration as a number.
func (f *structField) appendNumber(buf []byte, v reflect.Value) ([]byte, error) {
	if f.kind == asDuration {
		return strconv.AppendInt(buf, v.Int()/int64(f.unit), 10), nil
	}
	t := *v.Addr().Interface().(*time.Time)
	if y := t.UTC().Year(); y < 1 || y > 9999 {
		return buf, fmt.Errorf("the year %d is out of range", y)
	}
	whole := int64(time.Second / f.unit)
	if f.unit == 1 && (t.Unix() > math.MaxInt64/whole-1 || t.Unix() < math.MinInt64/whole+1) {
		return buf, fmt.Errorf("%v has no number of nanoseconds", t)
	}
	return strconv.AppendInt(buf, t.Unix()*whole+int64(t.Nanosecond())/int64(f.unit), 10), nil
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

// setNumber reads a time or a duration from a number of units with an optional fraction.
func (f *structField) setNumber(v reflect.Value, text string) error {
	whole, rest, err := number(text, int64(f.unit))
	if err != nil {
		return err
	}
	if f.kind == asDuration {
		if whole > math.MaxInt64/int64(f.unit)-1 || whole < math.MinInt64/int64(f.unit)+1 {
			return fmt.Errorf("%q is too long for a duration", text)
		}
		v.SetInt(whole*int64(f.unit) + rest)
		return nil
	}
	each := int64(time.Second / f.unit)
	t := time.Unix(whole/each, whole%each*int64(f.unit)+rest)
	if y := t.UTC().Year(); y < 1 || y > 9999 {
		return fmt.Errorf("%q is the year %d: check the unit in the field's tag", text, y)
	}
	v.Set(reflect.ValueOf(t))
	return nil
}

// number parses a decimal number of units into whole units and the rest in nanoseconds.
func number(text string, unit int64) (whole, rest int64, err error) {
	digits, fraction, _ := strings.Cut(text, ".")
	if whole, err = strconv.ParseInt(digits, 10, 64); err != nil {
		return 0, 0, err
	}
	scale := unit
	for i := range len(fraction) {
		d := int64(fraction[i]) - '0'
		if d < 0 || d > 9 {
			return 0, 0, fmt.Errorf("%q is not a number", text)
		}
		scale /= 10
		rest += d * scale
	}
	if strings.HasPrefix(digits, "-") {
		rest = -rest
	}
	return whole, rest, nil
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
	ms, msErr := strconv.ParseInt(s, 10, 64)
	switch {
	case msErr != nil:
		return time.Time{}, err
	case ms < leastMilli || ms >= mostMilli:
		return time.Time{}, fmt.Errorf("%s is not a plausible number of milliseconds since 1970: "+
			"name the unit in the field's tag, for example `stream:\"at,unix\"`", s)
	}
	return time.UnixMilli(ms), nil
}

// Numbers in this range are read as milliseconds if the field has no unit: from March 1973 to 5138.
// Current times in seconds are smaller, those in microseconds are larger.
const leastMilli, mostMilli = 1e11, 1e14
