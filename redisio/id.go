package redisio

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/streamerson/streamerson-go/redisio/internal/scan"
)

// ID is the ID of a stream entry: milliseconds and a sequence number, "1732360000000-0". The IDs of
// one stream only grow. Do not use them as a clock, because they stay in the future after the
// server's clock was set back.
type ID struct {
	Ms, Seq uint64
}

// ParseID parses "ms-seq" or "ms" (then the sequence number is 0).
func ParseID[S ~string | ~[]byte](s S) (ID, error) {
	ms, n, ok := scan.Digits(s, 0)
	if ok && n == len(s) {
		return ID{Ms: ms}, nil
	}
	if ok && s[n] == '-' {
		if seq, end, ok := scan.Digits(s, n+1); ok && end == len(s) {
			return ID{ms, seq}, nil
		}
	}
	return ID{}, fmt.Errorf("redisio: %q is not an entry ID; write it as \"1732360000000-0\"", string(s))
}

// String formats the ID as Redis does.
func (id ID) String() string { return string(id.Append(nil)) }

// Append appends the ID as Redis writes it.
func (id ID) Append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, id.Ms, 10)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, id.Seq, 10)
}

// Compare orders IDs as the stream does.
func (id ID) Compare(other ID) int {
	switch {
	case id.Ms != other.Ms && id.Ms < other.Ms, id.Ms == other.Ms && id.Seq < other.Seq:
		return -1
	case id == other:
		return 0
	}
	return 1
}

// IsZero reports whether the ID is "0-0", the ID before all entries.
func (id ID) IsZero() bool { return id == ID{} }

// Next returns the smallest ID after this one. (The "(id" syntax of Redis is equivalent, but not
// every server has it.)
func (id ID) Next() ID {
	if id.Seq == math.MaxUint64 {
		if id.Ms == math.MaxUint64 {
			return id
		}
		return ID{Ms: id.Ms + 1}
	}
	return ID{id.Ms, id.Seq + 1}
}

// Prev returns the largest ID before this one.
func (id ID) Prev() ID {
	if id.Seq == 0 {
		if id.Ms == 0 {
			return id
		}
		return ID{id.Ms - 1, math.MaxUint64}
	}
	return ID{id.Ms, id.Seq - 1}
}

// IDAt returns the first ID that an entry added at t can have.
func IDAt(t time.Time) ID {
	if t.UnixMilli() < 0 {
		return ID{}
	}
	return ID{Ms: uint64(t.UnixMilli())}
}

// Time returns the server's time at which the entry was added. Use it for display only, see [ID].
func (id ID) Time() time.Time { return time.UnixMilli(int64(min(id.Ms, math.MaxInt64))) }

// Start is the position where reading begins if no position is stored. For a group it applies when
// the group is created. The zero Start is the beginning of the stream, so entries written before
// the first reader started are not missed. [StartEnd] delivers only entries that are written
// afterwards.
type Start struct {
	id  ID
	end bool
	set bool
}

// StartBeginning starts before the first entry ("0").
func StartBeginning() Start { return Start{set: true} }

// StartEnd starts after the last entry ("$").
func StartEnd() Start { return Start{end: true, set: true} }

// StartID starts after the entry with this ID. Use it to continue at a stored position.
func StartID(id ID) Start { return Start{id: id, set: true} }

// StartTime starts at the first entry added at t or later.
func StartTime(t time.Time) Start { return Start{id: IDAt(t).Prev(), set: true} }

// IsZero reports whether s is the zero Start.
func (s Start) IsZero() bool { return !s.set }

// AtEnd reports whether reading starts at the end of the stream, see [StartEnd].
func (s Start) AtEnd() bool { return s.end }

// ID returns the position. It is zero for StartBeginning and StartEnd.
func (s Start) ID() ID { return s.id }

// String returns the position as Redis commands take it.
func (s Start) String() string {
	if s.end {
		return "$"
	}
	if s.id.IsZero() {
		return "0"
	}
	return s.id.String()
}

// MaxID is the largest possible ID.
var MaxID = ID{math.MaxUint64, math.MaxUint64}
