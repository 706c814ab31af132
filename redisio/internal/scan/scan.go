package scan

import (
	"math"
	"strings"
	"unsafe"
)

// Digits reads a number from s[from:] and returns it and the index after it.
func Digits[S ~string | ~[]byte](s S, from int) (n uint64, end int, ok bool) {
	for end = from; end < len(s) && s[end] >= '0' && s[end] <= '9'; end++ {
		d := uint64(s[end] - '0')
		if end-from >= 19 && n > (math.MaxUint64-d)/10 { // 19 digits always fit
			return 0, end, false
		}
		n = n*10 + d
	}
	return n, end, end > from
}

// String returns bytes as a string without copying. The bytes must not change: the buffer of a
// batch is never written again.
func String(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Room returns an empty buffer of n bytes. Unlike that of make it is not cleared, which costs
// as much as a copy.
func Room(n int) []byte {
	var b strings.Builder
	b.Grow(n + 1)
	_ = b.WriteByte(0)
	return unsafe.Slice(unsafe.StringData(b.String()), n)[:0]
}
