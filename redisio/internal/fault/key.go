package fault

import (
	"unicode/utf8"
)

// KeyName shortens a key for messages.
func KeyName(key string) string {
	if len(key) <= 64 {
		return key
	}
	cut := 64
	for cut > 64-utf8.UTFMax && !utf8.RuneStart(key[cut]) {
		cut--
	}
	return key[:cut] + "…"
}
