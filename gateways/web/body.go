package web

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"

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
		return problem.Error{Status: http.StatusBadRequest, Code: gateways.CodeInvalid,
			Message: r.Method + " must not have a body: use POST"}
	}
	in.budget = budgetOf(r.Context())
	limit := min(c.maxBody, in.budget.most())
	if r.ContentLength > limit {
		problem.StopReading(w)
		return tooLarge(limit)
	}
	err := in.fill(limit)
	var full problem.Error
	switch {
	case err == nil:
	case errors.As(err, &full):
		problem.StopReading(w)
		return err
	case isTooLarge(err):
		problem.StopReading(w)
		return tooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		problem.StopReading(w)
		return problem.Error{
			Status:  http.StatusRequestTimeout,
			Code:    gateways.CodeTimeout,
			Message: "request body arrived too slowly",
		}
	case r.Context().Err() != nil:
		return err
	default:
		problem.StopReading(w)
		return problem.Error{
			Status:  http.StatusBadRequest,
			Code:    gateways.CodeInvalid,
			Message: "request body is incomplete",
		}
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

// byteOrderMark is written before UTF-8 by some editors and libraries.
var byteOrderMark = []byte("\ufeff")

func tooLarge(limit int64) error {
	return problem.Error{Status: http.StatusRequestEntityTooLarge, Code: gateways.CodeTooLarge,
		Message: fmt.Sprintf("the body exceeds %d bytes", limit)}
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
	wrong := problem.Error{Status: http.StatusUnsupportedMediaType, Code: gateways.CodeUnsupported,
		Message: "send the body with the Content-Type " + strings.Join(c.accept, " or ")}
	if c.accept == nil {
		wrong.Message = "send the body with a valid Content-Type"
	}
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		wrong.Message = "send the body without a Content-Encoding"
		return "", "", wrong
	}
	types := h["Content-Type"]
	switch {
	case len(types) == 0 && c.raw && c.accept == nil:
		return octets, octets, nil
	case len(types) != 1 || len(types[0]) > maxContentType:
		return "", "", wrong
	case types[0] == jsonType && slices.Contains(c.accept, jsonType):
		return jsonType, jsonType, nil
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
	var wrong *strictjson.Error
	if !errors.As(strictjson.Check(b, maxDepth), &wrong) {
		return nil
	}
	bad := problem.Error{Status: http.StatusBadRequest, Code: gateways.CodeInvalid}
	switch wrong.Reason {
	case strictjson.TooDeep:
		bad.Message = fmt.Sprintf("the body nests deeper than %d levels", wrong.Depth)
	case strictjson.Duplicate:
		bad.Message = fmt.Sprintf("duplicate member name in the body at byte %d", wrong.Offset)
	case strictjson.Invalid:
		bad.Message = fmt.Sprintf("invalid JSON in the body at byte %d", wrong.Offset)
	case strictjson.Incomplete:
		bad.Message = "the JSON body is incomplete"
	default:
		bad.Message = "the body must be one JSON value"
	}
	return bad
}

// trimmed returns JSON without surrounding white space.
func trimmed(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }
