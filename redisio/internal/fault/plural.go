package fault

import (
	"fmt"
)

// Plural is a number and its noun.
func Plural[N int | int64](n N, one, many string) string {
	if n != 1 {
		one = many
	}
	return fmt.Sprint(n, " ", one)
}
