package durable

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/transcript"
)

// Headers of the Durable Streams protocol.
const (
	headerNext     = "Stream-Next-Offset"
	headerCursor   = "Stream-Cursor"
	headerUpToDate = "Stream-Up-To-Date"
	headerClosed   = "Stream-Closed"
	headerTTL      = "Stream-TTL"
	headerExpires  = "Stream-Expires-At"
	headerSeq      = "Stream-Seq"
	headerEncoding = "Stream-SSE-Data-Encoding"

	headerProducer = "Producer-Id"
	headerEpoch    = "Producer-Epoch"
	headerNumber   = "Producer-Seq"
	headerExpected = "Producer-Expected-Seq"
	headerReceived = "Producer-Received-Seq"
)

// Protocol returns a handler of the open Durable Streams protocol, version 1.0, for its clients in
// many languages. Mount it under a pattern with {id...}, without a method:
//
//	mux.Handle("/streams/{id...}", replies.Protocol(durable.HTTPConfig{}))
//
// Clients read replies by their ID: GET with ?offset=, live=long-poll and live=sse; HEAD. Each
// value is a message of a stream of type application/json, or a piece of one of type text/plain or
// application/octet-stream, as the handler's values are. A stopped or failed reply is closed. After
// a reset, or if values were trimmed, an older offset is answered with 410, and the client reads
// again from the beginning.
//
// If Authorize is set and permits it, clients also create (PUT), append to and close (POST), and
// delete (DELETE) streams of their own in the same topic. Idempotent producers and Stream-Seq are
// supported. The scope of Stream-Seq is the stream. A stream of a client lives for the Stream-TTL
// that it asks for, else for Config.TTL after the last write or read, at most a year. Config.MaxLen
// and MaxBytes bound it as they bound replies. A write to a reply is answered with 405. Its DELETE
// stops it, too.
//
// Forks and subscriptions of the protocol are answered with 501.
func (r *Replies) Protocol(cfg HTTPConfig) http.Handler {
	h := &protocol{newHandler(r, cfg)}
	h.cors.Methods = "GET, HEAD, PUT, POST, DELETE"
	h.cors.Headers = strings.Join([]string{"Content-Type", "Authorization", "If-None-Match", headerTTL, headerExpires,
		headerSeq, headerClosed, headerProducer, headerEpoch, headerNumber}, ", ")
	h.cors.Expose = strings.Join([]string{"ETag", "Location", headerNext, headerCursor, headerUpToDate, headerClosed,
		headerTTL, headerExpires, headerEncoding, headerEpoch, headerNumber, headerExpected, headerReceived}, ", ")
	return h
}

type protocol struct{ handler }

func (h *protocol) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.cors.Header(w, r)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	if len(h.cfg.Origins) > 0 {
		w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
	act, known := map[string]Action{http.MethodGet: ActFollow, http.MethodHead: ActFollow, http.MethodPut: ActCreate,
		http.MethodPost: ActAppend, http.MethodDelete: ActDelete}[r.Method]
	const allowed = "GET, HEAD, PUT, POST, DELETE, OPTIONS"
	switch {
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", allowed)
		h.cors.Preflight(w, r)
		return
	case !known:
		w.Header().Set("Allow", allowed)
		problem.Error{Status: http.StatusMethodNotAllowed, Code: gateways.CodeInvalid,
			Message: "method not allowed"}.Write(w)
		return
	}
	id, err := h.admit(r, act)
	switch {
	case err != nil:
	case act != ActFollow && h.cfg.Authorize == nil:
		err = problem.New(gateways.CodeForbidden, "forbidden: writes need HTTPConfig.Authorize")
	case id == "__ds" || strings.HasPrefix(id, "__ds/"):
		err = notSupported("subscriptions are not supported")
	default:
		err = h.serve(w, r, id)
	}
	if errors.Is(err, transcript.ErrForeign) {
		w.Header().Set("Allow", "GET, HEAD, DELETE, OPTIONS")
	}
	if err != nil {
		protocolProblem(err).Write(w)
	}
}

func (h *protocol) serve(w http.ResponseWriter, r *http.Request, id string) error {
	switch r.Method {
	case http.MethodPut:
		return h.create(w, r, id)
	case http.MethodPost:
		return h.append(w, r, id)
	case http.MethodDelete:
		if err := h.r.store.Delete(r.Context(), id); err != nil {
			return err
		}
		h.r.settled(id, ErrUnknown)
		w.WriteHeader(http.StatusNoContent)
		return nil
	case http.MethodHead:
		return h.head(w, r, id)
	}
	return h.read(w, r, id)
}

// errGoneOffset: what follows the offset was trimmed, or is void.
var errGoneOffset = errors.New("durable: offset is before the oldest one that is kept")

// protocolProblem returns the answer to an error.
func protocolProblem(err error) problem.Error {
	var gap *TrimmedError
	switch {
	case errors.Is(err, errGoneOffset), errors.As(err, &gap):
		return problem.Error{Status: http.StatusGone, Code: "gone", Message: "offset is gone: read from the beginning"}
	case errors.Is(err, transcript.ErrForeign):
		return problem.Error{Status: http.StatusMethodNotAllowed, Code: gateways.CodeConflict,
			Message: "the stream is a reply of a service: it can only be read and deleted"}
	case errors.Is(err, transcript.ErrLate):
		return problem.New(gateways.CodeInvalid, headerExpires+" is in the past")
	}
	return problemOf(err)
}

func notSupported(message string) error {
	return problem.Error{Status: http.StatusNotImplemented, Code: "not_implemented", Message: message}
}

func invalid(format string, args ...any) error {
	return problem.New(gateways.CodeInvalid, fmt.Sprintf(format, args...))
}

func conflict(message string) error { return problem.New(gateways.CodeConflict, message) }

// offsetOf writes a position as an offset. Offsets sort as text.
func offsetOf(id redisio.ID) string { return fmt.Sprintf("%016d_%016d", id.Ms, id.Seq) }

const offsetLen = 2*16 + 1

// parseOffset reads an offset that offsetOf has written.
func parseOffset(s string) (id redisio.ID, err error) {
	ms, seq, ok := strings.Cut(s, "_")
	if ok && len(s) == offsetLen && len(ms) == 16 && isNumber(ms) && isNumber(seq) {
		id.Ms, _ = strconv.ParseUint(ms, 10, 64)
		id.Seq, _ = strconv.ParseUint(seq, 10, 64)
		return id, nil
	}
	return id, invalid("invalid offset: use one that the server sent")
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// isJSONType reports whether a stream of a content type has messages.
func isJSONType(contentType string) bool { return wire.IsJSON(contentType) }

// The cursor of live reads is the number of the current interval. So a cache between a client and
// the server does not repeat an old answer forever.
const (
	cursorEpoch    = 1728432000 // 9 October 2024, in Unix seconds
	cursorInterval = 20
	cursorJitter   = 3600
)

// liveCursor returns the cursor of an answer. It is greater than that of the request.
func liveCursor(now time.Time, client string) string {
	at := (now.Unix() - cursorEpoch) / cursorInterval
	if n, err := strconv.ParseInt(client, 10, 64); err == nil && n >= at {
		at = n + max(1, (1+rand.Int64N(cursorJitter))/cursorInterval)
	}
	return strconv.FormatInt(at, 10)
}

// describe sets the headers that all successful answers about a stream share.
func describe(w http.ResponseWriter, next redisio.ID, closed bool) {
	w.Header().Set(headerNext, offsetOf(next))
	if closed {
		w.Header().Set(headerClosed, "true")
	}
}
