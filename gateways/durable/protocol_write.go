package durable

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/bodies"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/redisio/transcript"
)

// defaultType is the content type of a stream that is created without one.
const defaultType = "application/octet-stream"

// mostNumber is the largest number of a producer, because JavaScript counts no further.
const mostNumber = 1<<53 - 1

// create creates a stream, or answers whether the existing one is the same.
func (h *protocol) create(w http.ResponseWriter, r *http.Request, id string) error {
	for name := range r.Header {
		if strings.HasPrefix(name, "Stream-Fork") {
			return notSupported("forks are not supported")
		}
	}
	spec := transcript.Spec{Kind: transcript.Log, ContentType: r.Header.Get("Content-Type"), Closed: isClosing(r)}
	if spec.ContentType == "" {
		spec.ContentType = defaultType
	}
	var err error
	if spec.TTL, spec.Expires, err = lifeOf(r.Header); err != nil {
		return err
	}
	var body bodies.Body
	defer body.Release()
	if err := body.Read(w, r, h.r.store.Config().MaxBytes); err != nil {
		return err
	}
	if len(body.Bytes) > 0 {
		if spec.Values, err = h.split(spec.ContentType, body.Bytes); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	info, created, err := h.r.store.Create(ctx, id, spec)
	if err != nil {
		return err
	}
	ttl := spec.TTL
	if ttl == 0 {
		ttl = h.r.store.Config().TTL
	}
	same := info.Kind == transcript.Log && mediaType(info.ContentType) == mediaType(spec.ContentType) &&
		info.TTL == ttl && info.Expires.Equal(spec.Expires) && (info.State != Open) == spec.Closed
	if !created && !same {
		return conflict("the stream exists with another configuration")
	}
	describe(w, info.Last, info.State != Open)
	w.Header().Set("Content-Type", info.ContentType)
	if !created {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	w.Header().Set("Location", scheme+"://"+r.Host+r.URL.EscapedPath())
	w.WriteHeader(http.StatusCreated)
	return nil
}

func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

func isClosing(r *http.Request) bool { return strings.EqualFold(r.Header.Get(headerClosed), "true") }

// lifeOf returns the life that a client asks for.
func lifeOf(h http.Header) (ttl time.Duration, until time.Time, err error) {
	seconds, at := h.Get(headerTTL), h.Get(headerExpires)
	_, has := h[http.CanonicalHeaderKey(headerTTL)]
	switch {
	case has && at != "":
		return 0, until, invalid("%s and %s are set together: choose one", headerTTL, headerExpires)
	case has:
		n, err := strconv.ParseInt(seconds, 10, 32)
		if err != nil || !isNumber(seconds) || len(seconds) > 1 && seconds[0] == '0' {
			return 0, until, invalid("%s must be a number of seconds", headerTTL)
		}
		return min(mostLife, max(time.Millisecond, time.Duration(n)*time.Second)), until, nil
	case at != "":
		until, err := time.Parse(time.RFC3339, at)
		if err != nil || time.Until(until) > mostLife {
			return 0, until, invalid("%s must be a time of RFC 3339 within a year", headerExpires)
		}
		return 0, until.Truncate(time.Millisecond), nil
	}
	return 0, until, nil
}

const mostLife = 365 * 24 * time.Hour

// split returns the messages of a body of JSON, one level of arrays flattened, or the pieces of other
// bodies.
func (h *protocol) split(contentType string, body []byte) (values [][]byte, err error) {
	if !isJSONType(contentType) {
		for most := h.r.store.Config().MaxPart; len(body) > 0; {
			n := min(len(body), most)
			values = append(values, body[:n])
			body = body[n:]
		}
		return values, nil
	}
	if !json.Valid(body) {
		return nil, invalid("request body is not JSON")
	}
	body = bytes.TrimSpace(body)
	if body[0] != '[' {
		return [][]byte{body}, nil
	}
	var all []json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, invalid("request body is not JSON")
	}
	for _, v := range all {
		values = append(values, v)
	}
	return values, nil
}

// append appends to a stream, and closes it if asked to.
func (h *protocol) append(w http.ResponseWriter, r *http.Request, id string) error {
	p := transcript.Post{ContentType: r.Header.Get("Content-Type"), Seq: r.Header.Get(headerSeq), Close: isClosing(r)}
	if err := producerOf(r.Header, &p); err != nil {
		return err
	}
	var body bodies.Body
	defer body.Release()
	if err := body.Read(w, r, h.r.store.Config().MaxBytes); err != nil {
		return err
	}
	switch n := len(body.Bytes); {
	case n == 0 && !p.Close:
		return invalid("request body is empty")
	case n > 0 && p.ContentType == "":
		return invalid("Content-Type is missing")
	case n > 0:
		var err error
		if p.Values, err = h.split(p.ContentType, body.Bytes); err != nil {
			return err
		}
		if len(p.Values) == 0 {
			return invalid("request body is an empty array")
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	out, err := h.r.store.Post(ctx, id, p)
	if err != nil {
		return err
	}
	return answer(w, &p, out)
}

// producerOf reads the headers of an idempotent producer.
func producerOf(h http.Header, p *transcript.Post) error {
	_, named := h[headerProducer]
	_, epoch := h[headerEpoch]
	_, num := h[headerNumber]
	if !named && !epoch && !num {
		return nil
	}
	if !named || !epoch || !num {
		return invalid("%s, %s and %s must be set together", headerProducer, headerEpoch, headerNumber)
	}
	if p.Producer = h.Get(headerProducer); p.Producer == "" || len(p.Producer) > 256 {
		return invalid("%s must have 1 to 256 bytes", headerProducer)
	}
	for name, n := range map[string]*int64{headerEpoch: &p.Epoch, headerNumber: &p.Num} {
		var err error
		if *n, err = strconv.ParseInt(h.Get(name), 10, 64); err != nil || !isNumber(h.Get(name)) || *n > mostNumber {
			return invalid("%s must be a number up to %d", name, int64(mostNumber))
		}
	}
	return nil
}

// answer answers a post.
func answer(w http.ResponseWriter, p *transcript.Post, out transcript.Posted) error {
	number := func(name string, n int64) { w.Header().Set(name, strconv.FormatInt(n, 10)) }
	closed := out.State != Open
	switch out.Verdict {
	case transcript.Accepted, transcript.Again:
		describe(w, out.Last, closed)
		if p.Producer == "" {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		number(headerEpoch, out.Epoch)
		number(headerNumber, out.Num)
		if out.Verdict == transcript.Accepted && len(p.Values) > 0 {
			w.WriteHeader(http.StatusOK)
			return nil
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	case transcript.Closed:
		describe(w, out.Last, true)
		return conflict("the stream is closed")
	case transcript.WrongType:
		return conflict("the stream has another content type")
	case transcript.SeqBehind:
		return conflict(headerSeq + " is not greater than the last one")
	case transcript.Stale:
		number(headerEpoch, out.Epoch)
		return problem.New(gateways.CodeForbidden, "the producer has a later epoch")
	case transcript.BadEpoch:
		return invalid("a new epoch must begin with %s 0", headerNumber)
	}
	number(headerExpected, out.Num+1) // transcript.Gap
	number(headerReceived, p.Num)
	return conflict("earlier writes of the producer are missing")
}
