package operators

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"reflect"

	"github.com/cespare/xxhash/v2"
)

// Idea: the type alone decides whether keys have a canonical form, so this is checked once per
// stage. Plain strings and integers, the usual keys, avoid reflection; named types and all others
// use it.

// hasher returns the hash function of a key type, as documented at Partition.
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
		f := v.Float() + 0 // turns -0 into 0, because they are equal keys
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
			if v.Type().Field(i).Name != "_" { // == ignores blank fields
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
