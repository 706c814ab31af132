package ws

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/strictjson"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
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
	trace   trace
}

// trace is the trace that a send or a call belongs to, as its client sent it.
type trace struct{ parent, state, baggage string }

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

// Codes of error frames. Calls also fail with the codes of package gateways.
const (
	codeFrame    = "bad_frame"      // the frame does not follow the protocol
	codeCursor   = "bad_cursor"     // the cursor is invalid
	codeHello    = "hello_first"    // the first frame is not a hello, or a later one is
	codeRooms    = "too_many_rooms" // the session may not join more rooms
	codeMember   = "not_joined"     // the session has not joined the room
	codeDenied   = "forbidden"      // Authorize refused it
	codeLarge    = "too_large"      // the message does not fit an entry
	codeBusy     = "overloaded"     // too many calls of this socket, or too many unprocessed events
	codeAway     = "unavailable"    // Redis does not answer: nothing was written
	codeDoubt    = "unknown"        // Redis did not answer in time: the message may have been written
	codeClosing  = "closing"        // this process shuts down: reconnect
	codeNoCalls  = "no_handler"     // HubConfig.CallTypes does not list this type
	codeCanceled = "cancelled"      // the call was cancelled
)

// maxDepth is how deep JSON of clients may nest. No sensible message needs more.
const maxDepth = 32

// maxID is the longest id of a request, in bytes.
const maxID = 64

// fault is a client's mistake or a failure, as reported to the client.
type fault struct{ id, code, message string }

func (f *fault) Error() string { return f.message }

// parse reads a frame of a client. A fault carries the frame's id, wherever it stands in the frame,
// unless the JSON is broken before it.
func parse(b []byte) (q request, wrong *fault) {
	bad := func(format string, args ...any) error {
		return &fault{code: codeFrame, message: fmt.Sprintf(format, args...)}
	}
	err := strictjson.Check(b, maxDepth, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return q, &fault{idOf(b), codeFrame, "invalid frame: " + err.Error()}
	}
	err = strictjson.Members(b, func(name string, value []byte) error {
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
		case flow.HeaderTraceparent:
			return text(name, value, &q.trace.parent, traces.MaxTraceparent)
		case flow.HeaderTracestate:
			return text(name, value, &q.trace.state, traces.MaxTracestate)
		case flow.HeaderBaggage:
			return text(name, value, &q.trace.baggage, traces.MaxBaggage)
		case "data":
			q.data = bytes.Clone(value)
			return nil
		case "rooms":
			if json.Unmarshal(value, &q.rooms) != nil {
				return bad("rooms is not a list of strings")
			}
			return nil
		case "timeout":
			n, err := strconv.Atoi(string(value))
			if err != nil || n < 1 || n > 24*3600*1000 {
				return bad("timeout is not a number of milliseconds from 1 to 86400000")
			}
			q.timeout = n
			return nil
		case "stream":
			if json.Unmarshal(value, &q.stream) != nil {
				return bad("stream is neither true nor false")
			}
			return nil
		}
		return bad("unknown member %.40s", strconv.Quote(name))
	})
	if err != nil {
		return q, &fault{idOf(b), codeFrame, "invalid frame: " + err.Error()}
	}
	return q, q.check()
}

// idOf finds the id of a frame that is refused.
func idOf(frame []byte) (id string) {
	_ = strictjson.Members(frame, func(name string, value []byte) error {
		if name != "id" || text(name, value, &id, maxID) != nil {
			return nil
		}
		return io.EOF // found
	})
	return id
}

// text reads a string of a frame of at most most bytes.
func text(name string, value []byte, into *string, most int) error {
	if json.Unmarshal(value, into) != nil || value[0] != '"' {
		return fmt.Errorf("%s is not a string", name)
	}
	if len(*into) > most {
		*into = ""
		return fmt.Errorf("%s is longer than %d bytes", name, most)
	}
	return nil
}

// check reports a missing or invalid member.
func (q *request) check() *fault {
	need := func(name, value string) *fault {
		if err := checkName(name, value); err != nil {
			return &fault{q.id, codeFrame, "invalid frame: " + err.Error()[len("ws: "):]}
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
	return &fault{q.id, codeFrame, fmt.Sprintf("invalid frame: unknown kind %.40s", strconv.Quote(q.kind))}
}

// reply is a frame of the server. The package documentation describes its members.
type reply struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"`
	*welcome
	Cursor string `json:"cursor,omitempty"`
	Room   string `json:"room,omitempty"`
	*entered
	From    string          `json:"from,omitempty"`
	To      string          `json:"to,omitempty"`
	Missed  uint64          `json:"missed,omitempty"`
	Type    string          `json:"type,omitempty"`
	Code    string          `json:"code,omitempty"`
	Message string          `json:"message,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// welcome is the session in a reply to a hello.
type welcome struct {
	Session string `json:"session"`
	Resume  string `json:"resume"`
	Resumed bool   `json:"resumed,omitempty"`
	User    string `json:"user"`
}

// entered has the rooms and the limits in a reply to a hello.
type entered struct {
	Rooms   []string `json:"rooms,omitempty"`
	Refused []string `json:"refused,omitempty"`
	Reasons codes    `json:"reasons,omitempty"`
	Limits  *limits  `json:"limits"`
}

// codes maps refused rooms to the codes of their refusal.
type codes map[string]string

// limits are the limits that a hub reports to clients. A request beyond one never succeeds.
type limits struct {
	Message int `json:"message"` // bytes of a frame
	Rooms   int `json:"rooms"`
	Calls   int `json:"calls"`
	Name    int `json:"name"` // bytes of the name of a room or type
	ID      int `json:"id"`   // bytes
}

// headroom is the size of the longest frame header.
const headroom = 10

// frame returns the reply with the header of a WebSocket text frame, so that many sockets can share
// it.
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
