package redisio

import (
	"errors"
)

// Raw returns a format that keeps all fields, in order, with duplicates. The envelope stays empty
// and is not written.
func Raw() Format[Fields] { return rawFormat{} }

type rawFormat struct{}

func (rawFormat) Encode(dst Fields, buf []byte, _ *Envelope, v Fields) (Fields, []byte, error) {
	if len(v) == 0 {
		return dst, buf, errors.New("redisio: encode an entry without fields: add at least one")
	}
	return append(dst, v...), buf, nil
}

func (rawFormat) Decode(entry *Entry, e *Envelope) (Fields, error) {
	*e = Envelope{Headers: e.Headers[:0]}
	if entry.Deleted {
		return nil, &DecodeError{entry.ID, "", ErrTombstone}
	}
	return entry.Fields, nil
}
