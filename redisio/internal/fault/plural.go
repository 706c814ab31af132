package fault

import (
	"fmt"
)

// Plural returns a number and its noun, for example "2 entries".
func Plural[N int | int64](n N, one, many string) string {
	if n != 1 {
		one = many
	}
	return fmt.Sprint(n, " ", one)
}
