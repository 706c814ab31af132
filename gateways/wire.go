package gateways

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
)

// Requests, replies and control messages are native entries:
//
//	request  data, type, id, key, reply, limit, traceparent, tracestate, baggage, ct, h:*; h::window of a streamed
//	         reply, h::handed: how often the request was handed on, and in which group
//	reply    data, id of the request, ct, traceparent and tracestate of a traced service, h::status, h:*; h::wait:
//	         how many ms the request waited for the service
//	failure  data (the message), type "error", id, h::code, h::status
//	part     data, type "part", id, h::run, h::seq; and at the end type "end"
//	control  type "cancel" or "more" (data: how many), id

// Request is one request, as handlers and middleware receive it.
type Request struct {
	// Type selects the handler.
	Type string
	// ID is the same for all copies of the request.
	ID string
	// Key is the key to keep order by, with flow.KeyedBy.
	Key string
	// Body is the payload, and ContentType its type; "" is the default of the handler's codec.
	Body        []byte
	ContentType string
	// Headers are set by the caller. The trace is in the headers "traceparent", "tracestate" and
	// "baggage".
	Headers flow.Headers
	// Attempt is the number of the delivery, starting at 1.
	Attempt int
	// Timeout limits a call, in addition to its context's deadline. Defaults to the client's. It is
	// 0 in handlers, because their context has the caller's deadline.
	Timeout time.Duration

	window int           // of a streamed reply; 0 for a single one
	bad    error         // why it could not be read
	handed int           // how often it was handed on by processes that do not handle its type
	group  string        // the group it was handed on for; "" if it was not
	taken  time.Duration // see received
}

// Response is the answer of a handler, and the result of Client.Do.
type Response struct {
	Body        []byte
	ContentType string
	Headers     flow.Headers
	// Status is the HTTP status; 0 lets the gateway choose. Other callers ignore it.
	Status int

	kind kind
	code Code
	run  string        // of a part: its handling
	seq  int           // of a part, from 1
	wait time.Duration // how long the request waited for the service
}

type kind string

const (
	kindReply kind = "reply"
	kindError kind = "error"
	kindPart  kind = "part"
	kindEnd   kind = "end"
	kindHello kind = "hello" // the first entry of a mailbox

	kindCancel kind = "cancel"
	kindMore   kind = "more"
)

// Reserved headers begin with a colon, as in HTTP/2. Others never do, see wire.PutHeaders.
const (
	headerWindow = ":window"
	headerCode   = ":code"
	headerStatus = ":status"
	headerHanded = ":handed"
	headerRun    = ":run"
	headerSeq    = ":seq"
	headerWait   = ":wait"
)

// native is the format of native entries. put fills an envelope and returns the body, take does the
// reverse.
type native[T any] struct {
	put  func(e *redisio.Envelope, v T) (body []byte)
	take func(entry *redisio.Entry, e *redisio.Envelope, body []byte) (T, error)
}

var (
	nativeRequests = native[Request]{putRequest, takeRequest}
	nativeReplies  = native[Response]{putReply, takeReply}
	nativeNotes    = native[note]{putNote, takeNote}
)

func (n native[T]) Encode(dst redisio.Fields, buf []byte, e *redisio.Envelope, v T) (redisio.Fields, []byte, error) {
	return wire.Native.Encode(dst, buf, e, n.put(e, v))
}

func (n native[T]) Decode(entry *redisio.Entry, e *redisio.Envelope) (v T, err error) {
	body, err := wire.Native.Decode(entry, e)
	if err != nil {
		return v, err
	}
	return n.take(entry, e, body)
}

// reserve adds a reserved header, unless its value is empty.
func reserve(e *redisio.Envelope, name, value string) {
	if value != "" {
		e.Headers = append(e.Headers, redisio.Header{Name: name, Value: value})
	}
}

// number returns the text of a number, "" for 0.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// wrong is the error of a field with an invalid value.
func wrong(entry *redisio.Entry, field, value string) error {
	return &redisio.DecodeError{ID: entry.ID, Field: field, Err: fmt.Errorf("invalid value %.20q", value)}
}

func putRequest(e *redisio.Envelope, r Request) []byte {
	e.Type, e.ID, e.Key, e.ContentType = r.Type, r.ID, r.Key, r.ContentType
	wire.PutHeaders(e, r.Headers)
	reserve(e, headerWindow, number(r.window))
	if r.handed > 0 {
		reserve(e, headerHanded, number(r.handed)+" "+r.group)
	}
	return r.Body
}

func takeRequest(entry *redisio.Entry, e *redisio.Envelope, body []byte) (Request, error) {
	r := Request{
		Type:        e.Type,
		ID:          e.ID,
		Key:         e.Key,
		Body:        body,
		ContentType: e.ContentType,
		Attempt:     int(entry.Deliveries),
	}
	if n := len(e.Headers); n > 0 {
		r.Headers = make(flow.Headers, 0, n+3)
	}
	for _, h := range e.Headers {
		ok := true
		switch h.Name {
		case headerWindow:
			r.window, ok = count(h.Value, maxWindow)
		case headerHanded:
			n, group, _ := strings.Cut(h.Value, " ")
			r.handed, ok = count(n, math.MaxInt32)
			r.group, ok = group, ok && group != ""
		default:
			r.Headers = append(r.Headers, flow.Header(h))
		}
		if !ok {
			return r, wrong(entry, "h:"+h.Name, h.Value)
		}
	}
	r.Headers = traces.Of(r.Headers, e)
	return r, nil
}

