package web

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/redisio"
)

// binder binds HTTP requests to the fields of a struct.
type binder struct{ fields []boundField }

// boundField is a field that is not set from the body.
type boundField struct {
	index    []int
	from     string // path, query, header or identity
	name     string // its name in that part of the request
	required bool
	fallback []string // from the tag default
	many     bool     // a slice
	text     bool     // a string, which may be empty
	set      func(reflect.Value, string) error
}

// paths returns the path values that the pattern must have.
func (b *binder) paths() (names []string) {
	for _, f := range b.fields {
		if f.from == "path" {
			names = append(names, f.name)
		}
	}
	return names
}

// binderOf inspects the struct type once. It reports all mistakes in its tags.
func binderOf[Q any](m *redisio.Mistakes) *binder {
	b := &binder{}
	t := reflect.TypeFor[Q]()
	if t.Kind() != reflect.Struct {
		m.Add("Q", "is "+t.String()+", no struct", "wrap it in a struct, or use HTTP")
		return b
	}
	for _, sf := range reflect.VisibleFields(t) {
		if f, ok := fieldOf(t, sf, m); ok {
			b.fields = append(b.fields, f)
		}
	}
	return b
}

var sources = []string{"path", "query", "header", "identity"}

// fieldOf returns a tagged field. ok is false if it has no tag, or a mistake.
func fieldOf(t reflect.Type, sf reflect.StructField, m *redisio.Mistakes) (f boundField, ok bool) {
	bad := func(problem, fix string) (boundField, bool) {
		m.Add(t.String()+"."+sf.Name, problem, fix)
		return f, false
	}
	tagged := false
	for _, from := range sources {
		tag, has := sf.Tag.Lookup(from)
		if !has {
			continue
		}
		if tagged {
			return bad("has the tags "+f.from+" and "+from, "choose one")
		}
		name, opts, _ := strings.Cut(tag, ",")
		f = boundField{index: sf.Index, from: from, name: name, required: opts == "required"}
		tagged = true
		switch {
		case from == "identity":
			f.name = "identity"
		case name == "":
			return bad("has an empty tag "+from, "name the value, such as "+from+`:"limit"`)
		case opts != "" && opts != "required":
			return bad("has the unknown option "+quoted(opts), `the only option is "required"`)
		case from == "header":
			f.name = http.CanonicalHeaderKey(name)
		}
	}
	if !tagged {
		return f, false
	}
	inner := sf.Type
	if inner.Kind() == reflect.Slice && (f.from == "query" || f.from == "header") {
		f.many, inner = true, inner.Elem()
	}
	f.set, f.text = setter(inner), isText(inner)
	name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
	switch {
	case !sf.IsExported():
		return bad("is not exported", "begin its name with a capital letter")
	case name == "-":
		return bad(`has the tag json:"-"`, "give it a JSON name: the service receives JSON")
	case f.set == nil:
		return bad("is "+sf.Type.String(), "use a string, a number, a bool or a type with UnmarshalText")
	case throughPointer(t, sf.Index):
		return bad("is in an embedded pointer", "embed the struct itself")
	}
	if text, has := sf.Tag.Lookup("default"); has {
		f.fallback = []string{text}
		if err := f.put(reflect.New(t).Elem(), f.fallback); err != nil {
			return bad("has the default "+quoted(text)+", which is invalid", "write one that fits its type")
		}
	}
	return f, true
}

func isText(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.String && !reflect.PointerTo(t).Implements(textType)
}

func throughPointer(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		if t = t.Field(i).Type; t.Kind() == reflect.Pointer {
			return true
		}
	}
	return false
}

// validator is an optional interface of request types.
type validator interface{ Validate() error }

// bind makes a Q from an HTTP request.
func bind[Q any](b *binder, in *incoming) (q Q, err error) {
	if in.media != "" {
		if !in.isJSON() {
			return q, problem.New(gateways.CodeUnsupported, "send the body as "+jsonType)
		}
		if err := json.Unmarshal(in.body.Bytes, &q); err != nil {
			return q, wrongType(err)
		}
	}
	if err := in.checkPath(); err != nil {
		return q, err
	}
	query, err := in.query()
	if err != nil {
		return q, err
	}
	v := reflect.ValueOf(&q).Elem()
	for i := range b.fields {
		f := &b.fields[i]
		target := v.FieldByIndex(f.index)
		target.SetZero() // the body cannot set it
		text := f.look(in, query)
		switch {
		case len(text) == 0 && f.required:
			return q, problem.Fieldf(f.name, "%s is missing", f)
		case len(text) == 0:
			text = f.fallback
		case len(text) > 1 && !f.many:
			return q, problem.Fieldf(f.name, "%s must not be repeated", f)
		}
		if err := f.put(v, text); err != nil {
			return q, problem.Fieldf(f.name, "%s must be %s", f, err)
		}
	}
	if check, can := any(&q).(validator); can {
		err = invalid(check.Validate())
	}
	return q, err
}

