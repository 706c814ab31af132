package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// line formats an entry: its id, and its data if it has no other fields, like the entries of pipe.
// Otherwise it prints all fields.
func line(_ context.Context, m flow.Message[redisio.Fields]) (string, error) {
	if f := m.Value; len(f) == 1 && f[0].Name == "data" {
		return m.ID() + "  " + printable(string(f[0].Value)), nil
	}
	var b strings.Builder
	b.WriteString(m.ID() + " ")
	for _, f := range m.Value {
		fmt.Fprintf(&b, " %s=%q", printable(f.Name), f.Value)
	}
	return b.String(), nil
}

// printable returns text that is safe to print on a terminal. It escapes control characters, such
// as escape sequences, and bytes that are not UTF-8, as in Go's strings. Writers to the stream must
// not control the terminals of its readers.
func printable(text string) string {
	odd := func(r rune) bool { return r != '\t' && !strconv.IsPrint(r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, odd) < 0 {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case odd(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
		text = text[size:]
	}
	return b.String()
}

// parseStart reads the -from flag.
func parseStart(s string) (redisio.Start, error) {
	switch s {
	case "now":
		return redisio.StartEnd(), nil
	case "0":
		return redisio.StartBeginning(), nil
	}
	if id, err := redisio.ParseID(s); err == nil {
		return redisio.StartID(id), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return redisio.StartTime(t), nil
	}
	return redisio.Start{}, fmt.Errorf(
		"is neither now, 0, an id (as 1700000000000-0) nor a time (as 2026-01-31T15:04:05Z)",
	)
}
