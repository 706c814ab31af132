package gateways

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
)

// Requests, replies and control messages are native entries:
//
//	request  data, type, id, key, reply, limit, traceparent, ct, h:*; h::window of a streamed reply, h::handed: how
//	         often the request was handed on, and in which group
//	reply    data, id of the request, ct, h::status, h:*; h::wait: how many ms the request waited for the service
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
	// Headers are set by the caller. The trace context is the header "traceparent".
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

// requestFormat reads and writes requests.
type requestFormat struct{}

func (requestFormat) Encode(
	dst redisio.Fields,
	buf []byte,
	e *redisio.Envelope,
	r Request,
) (redisio.Fields, []byte, error) {
	putRequest(e, &r)
	return wire.Native.Encode(dst, buf, e, r.Body)
}

func putRequest(e *redisio.Envelope, r *Request) {
	e.Type, e.ID, e.Key, e.ContentType = r.Type, r.ID, r.Key, r.ContentType
	wire.PutHeaders(e, r.Headers)
	if r.window > 0 {
		e.Headers = append(e.Headers, redisio.Header{Name: headerWindow, Value: strconv.Itoa(r.window)})
	}
	if r.handed > 0 {
		e.Headers = append(e.Headers, redisio.Header{Name: headerHanded, Value: strconv.Itoa(r.handed) + " " + r.group})
	}
}

func (requestFormat) Decode(entry *redisio.Entry, e *redisio.Envelope) (Request, error) {
	body, err := wire.Native.Decode(entry, e)
	if err != nil {
		return Request{}, err
	}
	return takeRequest(entry, e, body)
}

func takeRequest(entry *redisio.Entry, e *redisio.Envelope, body []byte) (r Request, err error) {
	r = Request{
		Type:        e.Type,
		ID:          e.ID,
		Key:         e.Key,
		Body:        body,
		ContentType: e.ContentType,
		Attempt:     int(entry.Deliveries),
	}
	if n := len(e.Headers); n > 0 {
		r.Headers = make(flow.Headers, 0, n+1)
	}
	for _, h := range e.Headers {
		if h.Name == headerWindow {
			if r.window, err = strconv.Atoi(h.Value); err != nil || r.window < 1 || r.window > maxWindow {
				return r, &redisio.DecodeError{
					ID:    entry.ID,
					Field: "h:" + headerWindow,
					Err:   fmt.Errorf("invalid window %.20q", h.Value),
				}
			}
			continue
		}
		if h.Name == headerHanded {
			n, group, _ := strings.Cut(h.Value, " ")
			if r.handed, err = strconv.Atoi(n); err != nil || r.handed < 1 || group == "" {
				return r, &redisio.DecodeError{
					ID:    entry.ID,
					Field: "h:" + headerHanded,
					Err:   fmt.Errorf("invalid count and group %.20q", h.Value),
				}
			}
			r.group = group
			continue
		}
		r.Headers = append(r.Headers, flow.Header(h))
	}
	if e.Traceparent != "" {
		r.Headers = append(r.Headers, flow.Header{Name: wire.Traceparent, Value: e.Traceparent})
	}
	return r, nil
}

// replyFormat reads and writes replies. Of the request they contain only its ID.
type replyFormat struct{}

func (replyFormat) Encode(
	dst redisio.Fields,
	buf []byte,
	e *redisio.Envelope,
	r Response,
) (redisio.Fields, []byte, error) {
	putReply(e, &r)
	return wire.Native.Encode(dst, buf, e, r.Body)
}

func putReply(e *redisio.Envelope, r *Response) {
	typ := string(r.kind)
	if r.kind == kindReply { // the common kind is left out
		typ = ""
	}
	*e = redisio.Envelope{
		ID:             e.ID,
		Type:           typ,
		ContentType:    r.ContentType,
		MaybeDuplicate: e.MaybeDuplicate,
		Headers:        e.Headers[:0],
	}
	wire.PutHeaders(e, r.Headers)
	if r.code != "" {
		e.Headers = append(e.Headers, redisio.Header{Name: headerCode, Value: string(r.code)})
	}
	if r.Status != 0 {
		e.Headers = append(e.Headers, redisio.Header{Name: headerStatus, Value: strconv.Itoa(r.Status)})
	}
	if r.run != "" {
		e.Headers = append(e.Headers, redisio.Header{Name: headerRun, Value: r.run})
	}
	if r.seq != 0 {
		e.Headers = append(e.Headers, redisio.Header{Name: headerSeq, Value: strconv.Itoa(r.seq)})
	}
	if r.wait >= leastTold {
		e.Headers = append(
			e.Headers,
			redisio.Header{Name: headerWait, Value: strconv.FormatInt(r.wait.Milliseconds(), 10)},
		)
	}
}

func (replyFormat) Decode(entry *redisio.Entry, e *redisio.Envelope) (Response, error) {
	body, err := wire.Native.Decode(entry, e)
	if err != nil {
		return Response{}, err
	}
	return takeReply(entry, e, body)
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
			return r, &redisio.DecodeError{
				ID:    entry.ID,
				Field: "h:" + h.Name,
				Err:   fmt.Errorf("invalid number %.20q", h.Value),
			}
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

type noteFormat struct{}

func (noteFormat) Encode(dst redisio.Fields, buf []byte, e *redisio.Envelope, n note) (redisio.Fields, []byte, error) {
	*e = redisio.Envelope{ID: n.id, Type: string(n.kind)}
	return wire.Native.Encode(dst, buf, e, strconv.AppendInt(nil, int64(n.more), 10))
}

func (noteFormat) Decode(entry *redisio.Entry, e *redisio.Envelope) (note, error) {
	data, err := wire.Native.Decode(entry, e)
	if err != nil {
		return note{}, err
	}
	more, err := strconv.Atoi(string(data))
	if err != nil || more < 0 || more > maxWindow {
		return note{}, &redisio.DecodeError{
			ID:    entry.ID,
			Field: "data",
			Err:   fmt.Errorf("invalid number of parts %.20q", data),
		}
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
			request: requestFormat{},
			reply:   replyFormat{},
			timeout: defaultTimeout,
			own:     true,
		},
		slot.CheckTopic(
			config,
			topic,
		)
}

// replies returns the sink that writes answers to their reply addresses.
func (d *dialect) replies(
	rdb redis.UniversalClient,
	wait time.Duration,
	box boxing,
) flow.Sink[Response] {
	if d.shared == "" {
		return mailboxes(rdb, d.reply, wait, box)
	}
	return sink.Stream(rdb, sink.StreamConfig[Response]{
		KeyFor: func(m flow.Message[Response]) string { return m.Meta().ReplyTo },
		Format: d.reply,
		MaxLen: d.most,
		Wait:   wait,
		OnFull: box.full,
		Tuning: writer.Tuning{DropUnread: true, MaxPayload: payloadFor(box.maxReply)},
	})
}
