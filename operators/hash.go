package operators

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"reflect"

	"github.com/cespare/xxhash/v2"
)

// Idea: whether a key type has a canonical form is known from the type alone, so it is decided once
// for a stage. Strings and integers, which nearly all keys are, take no detour by reflection; their
// named types, and the rest, do.

// hasher returns the hash of keys of a type, as Partition describes it.
func hasher[K comparable]() func(K) uint64 {
	t := reflect.TypeFor[K]()
	if !canonical(t) {
		seed := maphash.MakeSeed()
		return func(k K) uint64 { return maphash.Comparable(seed, k) }
	}
	return func(k K) uint64 {
		switch k := any(k).(type) {
		case string:
			return xxhash.Sum64String(k)
		case int:
			return hashBits(uint64(k))
		case int64:
			return hashBits(uint64(k))
		case uint64:
			return hashBits(k)
		}
		v := reflect.ValueOf(&k).Elem() // addressable, so that arrays of bytes can be sliced
		if v.Kind() == reflect.String {
			return xxhash.Sum64String(v.String())
		}
		var buf [64]byte
		return xxhash.Sum64(encode(buf[:0], v))
	}
}

func hashBits(bits uint64) uint64 {
	var buf [8]byte
	binary.LittleEndian.PutUint64(buf[:], bits)
	return xxhash.Sum64(buf[:])
}

// canonical reports whether equal keys of a type have the same encoding everywhere.
func canonical(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return true
	case reflect.Array:
		return canonical(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !canonical(t.Field(i).Type) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// encode appends a key's canonical form.
func encode(buf []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.String:
		buf = binary.LittleEndian.AppendUint64(buf, uint64(v.Len()))
		return append(buf, v.String()...)
	case reflect.Bool:
		if v.Bool() {
			return append(buf, 1)
		}
		return append(buf, 0)
	case reflect.Float32, reflect.Float64:
		f := v.Float() + 0 // which makes one of the two zeros: they are equal keys
		return binary.LittleEndian.AppendUint64(buf, math.Float64bits(f))
	case reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return append(buf, v.Bytes()...)
		}
		for i := range v.Len() {
			buf = encode(buf, v.Index(i))
		}
		return buf
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" { // blank fields do not count when keys are compared
				buf = encode(buf, v.Field(i))
			}
		}
		return buf
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return binary.LittleEndian.AppendUint64(buf, uint64(v.Int()))
	default:
		return binary.LittleEndian.AppendUint64(buf, v.Uint())
	}
}
