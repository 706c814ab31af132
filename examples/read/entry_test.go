package main

import "testing"

// Any client may write entries to the stream. They must not control the terminal.
func TestFault_S7_TerminalEscapes(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"plain, “ünïcödé”\t✓":   "plain, “ünïcödé”\t✓",
		`C:\\dir 'quoted' "q"`:  `C:\\dir 'quoted' "q"`,
		"\x1b[2J\x1b]0;title\a": `\x1b[2J\x1b]0;title\a`,
		"a\rb\nc\x00":           `a\rb\nc\x00`,
		"\u009b31m\u202eabc":    `\u009b31m\u202eabc`,
		"\xff\xfe�":             `\xff\xfe�`,
	} {
		if got := printable(text); got != want {
			t.Errorf("%q is printed as %s, want %s", text, got, want)
		}
	}
}
