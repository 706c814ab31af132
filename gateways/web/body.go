package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/strictjson"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
)

// maxDepth is the deepest nesting of JSON that is accepted.
const maxDepth = 64

// read reads and checks the body, if there is one.
func (c *endpointConfig) read(w http.ResponseWriter, in *incoming) error {
	r := in.http
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead { // caches and proxies ignore or remove it
		problem.StopReading(w)
		return problem.New(gateways.CodeInvalid, r.Method+" must not have a body: use POST")
	}
	in.budget = budgetOf(r.Context())
	limit := min(c.maxBody, in.budget.most())
	if r.ContentLength > limit {
		problem.StopReading(w)
		return tooLarge(limit)
	}
	err := in.fill(limit)
	if err != nil {
		return unread(w, r, limit, err)
	}
	if len(in.body) == 0 {
		return nil
	}
	if in.media, in.full, err = c.media(r.Header); err != nil || c.raw || !in.isJSON() {
		return err
	}
	in.body = bytes.TrimPrefix(in.body, byteOrderMark)
	return checkJSON(in.body)
}

// unread returns the answer to a request if err prevented the reading of its body.
func unread(w http.ResponseWriter, r *http.Request, limit int64, err error) error {
	var full problem.Error
	switch {
	case errors.As(err, &full):
	case isTooLarge(err):
		err = tooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = problem.Error{
			Status:  http.StatusRequestTimeout,
			Code:    gateways.CodeTimeout,
			Message: "request body arrived too slowly",
		}
	case r.Context().Err() != nil:
		return err
	default:
		err = problem.New(gateways.CodeInvalid, "request body is incomplete")
	}
	problem.StopReading(w)
	return err
}

// byteOrderMark is written before UTF-8 by some editors and libraries.
var byteOrderMark = []byte("\ufeff")

func tooLarge(limit int64) error {
	return problem.New(gateways.CodeTooLarge, fmt.Sprintf("the body exceeds %d bytes", limit))
}

func isTooLarge(err error) bool {
	var large *http.MaxBytesError
	return errors.As(err, &large)
}

// maxContentType limits the bytes of a content type. The boundary of multipart has at most 70.
const maxContentType = 256

// media returns the content type of a body if it is accepted: without parameters, and with those
// that the handler needs. Parameters of JSON are removed, because JSON is UTF-8.
func (c *endpointConfig) media(h http.Header) (media, full string, err error) {
	types, encoding := h["Content-Type"], h["Content-Encoding"]
	if len(types) == 1 && types[0] == jsonType && len(encoding) == 0 && slices.Contains(c.accept, jsonType) {
		return jsonType, jsonType, nil
	}
	wrong := problem.New(
		gateways.CodeUnsupported,
		"send the body with the Content-Type "+strings.Join(c.accept, " or "),
	)
	if c.accept == nil {
		wrong.Message = "send the body with a valid Content-Type"
	}
	if len(encoding) > 0 && encoding[0] != "" && !strings.EqualFold(encoding[0], "identity") {
		wrong.Message = "send the body without a Content-Encoding"
		return "", "", wrong
	}
	switch {
	case len(types) == 0 && c.raw && c.accept == nil:
		return octets, octets, nil
	case len(types) != 1 || len(types[0]) > maxContentType:
		return "", "", wrong
	}
	media, params, err := parseMedia(types[0])
	if err != nil || !c.accepts(media) {
		return "", "", wrong
	}
	if c.raw {
		return media, types[0], nil
	}
	if wire.IsJSON(media) {
		if !wire.IsJSON(mime.FormatMediaType(media, params)) {
			wrong.Message = "send JSON as UTF-8"
			return "", "", wrong
		}
		return media, media, nil
	}
	if full = mime.FormatMediaType(media, params); full == "" || len(full) > maxContentType {
		return "", "", wrong
	}
	return media, full, nil
}

func (c *endpointConfig) accepts(media string) bool {
	return c.accept == nil || slices.Contains(c.accept, media) ||
		wire.IsJSON(media) && slices.Contains(c.accept, jsonType)
}

