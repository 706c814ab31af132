package web

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"unicode/utf8"

	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
)

// maxIdentity limits the bytes of a caller's identity.
const maxIdentity = 256

var errIdentity = errors.New("the user is longer than 256 bytes, or not a line of text")

// identify calls Authenticate.
func (c *endpointConfig) identify(in *incoming) error {
	who, err := problem.Identify(in.http, c.authenticate)
	if err == nil && (len(who.User) > maxIdentity || !validValue(who.User) || !utf8.ValidString(who.User)) {
		err = problem.Unidentified(errIdentity)
	}
	in.identity = who.User
	return err
}

// requestID returns the caller's request ID if it is short and safe for logs and headers, or else a
// new one.
func requestID(h http.Header) string {
	if ids := h["X-Request-Id"]; len(ids) == 1 && saneID(ids[0]) {
		return ids[0]
	}
	return rand.Text()
}

func saneID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; !isAlnum(c) && c != '-' && c != '_' && c != '.' && c != ':' {
			return false
		}
	}
	return true
}

// traceOf returns the caller's trace if it is valid (W3C Trace Context, version 00), with the state
// that belongs to it, or else a new, sampled one.
func traceOf(h http.Header) (parent, state string) {
	if t := h["Traceparent"]; len(t) == 1 && traces.Valid(t[0]) {
		return t[0], traces.Printable(h["Tracestate"], traces.MaxTracestate)
	}
	var id [24]byte
	_, _ = rand.Read(id[:]) // never fails
	b := make([]byte, 0, 55)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, id[:16])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[16:])
	return string(append(b, "-01"...)), ""
}
