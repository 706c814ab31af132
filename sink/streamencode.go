package sink

import (
	"crypto/rand"
	"errors"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// encode fills out with the messages of the chunk, and rejects those that cannot be encoded.
func (s *streamWriter[T]) encode(chunk []flow.Message[T]) {
	var now time.Time
	if s.cfg.At != nil {
		now = time.Now()
	}
	for i := range chunk {
		from := len(s.fields)
		o, err := s.encodeOne(&chunk[i])
		if err == nil && len(s.fields) == from {
			err = errors.New("sink: the format returned no fields: an entry needs at least one")
		}
		if err == nil && o.Key == "" && s.cfg.Key == "" {
			err = errors.New("sink: KeyFor returned no stream: set Key, or return one")
		}
		if err == nil {
			o.Fields = s.fields[from:len(s.fields):len(s.fields)]
			if s.cfg.DedupeWindow > 0 {
				o.DedupeID = s.ids.of(o.DedupeID, chunk[i].Meta(), o.Fields)
			}
			if !o.At.After(now) {
				o.At = time.Time{}
			}
			s.out, s.at = append(s.out, o), append(s.at, i)
		} else {
			s.fields = s.fields[:from]
			s.fail(chunk, i, flow.Reject(err))
		}
	}
	if cap(s.results) < len(s.at) {
		s.results = make([]redisio.Result, max(len(s.at), defaultDepth))
	}
	s.results = s.results[:len(s.at)]
}

// encodeOne calls the functions of the config and the format, and returns their panics as an error
// of the message.
func (s *streamWriter[T]) encodeOne(m *flow.Message[T]) (o redisio.Outgoing, err error) {
	defer flow.Catch(&err)
	if s.cfg.KeyFor != nil {
		o.Key = s.cfg.KeyFor(*m)
	}
	if s.cfg.IDFor != nil {
		o.DedupeID = s.cfg.IDFor(*m)
	}
	if s.cfg.At != nil {
		o.At = s.cfg.At(*m)
	}
	return o, s.appendFields(m, false)
}

// appendFields appends the fields of a message. again marks it as a possible duplicate.
func (s *streamWriter[T]) appendFields(m *flow.Message[T], again bool) (err error) {
	s.env = redisio.Envelope{Headers: s.env.Headers[:0]}
	if !s.cfg.OmitMeta {
		s.envelope(m.Meta())
	}
	if s.cfg.HeadersFor != nil {
		s.headers(s.cfg.HeadersFor(*m))
	}
	s.env.MaybeDuplicate = s.env.MaybeDuplicate || again
	s.fields, s.buf, err = s.format.Encode(s.fields, s.buf, &s.env, m.Value)
	return err
}

func (s *streamWriter[T]) envelope(m flow.Meta) {
	s.env.ID, s.env.Key, s.env.Type, s.env.MaybeDuplicate = m.MessageID, m.Key, m.Type, m.MaybeDuplicate
	s.env.ReplyTo = m.ReplyTo
	if !m.Deadline.IsZero() { // clocks differ between hosts, so the remaining time is sent
		s.env.Limit = max(time.Until(m.Deadline), time.Millisecond)
	}
	s.headers(m.Headers)
}

func (s *streamWriter[T]) headers(headers flow.Headers) {
	for _, h := range headers {
		if h.Name == traceparent && s.env.Traceparent == "" {
			s.env.Traceparent = h.Value
			continue
		}
		s.env.Headers = append(s.env.Headers, redisio.Header(h))
	}
}

// traceparent is the header that is sent as the trace context of an entry.
const traceparent = "traceparent"

// mark encodes an entry again as a possible duplicate, if its format can. On failure the entry
// stays unchanged.
func (s *streamWriter[T]) mark(m *flow.Message[T], o *redisio.Outgoing) {
	from := len(s.fields)
	defer func() {
		if recover() != nil { // the codec panicked, although it encoded this value before
			s.fields = s.fields[:from]
		}
	}()
	err := s.appendFields(m, true)
	fields := s.fields[from:len(s.fields):len(s.fields)]
	if err != nil || len(fields) == 0 || fields.Size() > s.w.Config().MaxPayload {
		s.fields = s.fields[:from]
		return
	}
	o.Fields = fields
}

// idMaker makes dedupe ids.
type idMaker struct {
	own  string // unique prefix of this writer
	next uint64
	hash *xxhash.Digest
}

// of returns the chosen id, else one made of the message's id and its entry, else a unique one.
//
// The message's id alone is not enough, because all messages that an operator makes of one message
// share it.
func (ids *idMaker) of(chosen string, m flow.Meta, f redisio.Fields) string {
	switch {
	case chosen != "":
		return chosen
	case m.MessageID != "":
		if ids.hash == nil {
			ids.hash = xxhash.New()
		}
		ids.hash.Reset()
		var size [20]byte
		for i := range f {
			if m.MaybeDuplicate && f[i].Name == "dup" {
				continue // not in the first copy
			}
			if f[i].Name == "limit" || f[i].Name == "streamerson-go:limit" {
				continue // larger in the first copy
			}
			_, _ = ids.hash.Write(append(strconv.AppendInt(size[:0], int64(len(f[i].Name)), 10), ':')) // never fails
			_, _ = ids.hash.WriteString(f[i].Name)
			_, _ = ids.hash.Write(append(strconv.AppendInt(size[:0], int64(len(f[i].Value)), 10), ':'))
			_, _ = ids.hash.Write(f[i].Value)
		}
		return m.MessageID + "#" + strconv.FormatUint(ids.hash.Sum64(), 36)
	}
	if ids.own == "" {
		ids.own = rand.Text()[:16] + "-"
	}
	ids.next++
	return ids.own + strconv.FormatUint(ids.next, 36)
}
