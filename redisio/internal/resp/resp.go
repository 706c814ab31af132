package resp

import (
	"errors"
	"fmt"
	"math"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/scan"
)

// Idea: go-redis' typed stream replies build a map per entry, which costs seven allocations, forgets
// the order of the fields and drops duplicates. So replies are fetched raw and walked here once, in
// place: every ID, name and value is a slice of the reply. All lengths are checked against what is
// really there before anything is allocated, so a broken reply can't make us allocate much.

const MaxReply = 1 << 30 // bytes of one reply

// ReplyError says that a reply is not what the protocol or the command allows.
type ReplyError struct {
	Offset  int // where in the reply
	Problem string
}

func (e *ReplyError) Error() string {
	return fmt.Sprintf("redisio: malformed reply at byte %d: %s", e.Offset, e.Problem)
}

// ErrNilReply is what a read without entries answers: *-1, $-1 or _.
var ErrNilReply = errors.New("redisio: nil reply")

// Idea: COUNT says nothing of bytes, and the next entries may be a thousand times
// larger than all before. So a read that has a bound in bytes stops at twice the bound, once one
// whole entry has arrived, and drops the connection. A group has delivered the rest as well: it is
// pending for the reader, which takes it next, fewer entries at a time. Other readers ask for it
// again. The bound holds for the memory of this process. The server has made the whole reply.

// ErrFront comes with the front of a reply that was longer than its limit.
var ErrFront = errors.New("redisio: only the front of the reply was taken")

// Walker walks a raw RESP2 or RESP3 reply.
type Walker struct {
	Buf     []byte
	Pos     int
	claimed int  // entries that were idle, in the reply of XREADGROUP CLAIM
	First   bool // stop with ErrFront behind the first entry
}

func (w *Walker) fail(problem string) error { return &ReplyError{w.Pos, problem} }

// line reads a type byte and the rest of its line.
func (w *Walker) line() (kind byte, rest []byte, err error) {
	b := w.Buf[w.Pos:]
	for i := 1; i < len(b); i++ {
		if b[i] == '\n' {
			if i < 2 || b[i-1] != '\r' {
				return 0, nil, w.fail("a line without \\r\\n")
			}
			w.Pos += i + 1
			return b[0], b[1 : i-1], nil
		}
	}
	return 0, nil, w.fail("an unfinished line")
}

// number parses a decimal number of a line.
func (w *Walker) number(s []byte) (int64, error) {
	neg := len(s) > 0 && s[0] == '-'
	if neg {
		s = s[1:]
	}
	n, end, ok := scan.Digits(s, 0)
	if !ok || end != len(s) || n > math.MaxInt64 {
		return 0, w.fail("a bad number")
	}
	if neg {
		return -int64(n), nil
	}
	return int64(n), nil
}

// Header reads the start of an aggregate and returns its kind and how many elements follow (pairs count
// as two for maps). A nil is errNilReply, an error reply the error it says.
func (w *Walker) Header() (kind byte, n int, err error) {
	if w.Pos < len(w.Buf) && w.Buf[w.Pos] == '*' {
		if n, size := length(w.Buf[w.Pos:]); n <= (len(w.Buf)-w.Pos-size)/3 && size > 0 {
			w.Pos += size
			return '*', n, nil
		}
	}
	kind, rest, err := w.line()
	if err != nil {
		return 0, 0, err
	}
	switch kind {
	case '*', '~', '>', '%':
		v, err := w.number(rest)
		if err != nil {
			return 0, 0, err
		}
		if v == -1 {
			return kind, 0, ErrNilReply
		}
		// An element has 3 bytes at least: no claimed length is believed beyond what is there.
		if v < 0 || v > int64(len(w.Buf)-w.Pos)/3 {
			return 0, 0, w.fail("a length beyond the reply")
		}
		if kind == '%' {
			if v*2 > int64(len(w.Buf)-w.Pos)/3 {
				return 0, 0, w.fail("a length beyond the reply")
			}
			v *= 2
		}
		return kind, int(v), nil
	case '_':
		return kind, 0, ErrNilReply
	case '$':
		if string(rest) == "-1" {
			return kind, 0, ErrNilReply
		}
		return 0, 0, w.fail("a string where a list belongs")
	case '-':
		return 0, 0, fault.ReplyError(rest)
	case '!':
		s, err := w.bulk(rest)
		if err != nil {
			return 0, 0, err
		}
		return 0, 0, fault.ReplyError(s)
	}
	return 0, 0, w.fail(fmt.Sprintf("type %q where a list belongs", kind))
}

