package gateways

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxDepth is how deep JSON may be nested.
	maxDepth = 64
	// firstRead is how much room a body is given before it is there, whatever length it claims.
	firstRead = 16 << 10
)

// read reads the body, if there is one, and checks it.
func (c *endpointConfig) read(w http.ResponseWriter, in *incoming) error {
	r := in.http
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength > c.maxBody {
		leave(w)
		return c.tooLarge()
	}
	var err error
	if r.ContentLength > 0 && r.ContentLength <= firstRead {
		in.body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, in.body)
	} else {
		buf := bytes.NewBuffer(make([]byte, 0, firstRead))
		_, err = buf.ReadFrom(http.MaxBytesReader(w, r.Body, c.maxBody))
		in.body = buf.Bytes()
	}
	switch {
	case err == nil:
	case isTooLarge(err):
		leave(w)
		return c.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		leave(w)
		return refusal{Status: http.StatusRequestTimeout, Code: CodeTimeout, Message: "the body took too long"}
	case r.Context().Err() != nil:
		return err
	default:
		leave(w)
		return refusal{Status: http.StatusBadRequest, Code: CodeInvalid, Message: "the body is cut short"}
	}
	if len(in.body) == 0 {
		return nil
	}
	if in.media, err = c.media(r.Header); err != nil {
		return err
	}
	if in.isJSON() {
		return checkJSON(in.body)
	}
	return nil
}

func (c *endpointConfig) tooLarge() error {
	return refusal{Status: http.StatusRequestEntityTooLarge, Code: CodeTooLarge, Message: fmt.Sprintf("the body has more than %d bytes", c.maxBody)}
}

func isTooLarge(err error) bool {
	var large *http.MaxBytesError
	return errors.As(err, &large)
}

// leave has the rest of a body not be read: the connection is closed when the answer is written.
func leave(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) // or else net/http would read on before it answers
}

// media is the content type, without its parameters, if it is accepted.
func (c *endpointConfig) media(h http.Header) (string, error) {
	wrong := refusal{Status: http.StatusUnsupportedMediaType, Code: CodeUnsupported,
		Message: "send the body with the Content-Type " + strings.Join(c.accept, " or ")}
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		wrong.Message = "send the body without a Content-Encoding"
		return "", wrong
	}
	types := h["Content-Type"]
	if len(types) != 1 {
		return "", wrong
	}
	if types[0] == jsonType && slices.Contains(c.accept, jsonType) {
		return jsonType, nil
	}
	media, params, err := mime.ParseMediaType(types[0])
	if err != nil {
		return "", wrong
	}
	if slices.Contains(c.accept, media) || isJSON(media) && slices.Contains(c.accept, jsonType) {
		if charset := params["charset"]; isJSON(media) && charset != "" && !strings.EqualFold(charset, "utf-8") {
			wrong.Message = "send JSON as UTF-8"
			return "", wrong
		}
		return media, nil
	}
	return "", wrong
}

func isJSON(media string) bool { return media == jsonType || strings.HasSuffix(media, "+json") }

// checkJSON refuses what parsers disagree about, or choke on: syntax, names that come twice, broken UTF-8, depth.
func checkJSON(b []byte) error {
	if tooDeep(b) {
		return refusal{Status: http.StatusBadRequest, Code: CodeInvalid, Message: fmt.Sprintf("the body is nested deeper than %d", maxDepth)}
	}
	if jsontext.Value(b).IsValid() {
		return nil
	}
	return badJSON(b)
}

// badJSON says what is wrong with it.
func badJSON(b []byte) error {
	bad := refusal{Status: http.StatusBadRequest, Code: CodeInvalid, Message: "the body is not one value of JSON"}
	d := jsontext.NewDecoder(bytes.NewReader(b))
	_, err := d.ReadValue()
	var wrong *jsontext.SyntacticError
	switch {
	case errors.As(err, &wrong) && errors.Is(err, jsontext.ErrDuplicateName):
		bad.Message = fmt.Sprintf("the body has a name twice, at byte %d", wrong.ByteOffset)
	case errors.As(err, &wrong):
		bad.Message = fmt.Sprintf("the body is not JSON, at byte %d", wrong.ByteOffset)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		bad.Message = "the body ends within the JSON"
	}
	return bad
}

// tooDeep reports JSON nested deeper than maxDepth, before a parser follows it.
func tooDeep(b []byte) bool {
	if bytes.Count(b, []byte{'{'})+bytes.Count(b, []byte{'['}) <= maxDepth {
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
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// eachName visits the names of an object, as they read without escapes.
func eachName(object []byte, f func(string) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(object))
	if _, err := d.ReadToken(); err != nil {
		return badJSON(object)
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return badJSON(object)
		}
		if err := f(name.String()); err != nil {
			return err
		}
		if err := d.SkipValue(); err != nil {
			return badJSON(object)
		}
	}
	return nil
}

// trimmed is JSON without the space before and after it.
func trimmed(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }
