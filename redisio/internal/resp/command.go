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
}

// Scan goes on with what has arrived and reports whether the reply is whole.
func (f *Frame) Scan(buf []byte) (bool, error) {
	for f.Left > 0 {
		if f.Pos >= len(buf) {
			return false, nil
		}
		end := bytes.IndexByte(buf[f.Pos:], '\n')
		if end < 0 {
			return false, nil
		}
		line := buf[f.Pos : f.Pos+end+1]
		if len(line) < 3 {
			return false, &ReplyError{f.Pos, "an empty line"}
		}
		next := f.Pos + len(line)
		f.Left--
		switch line[0] {
		case '+', '-', ':', '_', '#', ',', '(':
		case '$', '=', '!', '*', '~', '>', '%':
			n, err := (&Walker{Pos: f.Pos}).number(line[1 : len(line)-2])
			if err != nil {
				return false, err
			}
			if n > MaxReply || n < -1 {
				return false, &ReplyError{f.Pos, "a length beyond 1 GiB"}
			}
			switch {
			case n < 0:
			case line[0] == '$' || line[0] == '=' || line[0] == '!':
				next += int(n) + 2
			case line[0] == '%':
				f.Left += 2 * int(n)
			default:
				f.Left += int(n)
			}
		default:
			return false, &ReplyError{f.Pos, fmt.Sprintf("unknown type %q", line[0])}
		}
		f.Pos = next
	}
	return f.Pos <= len(buf), nil
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
