package ws

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// maxDepth is how deep JSON of clients may nest. No sensible message needs more, and parsers of the
// application may recurse.
const maxDepth = 32

var errNotObject = errors.New("not a JSON object")

// members calls each with the name and the raw value of every member of the JSON object b.
//
// It refuses objects with duplicate names at any depth, because parsers differ in which of the two
// they use, and nesting deeper than maxDepth.
func members(b []byte, each func(name string, value []byte) error) error {
	if !json.Valid(b) {
		return errors.New("not JSON")
	}
	w := walker{b: b}
	w.space()
	if b[w.at] != '{' {
		return errNotObject
	}
	return w.object(1, each)
}

// walker moves through JSON that is known to be valid.
type walker struct {
	b  []byte
	at int
}

func (w *walker) space() {
	for w.at < len(w.b) && (w.b[w.at] == ' ' || w.b[w.at] == '\t' || w.b[w.at] == '\n' || w.b[w.at] == '\r') {
		w.at++
	}
}

// value skips a value.
func (w *walker) value(depth int) error {
	switch w.b[w.at] {
	case '{':
		return w.object(depth, nil)
	case '[':
		return w.array(depth)
	case '"':
		w.text()
		return nil
	}
	for w.at < len(w.b) { // a number or a word
		switch w.b[w.at] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return nil
		}
		w.at++
	}
	return nil
}

// text skips a string and returns what is between its quotes.
func (w *walker) text() []byte {
	from := w.at + 1
	for w.at = from; w.b[w.at] != '"'; w.at++ {
		if w.b[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
	return w.b[from : w.at-1]
}

func (w *walker) array(depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	for w.at++; ; w.at++ {
		w.space()
		if w.b[w.at] != ']' { // only the first time
			if err := w.value(depth + 1); err != nil {
				return err
			}
			w.space()
		}
		if w.b[w.at] == ']' {
			w.at++
			return nil
		}
	}
}

var errDeep = fmt.Errorf("nests deeper than %d", maxDepth)

func (w *walker) object(depth int, each func(string, []byte) error) error {
	if depth > maxDepth {
		return errDeep
	}
	var names nameSet
	for w.at++; ; w.at++ {
		w.space()
		if w.b[w.at] == '}' { // only the first time
			w.at++
			return nil
		}
		name := unquoted(w.text())
		if !names.add(name) {
			return fmt.Errorf("duplicate member %.40s", strconv.Quote(name))
		}
		w.space()
		w.at++ // the colon
		w.space()
		from := w.at
		if err := w.value(depth + 1); err != nil {
			return err
		}
		if each != nil {
			if err := each(name, w.b[from:w.at:w.at]); err != nil {
				return err
			}
		}
		w.space()
		if w.b[w.at] == '}' {
			w.at++
			return nil
		}
	}
}

// unquoted decodes a string of valid JSON.
func unquoted(raw []byte) string {
	for _, c := range raw {
		if c == '\\' {
			var s string
			quoted := append(append([]byte{'"'}, raw...), '"')
			_ = json.Unmarshal(quoted, &s) // it is valid
			return s
		}
	}
	return string(raw)
}

// nameSet is a slice for small objects, and a map for large ones, so that it is never slow.
type nameSet struct {
	few  []string
	many map[string]struct{}
}

func (s *nameSet) add(name string) bool {
	if s.many != nil {
		if _, has := s.many[name]; has {
			return false
		}
		s.many[name] = struct{}{}
		return true
	}
	for _, n := range s.few {
		if n == name {
			return false
		}
	}
	if s.few = append(s.few, name); len(s.few) > 16 {
		s.many = make(map[string]struct{}, 2*len(s.few))
		for _, n := range s.few {
			s.many[n] = struct{}{}
		}
	}
	return true
}
