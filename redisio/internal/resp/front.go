package resp

import (
	"errors"

	"github.com/streamerson/streamerson-go/redisio"
)

// Idea of this file: COUNT says nothing of bytes, and the next entries may be a thousand times
// larger than all before. So a read that has a bound in bytes stops at twice the bound, once one
// whole entry has arrived, and drops the connection. A group has delivered the rest as well: it is
// pending for the reader, which takes it next, fewer entries at a time. Other readers ask for it
// again. The bound holds for the memory of this process. The server has made the whole reply.

// ErrFront comes with the front of a reply that was longer than its limit.
var ErrFront = errors.New("redisio: only the front of the reply was taken")

// ParsedFront returns the error of parsing a reply into b, which had entries before. If cut is
// errFront, only the front of the reply was taken: its whole entries count, and cut is the error.
func ParsedFront(b *redisio.Batch, had int, cut, parsed error) error {
	if cut == nil || len(b.Entries) == had {
		return parsed
	}
	for i := range b.Entries[had:] {
		e := &b.Entries[had+i]
		b.Bytes += len(e.ID) + e.Fields.Size()
	}
	return cut
}
