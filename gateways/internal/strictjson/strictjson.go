// Package strictjson checks JSON that comes from clients.
//
// Parsers differ in which of two members with the same name they use, so a duplicate name can smuggle
// a value past a check. Parsers of applications may recurse, so deep nesting can exhaust their stack.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Reason is why JSON is refused.
type Reason int

// The reasons.
const (
	Invalid    Reason = iota // a syntax error
	Incomplete               // the input ends too early
	Duplicate                // two members of an object have the same name
	TooDeep                  // too many levels
	Trailing                 // more than one value
	NotObject                // a valid value, but not an object
)

// Error describes the first mistake.
type Error struct {
	Reason Reason
	Offset int64  // in bytes, if Invalid or Duplicate
	Name   string // if Duplicate
	Depth  int    // the limit, if TooDeep
}

func (e *Error) Error() string {
	switch e.Reason {
	case Duplicate:
		return fmt.Sprintf("duplicate member %.40s", strconv.Quote(e.Name))
	case TooDeep:
		return fmt.Sprintf("nests deeper than %d", e.Depth)
	case NotObject:
		return "not a JSON object"
	}
	return "not JSON"
}

// Check returns an *Error unless b is one JSON value without duplicate names, with at most depth
// nested objects and lists. It also refuses invalid UTF-8, unless the options allow it.
func Check(b []byte, depth int, opts ...jsontext.Options) error {
	switch {
	case tooDeep(b, depth):
		return &Error{Reason: TooDeep, Depth: depth}
	case jsontext.Value(b).IsValid(opts...):
		return nil
	}
	return describe(b, opts)
}

// describe returns the mistake in b.
func describe(b []byte, opts []jsontext.Options) *Error {
	d := jsontext.NewDecoder(bytes.NewReader(b), opts...)
	_, err := d.ReadValue()
	var wrong *jsontext.SyntacticError
	switch {
	case errors.As(err, &wrong) && errors.Is(err, jsontext.ErrDuplicateName):
		return &Error{Reason: Duplicate, Offset: wrong.ByteOffset, Name: wrong.JSONPointer.LastToken()}
	case errors.As(err, &wrong):
		return &Error{Reason: Invalid, Offset: wrong.ByteOffset}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &Error{Reason: Incomplete}
	}
	return &Error{Reason: Trailing}
}

// tooDeep reports JSON nested deeper than most, without recursion.
func tooDeep(b []byte, most int) bool {
	if bytes.Count(b, []byte{'{'})+bytes.Count(b, []byte{'['}) <= most {
		return false
	}
	depth, text := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// pass is a decoder with its input.
type pass struct {
	in  bytes.Buffer
	dec *jsontext.Decoder
}

var passes = sync.Pool{New: func() any { return &pass{dec: new(jsontext.Decoder)} }}

// lenient leaves the checks to Check.
var lenient = jsontext.AllowDuplicateNames(true)

// Members calls each with the name and the raw value of every member of an object, until it returns
// an error. The value is valid during the call. Members does not check the object: call Check
// first.
func Members(object []byte, each func(name string, value []byte) error) error {
	p := passes.Get().(*pass)
	defer passes.Put(p)
	p.in = *bytes.NewBuffer(object)
	p.dec.Reset(&p.in, lenient, jsontext.AllowInvalidUTF8(true))
	if p.dec.PeekKind() != '{' {
		return &Error{Reason: NotObject}
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return &Error{Reason: Invalid}
	}
	for p.dec.PeekKind() == '"' {
		name, err := p.dec.ReadToken()
		if err != nil {
			return &Error{Reason: Invalid}
		}
		text := name.String()
		value, err := p.dec.ReadValue()
		if err != nil {
			return &Error{Reason: Invalid}
		}
		if err := each(text, value); err != nil {
			return err
		}
	}
	return nil
}
