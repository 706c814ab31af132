package main

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// escape makes foreign text safe for a terminal: unprintable characters and the backslash are
// written as in Go strings. Text of more than limit bytes is cut and ends with the number of
// missing bytes; 0 is no limit.
func escape(text string, limit int) string { return escaped(text, limit, `\\`) }

// escapeMessage is escape for our own sentences, which already quote foreign names: it keeps
// backslashes.
func escapeMessage(text string) string { return escaped(text, 0, `\`) }

func escaped(text string, limit int, backslash string) string {
	rest := 0
	if limit > 0 && len(text) > limit {
		for cut := limit; cut >= 0 && cut > limit-utf8.UTFMax; cut-- {
			if utf8.RuneStart(text[cut]) {
				limit = cut
				break
			}
		}
		text, rest = text[:limit], len(text)-limit
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == '\\':
			b.WriteString(backslash)
		case r == utf8.RuneError && size == 1:
			const hex = "0123456789abcdef"
			b.Write([]byte{'\\', 'x', hex[text[i]>>4], hex[text[i]&15]})
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += size
	}
	if rest > 0 {
		b.WriteString("… (" + strconv.Itoa(rest) + " bytes more)")
	}
	return b.String()
}
