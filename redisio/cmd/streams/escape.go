package main

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// escape makes text of strangers fit for a terminal: what is not printable, and the backslash, is written as in Go's
// strings. Text of more than limit bytes is cut, and says how much is missing; 0 is no limit.
func escape(text string, limit int) string { return escaped(text, limit, `\\`) }

// escapeMessage is escape for a sentence of ours, which quotes the names of strangers already: its backslashes stay.
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