// bulk reads the payload behind a bulk header.
func (w *Walker) bulk(length []byte) ([]byte, error) {
	n, err := w.number(length)
	if err != nil {
		return nil, err
	}
	return w.string(int(n))
}

// string reads n bytes and the end of a string.
func (w *Walker) string(n int) ([]byte, error) {
	if n < 0 || n > len(w.Buf)-w.Pos-2 {
		return nil, w.fail("a length beyond the reply")
	}
	end := w.Pos + n
	if w.Buf[end] != '\r' || w.Buf[end+1] != '\n' {
		return nil, w.fail("a string without its end")
	}
	s := w.Buf[w.Pos:end:end]
	w.Pos = end + 2
	return s, nil
}

// Text reads a string of any kind, or a number as a string. A nil is errNilReply.
func (w *Walker) Text() ([]byte, error) {
	if w.Pos < len(w.Buf) && w.Buf[w.Pos] == '$' {
		if n, size := length(w.Buf[w.Pos:]); size > 0 {
			w.Pos += size
			return w.string(n)
		}
	}
	kind, rest, err := w.line()
	if err != nil {
		return nil, err
	}
	switch kind {
	case '$', '=':
		if string(rest) == "-1" {
			return nil, ErrNilReply
		}
		s, err := w.bulk(rest)
		if err == nil && kind == '=' {
			if len(s) < 4 {
				return nil, w.fail("a verbatim string without its kind")
			}
			s = s[4:]
		}
		return s, err
	case '+', ':', ',', '(':
		return rest, nil
	case '_':
		return nil, ErrNilReply
	case '-':
		return nil, fault.ReplyError(rest)
	}
	return nil, w.fail(fmt.Sprintf("type %q where a string belongs", kind))
}

// Number reads a number, also one that is a string.
func (w *Walker) Number() (int64, error) {
	s, err := w.Text()
	if err != nil {
		return 0, w.unexpected(err)
	}
	return w.number(s)
}

// done checks that nothing follows.
func (w *Walker) done() error {
	if w.Pos != len(w.Buf) {
		return w.fail("data after its end")
	}
	return nil
}

// ParseStreams parses the reply of XREAD and XREADGROUP into b: a list of [key, entries], a map in
// RESP3, or nil without entries. Entries without a delivery count get deliveries.
func ParseStreams(raw []byte, deliveries int64, b *redisio.Batch) error {
	if len(raw) > MaxReply {
		return &ReplyError{0, "bigger than 1 GiB"}
	}
	w := Walker{Buf: raw}
	return w.Streams(deliveries, b)
}

// ParseRead is parseStreams for XREADGROUP. It returns how many of the entries CLAIM took over: they come first.
func ParseRead(raw []byte, b *redisio.Batch) (claimed int, err error) {
	if len(raw) > MaxReply {
		return 0, &ReplyError{0, "bigger than 1 GiB"}
	}
	w := Walker{Buf: raw}
	err = w.Streams(1, b)
	return w.claimed, err
}

func (w *Walker) Streams(deliveries int64, b *redisio.Batch) error {
	kind, n, err := w.Header()
	if err == ErrNilReply {
		return w.done()
	}
	if err != nil {
		return err
	}
	step := 1
	if kind == '%' {
		step = 2
	}
	for ; n > 0; n -= step {
		if step == 1 {
			_, pair, err := w.Header()
			if err != nil {
				return w.unexpected(err)
			}
			if pair != 2 {
				return w.fail("a stream that is no pair")
			}
		}
		if _, err := w.Text(); err != nil {
			return w.unexpected(err)
		}
		if err := w.Entries(deliveries, b); err != nil {
			return err
		}
	}
	b.Bytes += len(w.Buf)
	return w.done()
}

