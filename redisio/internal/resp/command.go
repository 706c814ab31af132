package resp

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/streamerson/streamerson-go/redisio"
)

// Frame finds the end of a reply that arrives in pieces. It need not know how values nest: each
// aggregate adds its elements to what is left to come.
type Frame struct {
	Pos  int // where the next value starts; beyond what has arrived inside a long string
	Left int // values to come
	list int // length of the longest list
}

// Size guesses the size of the whole reply. Idea: most replies are one long list of similar entries.
func (f *Frame) Size() int {
	done := f.list - f.Left
	if done <= 0 {
		return f.Pos
	}
	perEntry := float64(f.Pos) / float64(done)
	return f.Pos + int(perEntry*float64(f.Left)*33/32) + 64
}

// Scan goes on with what has arrived and reports whether the reply is whole.
func (f *Frame) Scan(buf []byte) (bool, error) {
	for f.Left > 0 {
		if f.Pos >= len(buf) {
			return false, nil
		}
		kind := buf[f.Pos]
		n, size := length(buf[f.Pos:])
		if size == 0 || kind != '$' && kind != '*' {
			var err error
			if n, size, err = f.line(buf[f.Pos:]); size == 0 {
				return false, err
			}
		}
		if n > MaxReply {
			return false, &ReplyError{f.Pos, "a length beyond 1 GiB"}
		}
		f.Left--
		f.Pos += size
		switch {
		case n < 0:
		case kind == '$' || kind == '=' || kind == '!':
			f.Pos += n + 2
		case kind == '%':
			f.Left += 2 * n
		default:
			f.Left += n
			f.list = max(f.list, n)
		}
	}
	return f.Pos <= len(buf), nil
}

// line reads a line of any kind. n is the length that it has, or -1; size is 0 if the line has not
// arrived.
func (f *Frame) line(buf []byte) (n, size int, err error) {
	size = bytes.IndexByte(buf, '\n') + 1
	if size == 0 {
		return 0, 0, nil
	}
	if size < 3 {
		return 0, 0, &ReplyError{f.Pos, "an empty line"}
	}
	switch buf[0] {
	case '+', '-', ':', '_', '#', ',', '(':
		return -1, size, nil
	case '$', '=', '!', '*', '~', '>', '%':
		n, err := (&Walker{Pos: f.Pos}).number(buf[1 : size-2])
		if err == nil && (n > MaxReply || n < -1) {
			err = &ReplyError{f.Pos, "a length beyond 1 GiB"}
		}
		if err != nil {
			return 0, 0, err
		}
		return int(n), size, nil
	}
	return 0, 0, &ReplyError{f.Pos, fmt.Sprintf("unknown type %q", buf[0])}
}

// length reads a line such as $15 or *2, which most lines are, without searching for its end first.
// size is that of the line, or 0 if it is another one.
func length(b []byte) (n, size int) {
	for i := 1; i < len(b)-1 && i <= 10; i++ {
		d := b[i] - '0'
		if d > 9 {
			if i > 1 && b[i] == '\r' && b[i+1] == '\n' {
				size = i + 2
			}
			return n, size
		}
		n = 10*n + int(d)
	}
	return 0, 0
}

// Whole reports whether raw is one whole reply.
func Whole(raw []byte) bool {
	f := Frame{Left: 1}
	done, err := f.Scan(raw)
	return done && err == nil && f.Pos == len(raw)
}

// value is the argument for the value of a field.
type value redisio.Field

// MarshalBinary returns the value as it is, for go-redis.
func (v *value) MarshalBinary() ([]byte, error) { return v.Value, nil }

// AppendFields appends names and values as arguments, for AppendCommand and go-redis. They are
// pointers, because these do not allocate.
func AppendFields(args []any, fields redisio.Fields) []any {
	for i := range fields {
		args = append(args, &fields[i].Name, (*value)(&fields[i]))
	}
	return args
}

// AppendCommand appends a command as RESP. It panics on an argument of another type than these.
func AppendCommand(dst []byte, args []any) []byte {
	dst = AppendArray(dst, len(args))
	var num [20]byte
	for _, a := range args {
		switch v := a.(type) {
		case string:
			dst = AppendBulk(dst, v)
		case *string:
			dst = AppendBulk(dst, *v)
		case *value:
			dst = AppendBulk(dst, v.Value)
		case int:
			dst = AppendBulk(dst, strconv.AppendInt(num[:0], int64(v), 10))
		case int64:
			dst = AppendBulk(dst, strconv.AppendInt(num[:0], v, 10))
		default:
			panic(fmt.Sprintf("redisio: an argument of type %T", a))
		}
	}
	return dst
}

// AppendArray appends the start of an array of n elements.
func AppendArray(dst []byte, n int) []byte {
	dst = append(dst, '*')
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '\r', '\n')
}

func AppendBulk[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = append(dst, '$')
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, '\r', '\n')
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}
