package sink

import (
	"crypto/rand"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

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
			if differs(f[i].Name) {
				continue
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

// differs reports whether a field differs in copies of a message: its limit is larger in the first,
// and each has a span of its own.
func differs(field string) bool {
	name := strings.TrimPrefix(field, "streamerson-go:")
	return name == "limit" || name == flow.HeaderTraceparent || name == flow.HeaderTracestate ||
		name == flow.HeaderBaggage
}
