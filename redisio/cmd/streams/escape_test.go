package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"plain – text, 茶 \"q\"":  "plain – text, 茶 \"q\"",
		"\x1b]0;title\x07":       `\x1b]0;title\a`,
		"a\nb\r\tc":              `a\nb\r\tc`,
		"\u009b31m":              `\u009b31m`,
		"\u202egnp.exe\u200b":    `\u202egnp.exe\u200b`,
		"\xff\xfe":               `\xff\xfe`,
		`C:\x1b`:                 `C:\\x1b`,
		"\x00":                   `\x00`,
		"\U000e0001\ufffd\u00a0": "\\U000e0001\ufffd\\u00a0",
	} {
		if got := escape(in, 0); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abcdef… (1 bytes more)"},
		{"aaa茶茶", 5, "aaa… (6 bytes more)"}, // no rune is cut through
		{"\xff\xff\xff\xff\xff\xff\xff", 5, `\xff\xff\xff\xff\xff… (2 bytes more)`},
		{"\x80\x80", 1, `\x80… (1 bytes more)`},
		{"茶", 2, "… (3 bytes more)"},
	} {
		if got := escape(c.in, c.limit); got != c.want {
			t.Errorf("%q: %s, want %s", c.in, got, c.want)
		}
	}
}

// FuzzEscape: the output has nothing that controls a terminal, and nothing is lost.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"", "\x1b[31m", "\\", "\u009b\u202e", "\xc3\x28", "é\n", "\U0010ffff"} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, text string, limit int) {
		harmless := func(what, out string) {
			for _, r := range out {
				if !strconv.IsPrint(r) && r != '\ufffd' {
					t.Fatalf("%s of %q has %U", what, text, r)
				}
			}
			if !utf8.ValidString(out) {
				t.Fatalf("%s of %q is no UTF-8", what, text)
			}
		}
		out := escape(text, 0)
		harmless("escape", out)
		back, err := strconv.Unquote(`"` + strings.ReplaceAll(out, `"`, `\"`) + `"`)
		if err != nil || back != text {
			t.Fatalf("%q became %s, which is %q: %v", text, out, back, err)
		}
		cut := escape(text, limit)
		harmless("cut", cut)
		if limit > 0 && len(cut) > 10*limit+50 {
			t.Fatalf("%d bytes at limit %d", len(cut), limit)
		}
		raw, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		plain := plainJSON(raw)
		harmless("JSON", string(plain))
		var before, after string
		if err := json.Unmarshal(raw, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(plain, &after); err != nil || before != after {
			t.Fatalf("%s became %s: %v", raw, plain, err)
		}
	})
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 1500 * time.Microsecond: "2ms", 1234 * time.Millisecond: "1.2s", 61 * time.Second: "1m01s",
		3*time.Hour + 5*time.Minute: "3h05m", 49 * time.Hour: "2d01h",
	} {
		if got := short(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}
