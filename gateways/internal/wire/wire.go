// Package wire holds what native entries of requests, replies and events have in common.
package wire

import (
	"encoding/json"
	"net/http"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// Names of headers that calls pass on.
const (
	Traceparent = flow.HeaderTraceparent
	Tracestate  = flow.HeaderTracestate
	Baggage     = flow.HeaderBaggage
	RequestID   = "request-id"
	Identity    = "identity"
)

// Opaque passes bodies through unchanged and declares no content type.
type Opaque struct{ redisio.Codec[[]byte] }

// ContentType returns "".
func (Opaque) ContentType() string { return "" }

// Native reads and writes native entries with bodies that are already encoded.
var Native = redisio.Native[[]byte](Opaque{redisio.Bytes()})

// PutHeaders adds headers to an envelope, except reserved ones, which begin with a colon.
func PutHeaders(e *redisio.Envelope, headers flow.Headers) {
	for _, h := range headers {
		switch {
		case h.Name == Traceparent:
			e.Traceparent = h.Value
		case h.Name == Tracestate:
			e.Tracestate = h.Value
		case h.Name == Baggage:
			e.Baggage = h.Value
		case h.Name != "" && h.Name[0] != ':':
			e.Headers = append(e.Headers, redisio.Header(h))
		}
	}
}

// DecodeBody decodes a body. A text codec unquotes a JSON string, so that programs that send
// everything as JSON can send text.
func DecodeBody[T any](codec redisio.Codec[T], body []byte, contentType string) (v T, err error) {
	if len(body) > 0 && body[0] == '"' && IsJSON(contentType) && codec.ContentType() == "text/plain" {
		var text string
		if err := json.Unmarshal(body, &text); err != nil {
			return v, err
		}
		body = []byte(text)
	}
	return codec.Decode(body)
}

// IsJSON reports whether a content type is JSON.
func IsJSON(contentType string) bool {
	return redisio.ContentTypeMatches("application/json", contentType)
}

// Bodiless reports whether an HTTP reply with the status has no body.
func Bodiless(status int) bool {
	return status < 200 || status == http.StatusNoContent || status == http.StatusResetContent ||
		status == http.StatusNotModified
}