// parseMedia parses a content type. It skips empty parameters, as in "text/plain; ;charset=utf-8".
func parseMedia(s string) (media string, params map[string]string, err error) {
	if media, params, err = mime.ParseMediaType(s); err == nil {
		return media, params, nil
	}
	parts := slices.DeleteFunc(strings.Split(s, ";"), func(p string) bool { return strings.TrimSpace(p) == "" })
	return mime.ParseMediaType(strings.Join(parts, ";"))
}

// checkJSON refuses JSON that parsers treat differently or can't parse: bad syntax, duplicate
// names, invalid UTF-8, deep nesting.
func checkJSON(b []byte) error {
	err := strictjson.Check(b, maxDepth)
	if err == nil {
		return nil
	}
	var wrong *strictjson.Error
	if !errors.As(err, &wrong) {
		return nil
	}
	bad := problem.New(gateways.CodeInvalid, "the body must be one JSON value")
	switch wrong.Reason {
	case strictjson.TooDeep:
		bad.Message = fmt.Sprintf("the body nests deeper than %d levels", wrong.Depth)
	case strictjson.Duplicate:
		bad.Message = fmt.Sprintf("duplicate member name in the body at byte %d", wrong.Offset)
	case strictjson.Invalid:
		bad.Message = fmt.Sprintf("invalid JSON in the body at byte %d", wrong.Offset)
	case strictjson.Incomplete:
		bad.Message = "the JSON body is incomplete"
	}
	return bad
}

// trimmed returns JSON without surrounding white space.
func trimmed(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

// defaultBodyMemory is the default budget for the request bodies of all routes.
const defaultBodyMemory = 64 << 20

// firstRead is how much is allocated for a body before its bytes arrive, whatever its length
// claims.
const firstRead = 4 << 10

// budget limits the bytes of all request bodies held at once. It protects the process from callers
// that send many large or unfinished bodies.
type budget struct {
	max  int64
	used atomic.Int64
}

// bodies is the budget of routes that are not behind Serve.
var bodies = &budget{max: defaultBodyMemory}

// budgetOf returns the budget of the request's server.
func budgetOf(ctx context.Context) *budget {
	if state, ours := ctx.Value(connectionKey{}).(*connection); ours {
		return &state.server.bodies
	}
	return bodies
}

// most is the limit for one body and for all large bodies together. The rest is reserved for small
// bodies, so small requests are served while large ones are refused.
func (b *budget) most() int64 { return b.max - b.max/4 }

func (b *budget) take(n int64) bool {
	most := b.most()
	if n <= firstRead {
		most = b.max
	}
	if b.used.Add(n) > most {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// room grows in.body to a capacity of n bytes.
func (in *incoming) room(n int64) error {
	if !in.budget.take(n) {
		return problem.New(gateways.CodeOverloaded, "too many request bodies: retry later")
	}
	grown := make([]byte, len(in.body), n)
	copy(grown, in.body)
	in.body = grown
	if in.held > 0 {
		in.budget.give(in.held)
	}
	in.held = n
	return nil
}

// release returns the body's bytes to the budget.
func (in *incoming) release() {
	if in.held > 0 {
		in.budget.give(in.held)
		in.held = 0
	}
}

// fill reads the body. Its buffer grows with the bytes that arrive, whatever length was claimed.
func (in *incoming) fill(limit int64) error {
	r := in.http
	want := limit + 1 // one byte more shows that it is too long
	if r.ContentLength > 0 {
		want = r.ContentLength
	}
	if err := in.room(min(want, firstRead)); err != nil {
		return err
	}
	for {
		n := len(in.body)
		if n == cap(in.body) {
			if err := in.room(min(want, 4*int64(n))); err != nil {
				return err
			}
		}
		m, err := r.Body.Read(in.body[n:cap(in.body)])
		in.body = in.body[:n+m]
		switch n = len(in.body); {
		case int64(n) > limit:
			return &http.MaxBytesError{Limit: limit}
		case int64(n) == r.ContentLength:
			return nil
		case err == io.EOF && r.ContentLength > 0:
			return io.ErrUnexpectedEOF
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