// invalid returns the answer to an error of Validate.
func invalid(err error) error {
	var field *gateways.FieldError
	var said *gateways.RemoteError
	if err == nil || errors.As(err, &field) || errors.As(err, &said) {
		return err
	}
	return problem.New(gateways.CodeInvalid, err.Error())
}

// wrongType names the field that has the wrong type in the body.
func wrongType(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return problem.Fieldf(
			wrong.Field,
			"%s must be %s, not %s",
			quoted(wrong.Field),
			kindName(wrong.Type),
			wrong.Value,
		)
	}
	if errors.As(err, &wrong) {
		return problem.New(gateways.CodeInvalid, "the body must be a JSON object")
	}
	return problem.New(gateways.CodeInvalid, "invalid value in the body: "+problem.Cut(err.Error()))
}

func (f *boundField) String() string {
	switch f.from {
	case "path":
		return quoted(f.name) + " in the path"
	case "query":
		return "the query's " + quoted(f.name)
	case "header":
		return "the header " + f.name
	}
	return "the caller's identity"
}

// look returns the texts of a field.
func (f *boundField) look(in *incoming, query url.Values) []string {
	switch f.from {
	case "path":
		return []string{in.http.PathValue(f.name)}
	case "query":
		if !f.text { // forms send empty fields
			return slices.DeleteFunc(slices.Clone(query[f.name]), func(v string) bool { return v == "" })
		}
		return query[f.name]
	case "header":
		return in.http.Header[f.name]
	}
	if in.identity == "" {
		return nil
	}
	return []string{in.identity}
}

// put converts texts and sets the field. Its errors say what the field must be.
func (f *boundField) put(v reflect.Value, text []string) error {
	target := v.FieldByIndex(f.index)
	if len(text) == 0 {
		return nil
	}
	if !f.many {
		return f.set(target, text[0])
	}
	all := reflect.MakeSlice(target.Type(), len(text), len(text))
	for i, s := range text {
		if err := f.set(all.Index(i), s); err != nil {
			return err
		}
	}
	target.Set(all)
	return nil
}

var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType = reflect.TypeFor[time.Duration]()
)

// setter returns a function that converts a text into the type, or nil for unsupported types.
func setter(t reflect.Type) func(reflect.Value, string) error {
	if t.Kind() == reflect.Pointer {
		inner := setter(t.Elem())
		if inner == nil {
			return nil
		}
		return func(v reflect.Value, s string) error {
			v.Set(reflect.New(t.Elem()))
			return inner(v.Elem(), s)
		}
	}
	wants := func(ok bool) error {
		if ok {
			return nil
		}
		return errors.New(kindName(t))
	}
	switch {
	case reflect.PointerTo(t).Implements(textType):
		return func(v reflect.Value, s string) error {
			return wants(v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)) == nil)
		}
	case t == durationType:
		return func(v reflect.Value, s string) error {
			d, err := time.ParseDuration(s)
			v.SetInt(int64(d))
			return wants(err == nil)
		}
	}
	switch t.Kind() {
	case reflect.String:
		return func(v reflect.Value, s string) error {
			if err := checkText("", s); err != nil {
				return errors.New("text in UTF-8")
			}
			v.SetString(s)
			return nil
		}
	case reflect.Bool:
		return func(v reflect.Value, s string) error {
			b, err := strconv.ParseBool(s)
			v.SetBool(b)
			return wants(err == nil)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(v reflect.Value, s string) error {
			n, err := strconv.ParseInt(s, 10, t.Bits())
			v.SetInt(n)
			return wants(err == nil)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return func(v reflect.Value, s string) error {
			n, err := strconv.ParseUint(s, 10, t.Bits())
			v.SetUint(n)
			return wants(err == nil)
		}
	case reflect.Float32, reflect.Float64:
		return func(v reflect.Value, s string) error {
			n, err := strconv.ParseFloat(s, t.Bits())
			finite := n-n == 0 // JSON has no infinities and no NaN
			v.SetFloat(n)
			return wants(err == nil && finite)
		}
	}
	return nil
}

// kindName describes a type in words for callers.
func kindName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "a time like 2026-01-31T15:04:05Z"
	case t == durationType:
		return "a duration like 1m30s"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("a %d-bit integer", t.Bits())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("a %d-bit integer, not negative", t.Bits())
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "something else"
}