// ParseEntries parses the reply of XRANGE, XCLAIM and the take script into b.
func ParseEntries(raw []byte, deliveries int64, b *redisio.Batch) error {
	if len(raw) > MaxReply {
		return &ReplyError{0, "bigger than 1 GiB"}
	}
	w := Walker{Buf: raw}
	if err := w.Entries(deliveries, b); err != nil {
		return err
	}
	b.Bytes += len(raw)
	return w.done()
}

// ParsedFront returns the error of parsing a reply into b, which had entries before. If cut is
// ErrFront, only the front of the reply was taken: its whole entries count, and cut is the error.
func ParsedFront(b *redisio.Batch, had int, cut, parsed error) error {
	if cut == nil || len(b.Entries) == had {
		return parsed
	}
	for i := range b.Entries[had:] {
		b.Bytes += b.Entries[had+i].Size()
	}
	return cut
}

// unexpected turns a nil where none belongs into an error.
func (w *Walker) unexpected(err error) error {
	if err == ErrNilReply {
		return w.fail("nil where none belongs")
	}
	return err
}

func (w *Walker) Entries(deliveries int64, b *redisio.Batch) error {
	_, n, err := w.Header()
	if err == ErrNilReply {
		return nil
	}
	if err != nil {
		return err
	}
	if !w.First {
		b.Grow(n)
	}
	for ; n > 0; n-- {
		if err := w.entry(deliveries, n, b); err != nil {
			return err
		}
		if w.First {
			return ErrFront
		}
	}
	return nil
}

// entry parses one entry. Its forms are [id, fields], [id, nil] (trimmed while pending), nil (the
// same before Redis 7) and [id, fields, deliveries] (our scripts). XREADGROUP CLAIM has [id,
// fields, idle, deliveries before this one], with both numbers 0 for new entries. left is the
// number of entries that follow, including this one. It determines the size of the next slab.
func (w *Walker) entry(deliveries int64, left int, b *redisio.Batch) error {
	_, n, err := w.Header()
	if err == ErrNilReply {
		b.Entries = append(b.Entries, redisio.Entry{Deliveries: deliveries, Deleted: true})
		return nil
	}
	if err != nil {
		return err
	}
	if n < 2 || n > 4 {
		return w.fail("an entry of neither 2, 3 nor 4 parts")
	}
	id, err := w.Text()
	if err != nil {
		return w.unexpected(err)
	}
	at, err := redisio.ParseID(id)
	if err != nil {
		return w.fail("a bad entry ID")
	}
	e := redisio.Entry{ID: scan.String(id), Position: at, Deliveries: deliveries}
	_, parts, err := w.Header()
	switch {
	case err == ErrNilReply:
		e.Deleted = true
	case err != nil:
		return err
	case parts%2 != 0:
		return w.fail("a field without a value")
	default:
		f := b.Slab(parts/2, w.ahead(parts/2, left))
		for range parts / 2 {
			name, err := w.Text()
			if err != nil {
				return w.unexpected(err)
			}
			value, err := w.Text()
			if err != nil {
				return w.unexpected(err)
			}
			f = append(f, redisio.Field{Name: scan.String(name), Value: value})
		}
		e.Fields = f
	}
	for i := 3; i <= n; i++ {
		v, err := w.Number()
		if err != nil {
			return err
		}
		switch {
		case n == 4 && i == 3 && v > 0:
			w.claimed++
		case n == 4 && i == 4:
			e.Deliveries = min(v, math.MaxInt64-1) + 1
		case n == 3:
			e.Deliveries = v
		}
	}
	b.Entries = append(b.Entries, e)
	return nil
}

// ahead guesses how many fields the rest of the reply has, but never more than its bytes allow: a
// field takes 8 bytes at the least.
func (w *Walker) ahead(fields, left int) int {
	return min(fields*left, (len(w.Buf)-w.Pos)/8+fields)
}
