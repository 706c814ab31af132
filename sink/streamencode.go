package sink

import (
	"crypto/rand"
	"errors"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// delayed holds the messages of a chunk that are scheduled, for one stream.
type delayed struct {
	batch
	key     string
	to      *schedule.Scheduler
	entries []schedule.Delayed
}

// encode fills out and later with the messages of the chunk, and rejects those that cannot be
// encoded.
func (s *streamWriter[T]) encode(chunk []flow.Message[T]) {
	var now time.Time
	if s.cfg.At != nil {
		now = time.Now()
	}
	for i := range chunk {
		from := len(s.fields)
		o, at, err := s.encodeOne(&chunk[i])
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
			if s.cfg.At != nil && at.After(now) {
				err = s.delay(i, o, at)
			} else {
				s.out, s.now.at = append(s.out, o), append(s.now.at, i)
			}
		}
		if err != nil {
			s.fields = s.fields[:from]
			s.fail(chunk, i, flow.Reject(err))
		}
	}
	s.now.fit()
	for _, d := range s.later {
		d.fit()
	}
}

// encodeOne calls the functions of the config and the format, and returns their panics as an error
// of the message.
func (s *streamWriter[T]) encodeOne(m *flow.Message[T]) (o redisio.Outgoing, at time.Time, err error) {
	defer flow.Catch(&err)
	if s.cfg.KeyFor != nil {
		o.Key = s.cfg.KeyFor(*m)
	}
	if s.cfg.IDFor != nil {
		o.DedupeID = s.cfg.IDFor(*m)
	}
	if s.cfg.At != nil {
		at = s.cfg.At(*m)
	}
	return o, at, s.appendFields(m, false)
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

// delay schedules a message.
func (s *streamWriter[T]) delay(i int, o redisio.Outgoing, at time.Time) error {
	key := o.Key
	if key == "" {
		key = s.cfg.Key
	}
	var d *delayed
	for _, known := range s.later {
		if known.key == key {
			d = known
		}
	}
	if d == nil {
		to, err := schedule.New(s.rdb, schedule.Config{Key: key, MaxPayload: s.cfg.MaxPayload})
		if err != nil {
			return err
		}
		d = &delayed{key: key, to: to}
		s.later = append(s.later, d)
	}
	d.entries = append(d.entries, schedule.Delayed{ID: o.DedupeID, At: at, Fields: o.Fields})
	d.at = append(d.at, i)
	return nil
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