// count reads a number from 1 to most.
func count(text string, most int) (n int, ok bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1 && n <= most
}

// putReply leaves only the ID of the request in the envelope, and the span that writes the reply.
func putReply(e *redisio.Envelope, r Response) []byte {
	if !e.Traced { // the trace of the request, which the caller knows
		e.Traceparent, e.Tracestate, e.Baggage = "", "", ""
	}
	typ := string(r.kind)
	if r.kind == kindReply { // the common kind is left out
		typ = ""
	}
	*e = redisio.Envelope{
		ID:             e.ID,
		Type:           typ,
		ContentType:    r.ContentType,
		Traceparent:    e.Traceparent,
		Tracestate:     e.Tracestate,
		MaybeDuplicate: e.MaybeDuplicate,
		Headers:        e.Headers[:0],
	}
	wire.PutHeaders(e, r.Headers)
	reserve(e, headerCode, string(r.code))
	reserve(e, headerStatus, number(r.Status))
	reserve(e, headerRun, r.run)
	reserve(e, headerSeq, number(r.seq))
	if r.wait >= leastTold {
		reserve(e, headerWait, number(int(r.wait.Milliseconds())))
	}
	return r.Body
}

func takeReply(entry *redisio.Entry, e *redisio.Envelope, body []byte) (r Response, err error) {
	r = Response{kind: kind(e.Type), Body: body, ContentType: e.ContentType}
	if r.kind == "" {
		r.kind = kindReply
	}
	for _, h := range e.Headers {
		switch h.Name {
		case headerCode:
			r.code = Code(h.Value)
		case headerRun:
			r.run = h.Value
		case headerStatus:
			r.Status, err = strconv.Atoi(h.Value)
		case headerSeq:
			r.seq, err = strconv.Atoi(h.Value)
		case headerWait:
			var ms int
			ms, err = strconv.Atoi(h.Value)
			r.wait = time.Duration(ms) * time.Millisecond
		default:
			r.Headers = append(r.Headers, flow.Header(h))
		}
		if err != nil {
			return r, wrong(entry, "h:"+h.Name, h.Value)
		}
	}
	return r, nil
}

// Failure returns the error that a reply stands for, or nil.
func (r *Response) Failure() error {
	if r.kind != kindError {
		return nil
	}
	return &RemoteError{Code: r.code, Message: string(r.Body), Status: r.Status}
}

func failureOf(e *RemoteError) Response {
	return Response{kind: kindError, code: e.Code, Body: []byte(e.Message), Status: e.Status}
}

// note is a control message.
type note struct {
	kind kind
	id   string
	more int
}

func putNote(e *redisio.Envelope, n note) []byte {
	*e = redisio.Envelope{ID: n.id, Type: string(n.kind)}
	return strconv.AppendInt(nil, int64(n.more), 10)
}

func takeNote(entry *redisio.Entry, e *redisio.Envelope, data []byte) (note, error) {
	more, err := strconv.Atoi(string(data))
	if err != nil || more < 0 || more > maxWindow {
		return note{}, wrong(entry, "data", string(data))
	}
	if len(e.ID) > idMost {
		return note{}, &redisio.DecodeError{ID: entry.ID, Field: "id", Err: &LimitError{"ID", len(e.ID), idMost}}
	}
	return note{kind: kind(e.Type), id: e.ID, more: more}, nil
}

// Wire is the protocol between the services and clients of a topic: its keys and the format of its
// entries. Both sides must use the same one. nil is this project's own protocol, which the package
// documentation describes. StreamersonV1 is the only other.
type Wire interface {
	speak(config, topic string) (dialect, error)
}

// dialect is a Wire applied to a topic.
type dialect struct {
	keys    slot.Topic
	request redisio.Format[Request]
	reply   redisio.Format[Response]
	timeout time.Duration // of calls, by default
	start   redisio.Start // of a service's new group

	own    bool   // only services read requests: they are deleted when settled
	shared string // the stream of all clients' replies; "" if each has its own
	most   int64  // how many replies that stream keeps
}

func speak(w Wire, config, topic string) (dialect, error) {
	if w != nil {
		return w.speak(config, topic)
	}
	return dialect{
			keys:    slot.TopicOf(topic),
			request: nativeRequests,
			reply:   nativeReplies,
			timeout: defaultTimeout,
			own:     true,
		},
		slot.CheckTopic(
			config,
			topic,
		)
}

// replies returns the sink that writes each answer to its reply address.
func (d *dialect) replies(rdb redis.UniversalClient, wait time.Duration, box boxing) flow.Sink[Response] {
	cfg := sink.StreamConfig[Response]{
		KeyFor:  func(m flow.Message[Response]) string { return m.Meta().ReplyTo },
		Format:  d.reply,
		Tuning:  writer.Tuning{OnlyExisting: true, Together: true, MaxBytes: box.bytes},
		MaxLen:  mailboxLen,
		Wait:    wait,
		OnFull:  box.full,
		OnEvent: box.told,
	}
	if d.shared != "" {
		cfg.Tuning, cfg.MaxLen, cfg.OnEvent = writer.Tuning{DropUnread: true}, d.most, nil
	}
	cfg.MaxPayload = payloadFor(box.maxReply)
	return sink.Stream(rdb, cfg)
}
