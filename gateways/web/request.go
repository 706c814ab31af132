package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/bodies"
	"github.com/streamerson/streamerson-go/gateways/internal/plan"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/strictjson"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
)

// incoming is an HTTP request that is being converted into a Request.
type incoming struct {
	http     *http.Request
	id       string // of the request, for people and logs
	identity string
	names    []string // of the path's values
	forward  []forwarded
	body     bodies.Body
	media    string    // the body's type, without parameters; "" if there is no body
	full     string    // with the parameters that matter
	values   [2]string // of headers of the reply
}

func (in *incoming) isJSON() bool { return wire.IsJSON(in.media) }

// generic makes the Request of an HTTP handler.
func generic(p *plan.Plan[[]byte], in *incoming, raw bool) (gateways.Request, error) {
	body, media := in.body.Bytes, in.full
	if raw {
		if err := in.checkPath(); err != nil {
			return gateways.Request{}, err
		}
	} else if media == "" || in.isJSON() {
		var err error
		if body, err = in.object(); err != nil {
			return gateways.Request{}, err
		}
		media = jsonType
	} else if err := in.checkPath(); err != nil {
		return gateways.Request{}, err
	}
	r, err := requestOfQ(p, in, nil)
	r.Body, r.ContentType = body, media // not copied: nothing else uses it
	return r, err
}

// object merges path, query and body into one JSON value.
func (in *incoming) object() ([]byte, error) {
	if in.media != "" && len(in.names) == 0 {
		return in.body.Bytes, nil
	}
	if err := in.checkPath(); err != nil {
		return nil, err
	}
	dst := make([]byte, 0, len(in.body.Bytes)+64)
	dst = append(dst, '{')
	for _, name := range in.names {
		dst = member(dst, name)
		dst = quote(dst, in.http.PathValue(name))
	}
	if in.media != "" {
		return in.merge(dst)
	}
	query, err := in.query()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if in.taken(name) {
			return nil, problem.Fieldf(name, "the path sets %s: remove it from the query", quoted(name))
		}
		dst = member(dst, name)
		values := query[name]
		if len(values) == 1 {
			dst = quote(dst, values[0])
			continue
		}
		dst = append(dst, '[')
		for i, v := range values {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = quote(dst, v)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}'), nil
}

// merge appends the body's members to those of the path. The body has been checked: it is one JSON
// value.
func (in *incoming) merge(dst []byte) ([]byte, error) {
	body := trimmed(in.body.Bytes)
	if body[0] != '{' {
		return nil, problem.New(gateways.CodeInvalid, "the body must be a JSON object")
	}
	if err := strictjson.Members(body, func(name string, _ []byte) error {
		if in.taken(name) {
			return problem.Fieldf(name, "the path sets %s: remove it from the body", quoted(name))
		}
		return nil
	}); err != nil {
		return nil, err
	}
	rest := trimmed(body[1:])
	if rest[0] != '}' {
		dst = append(dst, ',')
	}
	return append(dst, rest...), nil
}

// taken reports whether a case-insensitive decoder would take name for a path value.
func (in *incoming) taken(name string) bool {
	for _, n := range in.names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

const (
	// maxMethod, maxTarget and maxForwarded limit the parts of a request other than its body.
	maxMethod    = 32
	maxTarget    = 8 << 10
	maxForwarded = 8 << 10
)

// checkSize refuses a request with too long a method, path, query or forwarded header.
func (in *incoming) checkSize() error {
	r := in.http
	if len(r.Method) > maxMethod {
		return problem.Error{
			Status:  http.StatusNotImplemented,
			Code:    gateways.CodeUnsupported,
			Message: "unknown method",
		}
	}
	if len(r.URL.Path)+len(r.URL.RawPath)+len(r.URL.RawQuery) > maxTarget {
		return problem.Error{
			Status:  http.StatusRequestURITooLong,
			Code:    gateways.CodeTooLarge,
			Message: "path and query exceed 8 KiB",
		}
	}
	n := 0
	for _, f := range in.forward {
		for _, v := range r.Header[f.canonical] {
			if n += len(f.name) + len(v); n > maxForwarded {
				return problem.Error{Status: http.StatusRequestHeaderFieldsTooLarge, Code: gateways.CodeTooLarge,
					Message: "headers exceed 8 KiB",
					Field:   f.canonical}
			}
		}
	}
	return nil
}

// checkPath refuses path values that are not valid text.
func (in *incoming) checkPath() error {
	for _, name := range in.names {
		if err := checkText(name, in.http.PathValue(name)); err != nil {
			return err
		}
	}
	return nil
}

func checkText(name, v string) error {
	switch {
	case !utf8.ValidString(v):
		return problem.Fieldf(name, "%s is not UTF-8", quoted(name))
	case strings.ContainsFunc(v, isControl):
		return problem.Fieldf(name, "%s has control characters", quoted(name))
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f }

// query returns the checked parameters of the query.
func (in *incoming) query() (url.Values, error) {
	if in.http.URL.RawQuery == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(in.http.URL.RawQuery)
	if err != nil {
		return nil, problem.New(gateways.CodeInvalid, "invalid query: write a=1&b=2, percent-encoded")
	}
	for name, values := range query {
		if !utf8.ValidString(name) {
			return nil, problem.New(gateways.CodeInvalid, "the query is not UTF-8")
		}
		for _, v := range values {
			if err := checkText(name, v); err != nil {
				return nil, err
			}
		}
	}
	return query, nil
}

// member starts a member of an object.
func member(dst []byte, name string) []byte {
	if len(dst) > 1 {
		dst = append(dst, ',')
	}
	return append(quote(dst, name), ':')
}

// quote appends valid UTF-8 as a JSON string.
func quote(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // fails for invalid UTF-8 only
	return dst
}

// pattern is the mux's pattern and the names of its values.
type pattern struct {
	text  string
	names []string
	err   error
}

// pattern returns the pattern that the mux matched. The parsed pattern is cached, because a handler
// usually has one.
func (e *Endpoint) pattern(r *http.Request) (*pattern, error) {
	p := e.seen.Load()
	if p == nil || p.text != r.Pattern {
		p = &pattern{text: r.Pattern, names: e.cfg.paths}
		if p.names == nil {
			p.names = wildcards(r.Pattern)
		}
		for _, need := range e.needs {
			if !slices.Contains(p.names, need) {
				p.err = fmt.Errorf(
					"gateways: pattern %s lacks {%s}: add it, or name it in PathValues",
					strconv.Quote(r.Pattern),
					need,
				)
			}
		}
		e.seen.Store(p)
	}
	return p, p.err
}

// wildcards returns the names in a pattern of the standard mux.
func wildcards(pattern string) (names []string) {
	for {
		_, rest, found := strings.Cut(pattern, "{")
		if !found {
			return names
		}
		var name string
		name, pattern, _ = strings.Cut(rest, "}")
		if name = strings.TrimSuffix(name, "..."); name != "$" && name != "" {
			names = append(names, name)
		}
	}
}

// quoted returns a name for a message, as JSON and shortened.
func quoted(s string) string {
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "") + "…"
	}
	b, err := json.Marshal(s)
	if err != nil {
		return "?"
	}
	return string(b)
}
