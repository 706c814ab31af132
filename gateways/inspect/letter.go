package inspect

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
)

// letterView is one dead letter.
type letterView struct {
	letterRow
	Error   string      `json:"error"` // whole
	Causes  []string    `json:"causes"`
	Stack   string      `json:"stack,omitempty"`
	Values  []valueView `json:"values"`
	Omitted int         `json:"omitted,omitempty"` // fields that are not in Values
	Hidden  string      `json:"hidden,omitempty"`  // why the values are not shown
}

// valueView is a field of a dead letter. Text or Base64 has the value, or its beginning.
type valueView struct {
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	Text   string `json:"text,omitempty"`
	Base64 []byte `json:"base64,omitempty"` // if it is no valid UTF-8, or should be edited as bytes
	Cut    bool   `json:"cut,omitempty"`
}

// open returns a dead letter, with the beginnings of its values if they may be seen.
func (l *letters) open(r *http.Request, d *dead.Entry, view Action) *letterView {
	why := &d.Reason
	v := &letterView{
		letterRow: rowOf(d), Error: cut(why.Error, maxErrorText), Causes: []string{},
		Stack: cut(why.Stack, maxErrorText), Values: []valueView{},
	}
	for _, c := range why.Causes[:min(len(why.Causes), maxCauses)] {
		v.Causes = append(v.Causes, cut(c, maxErrorText))
	}
	who, err := l.guard.decide(r, &view)
	if err != nil {
		v.Hidden = short(err.Error())
	} else {
		l.guard.audit(&view, who, "shown")
	}
	v.Omitted = max(0, len(d.Original)-maxFields)
	left := maxValues
	for _, f := range d.Original[:len(d.Original)-v.Omitted] {
		shown := valueView{Name: cut(f.Name, maxWords), Bytes: len(f.Value)}
		if err == nil {
			n := min(len(f.Value), maxValue, left)
			left -= n
			shown.Cut = n < len(f.Value)
			if text := whole(f.Value[:n], shown.Cut); utf8.Valid(text) {
				shown.Text = string(text)
			} else {
				shown.Base64 = f.Value[:n]
			}
		}
		v.Values = append(v.Values, shown)
	}
	return v
}

// whole removes an incomplete rune from the end of a text that was cut.
func whole(text []byte, cut bool) []byte {
	for i := 1; cut && i <= utf8.UTFMax && i <= len(text); i++ {
		if at := len(text) - i; utf8.RuneStart(text[at]) {
			if !utf8.FullRune(text[at:]) {
				return text[:at]
			}
			break
		}
	}
	return text
}

// errLarge refuses to edit.
var errLarge = fmt.Errorf("a dead letter of more than %d MiB or %d fields can't be edited here: "+
	"drop it, and write another entry", maxWhole>>20, maxFields)

// whole returns all values of a dead letter, to be edited.
func (l *letters) whole(r *http.Request, d *dead.Entry, view Action) (*letterView, error) {
	who, err := l.guard.decide(r, &view)
	if err != nil {
		return nil, err
	}
	if d.Original.Size() > maxWhole || len(d.Original) > maxFields {
		return nil, errLarge
	}
	l.guard.audit(&view, who, "shown to be edited")
	v := &letterView{letterRow: rowOf(d), Causes: []string{}}
	for _, f := range d.Original {
		shown := valueView{Name: cut(f.Name, maxWords), Bytes: len(f.Value)}
		if plain(f.Value) {
			shown.Text = string(f.Value)
		} else {
			shown.Base64 = f.Value
		}
		v.Values = append(v.Values, shown)
	}
	return v, nil
}

// plain reports whether a text field of a browser keeps a value as it is and shows all of it. Other
// values are edited as base64.
func plain(value []byte) bool {
	return utf8.Valid(value) && strings.IndexFunc(string(value), func(c rune) bool {
		return unicode.IsControl(c) && c != '\n' && c != '\t' || unicode.Is(unicode.Bidi_Control, c) ||
			c == '\u2028' || c == '\u2029' || c == '\ufeff'
	}) < 0
}

// download sends a value, or all fields as JSON, as a file.
func (l *letters) download(w http.ResponseWriter, r *http.Request, d *dead.Entry, view Action, field string) {
	n, err := strconv.Atoi(field)
	if field != "" && (err != nil || n < 0 || n >= len(d.Original)) {
		fail(w, http.StatusNotFound, errors.New("the dead letter has no such field"))
		return
	}
	who, err := l.guard.decide(r, &view)
	if err != nil {
		fail(w, http.StatusForbidden, err)
		return
	}
	name, body := d.ID+".json", []byte(nil)
	if field != "" {
		name, body = d.ID+"-"+field+".bin", d.Original[n].Value
	} else if body, err = json.MarshalIndent(filed(d.Original), "", "  "); err != nil {
		reply(w, nil, err)
		return
	}
	l.guard.audit(&view, who, "downloaded")
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(downloadIn))     // not all writers have deadlines
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }() // the connection may have further requests
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the browser may have disconnected
}

// downloadIn bounds the time to write a file.
const downloadIn = time.Minute

// filedField is a field in a downloaded file.
type filedField struct {
	Name       string `json:"name"`
	NameBase64 []byte `json:"name_base64,omitempty"`
	Value      string `json:"value"`
	Base64     []byte `json:"base64,omitempty"`
}

func filed(fields redisio.Fields) []filedField {
	all := make([]filedField, len(fields))
	for i, f := range fields {
		if all[i].Name = f.Name; !utf8.ValidString(f.Name) {
			all[i] = filedField{NameBase64: []byte(f.Name)}
		}
		if utf8.Valid(f.Value) {
			all[i].Value = string(f.Value)
		} else {
			all[i].Base64 = f.Value
		}
	}
	return all
}

// cut returns at most n bytes of a text, as valid UTF-8.
func cut(text string, n int) string {
	if len(text) > n {
		text = text[:n] + "…"
	}
	return strings.ToValidUTF8(text, "\ufffd")
}
