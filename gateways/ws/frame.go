package ws

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
)

// request is a frame of a client.
type request struct {
	kind    string
	id      string
	room    string
	typ     string
	data    []byte // JSON; a copy
	cursor  string
	since   string // of a join
	resume  string
	rooms   []string
	timeout int  // ms
	stream  bool // of a call: many values
}

// Kinds of frames that clients send.
const (
	kindHello  = "hello"
	kindJoin   = "join"
	kindLeave  = "leave"
	kindSend   = "send"
	kindCall   = "call"
	kindCancel = "cancel"
	kindPing   = "ping"
)

// Codes of error frames, beside those of package gateways that services answer calls with.
const (
	codeFrame    = "bad_frame"      // the frame is not what the protocol says
	codeCursor   = "bad_cursor"     // the cursor is none
	codeHello    = "hello_first"    // the first frame is no hello, or a later one is
	codeRooms    = "too_many_rooms" //
	codeMember   = "not_joined"     // the room is not one of the session's
	codeDenied   = "forbidden"      // Authorize said no
	codeLarge    = "too_large"      // what is said does not fit an entry
	codeBusy     = "overloaded"     // too much is waiting: calls of this socket, or what nobody reads
	codeAway     = "unavailable"    // Redis does not answer: it was not written
	codeDoubt    = "unknown"        // Redis did not answer in time: it may be written yet
	codeClosing  = "closing"        // this process goes away: reconnect
	codeNoCalls  = "no_handler"     // calls of this type are not let through
	codeCanceled = "cancelled"      // the call was cancelled
)

// maxID bounds the ids that clients give their requests, in bytes.
const maxID = 64

// fault is what a client did wrong, as it is told.
type fault struct{ id, code, message string }

func (f *fault) Error() string { return f.message }

// parse reads a frame of a client. A fault has the frame's id, wherever it stands in the frame,
// unless the frame is no JSON before it.
func parse(b []byte) (q request, wrong *fault) {
	bad := func(format string, args ...any) error {
		return &fault{code: codeFrame, message: fmt.Sprintf(format, args...)}
	}
	err := members(b, func(name string, value []byte) error {
		switch name {
		case "kind":
			return text(name, value, &q.kind, maxName)
		case "id":
			return text(name, value, &q.id, maxID)
		case "room":
			return text(name, value, &q.room, maxName)
		case "type":
			return text(name, value, &q.typ, maxName)
		case "since":
			return text(name, value, &q.since, maxName)
		case "cursor":
			return text(name, value, &q.cursor, maxName)
		case "resume":
			return text(name, value, &q.resume, maxToken)
		case "data":
			q.data = bytes.Clone(value)
			return nil
		case "rooms":
			if json.Unmarshal(value, &q.rooms) != nil {
				return bad("rooms is no list of strings")
			}
			return nil
		case "timeout":
			n, err := strconv.Atoi(string(value))
			if err != nil || n < 1 || n > 24*3600*1000 {
				return bad("timeout is no number of milliseconds")
			}
			q.timeout = n
			return nil
		case "stream":
			if json.Unmarshal(value, &q.stream) != nil {
				return bad("stream is neither true nor false")
			}
			return nil
		}
		return bad("there is no %.40s in frames of clients", strconv.Quote(name))
	})
	if err != nil {
		return q, &fault{idOf(b), codeFrame, "the frame is refused: it " + err.Error()}
	}
	return q, q.check()
}

// idOf finds the id of a frame that is refused.
func idOf(frame []byte) (id string) {
	d := json.NewDecoder(bytes.NewReader(frame))
	name := "" // of the member at hand
	for depth, names := 0, false; ; {
		t, err := d.Token()
		if err != nil {
			return ""
		}
		outer := depth <= 1
		if delim, is := t.(json.Delim); is {
			if depth == 0 && delim != '{' {
				return ""
			}
			if delim == '{' || delim == '[' {
				depth++
			} else {
				depth--
			}
			names = depth == 1
			continue
		}
		if !outer {
			continue
		}
		s, _ := t.(string)
		switch {
		case names:
			name = s
		case name == "id" && len(s) <= maxID:
			return s
		}
		names = !names
	}
}

// text reads a string of a frame.
func text(name string, value []byte, into *string, most int) error {
	if json.Unmarshal(value, into) != nil || value[0] != '"' {
		return fmt.Errorf("has a %s that is no string", name)
	}
	if len(*into) > most {
		*into = ""
		return fmt.Errorf("has a %s of more than %d bytes", name, most)
	}
	return nil
}

// check says what is missing.
func (q *request) check() *fault {
	need := func(name, value string) *fault {
		if err := checkName(name, value); err != nil {
			return &fault{q.id, codeFrame, "the frame is refused: " + err.Error()[len("ws: "):]}
		}
		return nil
	}
	switch q.kind {
	case kindHello:
		return nil // rooms are refused one by one
	case kindJoin, kindLeave:
		return need("room", q.room)
	case kindSend:
		if q.room != "" {
			if f := need("room", q.room); f != nil {
				return f
			}
		}
		return need("type", q.typ)
	case kindCall:
		if f := need("id", q.id); f != nil {
			return f
		}
		return need("type", q.typ)
	case kindCancel:
		return need("id", q.id)
	case kindPing:
		return nil
	}
	return &fault{q.id, codeFrame, fmt.Sprintf("the frame is refused: it has the kind %.40s", strconv.Quote(q.kind))}
}

// reply is a frame of the server. Its fields are the protocol's: see the package's documentation.
type reply struct {
	Kind    string          `json:"kind"`
	ID      string          `json:"id,omitempty"`
	Session string          `json:"session,omitempty"`
	Resume  string          `json:"resume,omitempty"`
	Resumed bool            `json:"resumed,omitempty"`
	User    string          `json:"user,omitempty"`
	Cursor  string          `json:"cursor,omitempty"`
	Room    string          `json:"room,omitempty"`
	Rooms   []string        `json:"rooms,omitempty"`
	Refused []string        `json:"refused,omitempty"`
	Reasons codes           `json:"reasons,omitempty"`
	Limits  *limits         `json:"limits,omitempty"`
	From    string          `json:"from,omitempty"`
	To      string          `json:"to,omitempty"`
	Missed  uint64          `json:"missed,omitempty"`
	Type    string          `json:"type,omitempty"`
	Code    string          `json:"code,omitempty"`
	Message string          `json:"message,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// codes say why rooms were refused.
type codes map[string]string

// limits are what a hub tells of its limits: what is beyond them never succeeds.
type limits struct {
	Message int `json:"message"` // bytes of a frame
	Rooms   int `json:"rooms"`
	Calls   int `json:"calls"`
	Name    int `json:"name"` // bytes of a name of a room or type
	ID      int `json:"id"`   // bytes
}

// headroom is what the longest header of a frame takes.
const headroom = 10

// frame is the reply as it goes over the wire: with the header of a WebSocket text frame, so that
// it can be shared by many sockets.
func (r *reply) frame() []byte {
	b, err := json.Marshal(r)
	if err != nil { // Data is not JSON
		r.Data = nil
		b, _ = json.Marshal(r)
	}
	return seal(b)
}

// seal puts the header of an unmasked, unfragmented text frame before a payload (RFC 6455, section 5.2).
func seal(payload []byte) []byte {
	n := len(payload)
	b := make([]byte, 0, headroom+n)
	switch b = append(b, 0x81); { // final, text
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

var (
	pingFrame  = []byte{0x89, 0}
	closeFrame = byte(0x88)
)
