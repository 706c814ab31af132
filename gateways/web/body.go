package web

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
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
		return problem.New(gateways.CodeInvalid, r.Method+" must not have a body: use POST")
	}
	err := in.body.Read(w, r, c.maxBody)
	if err != nil {
		return err
	}
	if len(in.body.Bytes) == 0 {
		return nil
	}
	if in.media, in.full, err = c.media(r.Header); err != nil || c.raw || !in.isJSON() {
		return err
	}
	in.body.Bytes = bytes.TrimPrefix(in.body.Bytes, byteOrderMark)
	return checkJSON(in.body.Bytes)
}

// byteOrderMark is written before UTF-8 by some editors and libraries.
var byteOrderMark = []byte("\ufeff")

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
