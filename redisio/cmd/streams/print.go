package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/streamerson/streamerson-go/redisio"
)

// printer prints results: tables for people, or one JSON object per line.
type printer struct {
	json bool
	zone *time.Location // of the times that are shown
	w    *bufio.Writer
	tab  *tabwriter.Writer
	rows int
}

func newPrinter(w io.Writer, asJSON bool, zone *time.Location) *printer {
	buf := bufio.NewWriter(w)
	return &printer{json: asJSON, zone: zone, w: buf, tab: tabwriter.NewWriter(buf, 0, 4, 2, ' ', 0)}
}

// wide makes all columns equally wide. It is for tables that are printed in parts.
func (p *printer) wide() { p.tab.Init(p.w, 16, 4, 2, ' ', 0) }

// row prints a row of a table, unless the output is JSON. It escapes the cells.
func (p *printer) row(cells ...string) {
	if p.json {
		return
	}
	for i, c := range cells {
		if c == "" {
			c = "-"
		}
		if i > 0 {
			_, _ = io.WriteString(p.tab, "\t") // flush returns the errors
		}
		_, _ = io.WriteString(p.tab, escape(c, 0))
	}
	_, _ = io.WriteString(p.tab, "\n")
	if p.rows++; p.rows%1000 == 0 { // limits the table's memory, not its length
		_ = p.tab.Flush()
	}
}

// line prints a line between tables, unless the output is JSON. The caller escapes.
func (p *printer) line(format string, args ...any) {
	if p.json {
		return
	}
	_ = p.tab.Flush()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// object prints v if the output is JSON, with escapes for runes that could control a terminal.
func (p *printer) object(v any) error {
	if !p.json {
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := p.w.Write(plainJSON(b.Bytes()))
	return err
}

// plainJSON escapes unprintable runes. JSON allows some control characters: the C1 set, DEL, and
// those that change the direction of text.
func plainJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r < 0x7f || strconv.IsPrint(r):
			out = append(out, text[i:i+size]...)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += size
	}
	return out
}

func (p *printer) flush() error {
	_ = p.tab.Flush() // it writes to w, which keeps errors
	return p.w.Flush()
}

// short formats a duration with at most two units.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
}

// round formats a duration without trailing zeros: 6h, not 6h0m0s.
func round(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func shortOf(is bool, d time.Duration) string {
	if !is {
		return ""
	}
	return short(d)
}

func num(n int64) string { return strconv.FormatInt(n, 10) }

// atLeast marks a number that is a lower bound.
func atLeast(n int64, more bool) string {
	if more {
		return "≥" + num(n)
	}
	return num(n)
}

// plural formats a number of things: "1 entry", "2 entries".
func plural(n int64, one, many string) string { return pluralOf(n, false, one, many) }

// pluralOf is plural for a number that may be a lower bound.
func pluralOf(n int64, more bool, one, many string) string {
	if n == 1 && !more {
		many = one
	}
	return atLeast(n, more) + " " + many
}

// firstLine returns the first line of an error.
func firstLine(text string) string {
	line, _, more := strings.Cut(text, "\n")
	if more {
		line += " …"
	}
	return line
}

// binary returns a name in base64 if JSON cannot represent it, else "". JSON also has the name with
// U+FFFD for invalid UTF-8.
func binary(name string) string {
	if utf8.ValidString(name) {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(name))
}

// jsonField is a field in JSON. Values that are not text are in base64.
type jsonField struct {
	Name       string  `json:"name"`
	NameBase64 string  `json:"nameBase64,omitempty"`
	Value      *string `json:"value,omitempty"`
	Base64     string  `json:"base64,omitempty"`
}

func jsonFields(fields redisio.Fields) []jsonField {
	out := make([]jsonField, len(fields))
	for i, f := range fields {
		out[i].Name, out[i].NameBase64 = strings.ToValidUTF8(f.Name, "\ufffd"), binary(f.Name)
		if utf8.Valid(f.Value) {
			v := string(f.Value)
			out[i].Value = &v
		} else {
			out[i].Base64 = base64.StdEncoding.EncodeToString(f.Value)
		}
	}
	return out
}

const shownBytes = 500 // of a value, unless -full

// fields prints one indented field per line.
func (p *printer) fields(fields redisio.Fields, full bool) {
	limit := shownBytes
	if full {
		limit = 0
	}
	for _, f := range fields {
		p.line("  %s = %s", escape(f.Name, limit), escape(string(f.Value), limit))
	}
}
