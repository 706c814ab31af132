package redisio

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

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
