package gateways

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/streamersonv1"
)

// StreamersonV1 is the Wire of streamerson for Node: for a service that Node's gateways and
// awaiters call, and for a client that calls Node's workers. The topic given to NewService and
// NewClient is its namespace: new Topic('x') in Node is "x".
//
//	wire := gateways.StreamersonV1{RespAs: "helloWorldEvent"}
//	svc := gateways.NewService(rdb, "my-stream-topic", gateways.ServiceConfig{Wire: wire})
//
// Requests are entries of <namespace>::<topic>::CONSUMER_INCOMING, replies of
// <namespace>::<topic>::PRODUCER_OUTGOING, in the format of streamersonv1.Format. A reply has the
// id and the sourceId of its request, and the type "resp". It is written to the destination that
// the request names, if that is the topic's own reply stream or one of ReplyKeys. Otherwise it is
// written to the topic's own reply stream, which Node reads.
//
// Errors are answered too, with the payload
//
//	{"error":{"code":"no_handler","message":"no handler for requests of type \"x\""}}
//
// and with the code in the header ":code" (and a status in ":status"), by which a Client of this
// package recognizes an error. Node sees a value of dispatch(), or its gateway sends it as a body
// with status 200.
//
// Payloads of Node are JSON. Handlers and calls of strings receive unquoted JSON strings. An empty
// answer, such as of HandleVoid, is {} in Node. null, false, 0 and "" become text, see
// streamersonv1.Format.
//
// Differences to the default Wire: All clients share one reply stream, so each reads the replies of
// all. There are no streamed replies (Stream fails, HandleStream answers with CodeInvalid), and no
// Requests and Reply. Services do not learn that a caller stopped waiting. They know deadlines only
// of clients of this package. A call without a deadline ends after 3 s, as in Node. Node's workers
// also answer messages of Send; these replies are ignored.
//
// A Node consumer without a group reads every request of its topic, in addition to other consumers.
// So let only one kind of worker serve a topic.
type StreamersonV1 struct {
	// Topic and Shard complete the topic's name, and Spelling is the position of the shard: see
	// streamersonv1.Topic. Defaults to the topic "DEFAULT" without shards.
	Topic    string
	Shard    string
	Spelling streamersonv1.ShardSpelling
	// RespAs replaces the type "resp" of requests. Node's write streams and all its later versions
	// give every message this type, so they can reach only one operation per topic. Defaults to
	// "resp".
	RespAs string
	// ReplyKeys are other streams that requests may name for their replies. Defaults to none.
	ReplyKeys []string
	// MaxReplies is roughly how many replies a stream keeps; Node never trims. A client that falls
	// further behind misses replies. Defaults to 100,000.
	MaxReplies int64
	// Start is where a new group of the service begins. Defaults to the end, because the beginning
	// of a stream that is never trimmed contains every request ever sent.
	Start redisio.Start
}

const (
	respType   = "resp"
	v1Timeout  = 3 * time.Second
	v1Replies  = 100_000
	headerMute = ":mute" // "1": no reply is wanted, which v1 cannot express
)

func (w StreamersonV1) speak(config, namespace string) (dialect, error) {
	topic := streamersonv1.Topic{Namespace: namespace, Topic: w.Topic, Shard: w.Shard, Spelling: w.Spelling}
	f := v1Requests{alias: w.RespAs, own: topic.Outgoing()}
	for _, s := range []streamersonv1.ShardSpelling{streamersonv1.ShardInTopic, streamersonv1.ShardTwice,
		streamersonv1.ShardAtEnd} {
		topic := topic
		topic.Spelling = s
		f.allowed = append(f.allowed, topic.Outgoing())
	}
	f.allowed = append(f.allowed, w.ReplyKeys...)
	d := dialect{
		keys:    slot.Topic{Requests: topic.Incoming(), Replies: f.allowed},
		request: f,
		reply:   v1Replied{},
		timeout: v1Timeout,
		start:   w.Start,
		shared:  f.own,
		most:    w.MaxReplies,
	}
	d.most = cmp.Or(d.most, v1Replies)
	if d.start.IsZero() {
		d.start = redisio.StartEnd()
	}
	return d, errors.Join(slot.CheckTopic(config, namespace), w.validate())
}

func (w StreamersonV1) validate() error {
	m := redisio.MistakesOf("StreamersonV1")
	if len(w.Topic)+len(w.Shard) > 400 {
		m.Add("Topic", "is longer than 400 bytes with its shard", "choose shorter names")
	}
	if w.Spelling < streamersonv1.ShardInTopic || w.Spelling > streamersonv1.ShardAtEnd {
		m.Add("Spelling", fmt.Sprintf("is %d", w.Spelling), "choose redisio.ShardInTopic, ShardTwice or ShardAtEnd")
	}
	if w.Spelling != streamersonv1.ShardInTopic && w.Shard == "" {
		m.Add("Spelling", "is set without Shard", "set Shard as well, or leave it out")
	}
	if slices.Contains(w.ReplyKeys, "") {
		m.Add("ReplyKeys", "has an empty key", "leave it out")
	}
	if w.MaxReplies < 0 {
		m.Add("MaxReplies", "is negative", "leave it 0 for 100,000 replies")
	}
	return m.Err()
}

var v1Wire = streamersonv1.Format[[]byte](wire.Opaque{Codec: redisio.Bytes()})

// v1Requests reads and writes requests of streamerson v1.
type v1Requests struct {
	alias   string
	own     string   // default reply stream
	allowed []string // reply streams that requests may name
}

func (v1Requests) Encode(
	dst redisio.Fields,
	buf []byte,
	e *redisio.Envelope,
	r Request,
) (redisio.Fields, []byte, error) {
	body := putRequest(e, r)
	if e.ReplyTo == "" {
		e.Headers = append(e.Headers, redisio.Header{Name: headerMute, Value: "1"})
	}
	return v1Wire.Encode(dst, buf, e, body)
}

func (f v1Requests) Decode(entry *redisio.Entry, e *redisio.Envelope) (Request, error) {
	body, err := v1Wire.Decode(entry, e)
	if err != nil {
		return Request{}, err
	}
	mute := false
	e.Headers = slices.DeleteFunc(
		e.Headers,
		func(h redisio.Header) bool { // the only reserved header accepted from outside
			mute = mute || h.Name == headerMute
			return strings.HasPrefix(h.Name, ":")
		},
	)
	if e.Type == respType && f.alias != "" {
		e.Type = f.alias
	}
	switch {
	case mute:
		e.ReplyTo = ""
	case !slices.Contains(f.allowed, e.ReplyTo):
		e.ReplyTo = f.own
	}
	return takeRequest(entry, e, body)
}

// v1Replied reads and writes replies of streamerson v1.
type v1Replied struct{}

// v1Failure is the payload of an error.
type v1Failure struct {
	Error struct {
		Code    Code   `json:"code"`
		Message string `json:"message"`
		Status  int    `json:"status,omitempty"`
	} `json:"error"`
}

func (f v1Replied) Encode(
	dst redisio.Fields,
	buf []byte,
	e *redisio.Envelope,
	r Response,
) (redisio.Fields, []byte, error) {
	sourceID := sourceOf(e.Headers)
	if r.kind == kindError {
		var said v1Failure
		said.Error.Code, said.Error.Message, said.Error.Status = r.code, string(r.Body), r.Status
		r.Body, _ = json.Marshal(said) // strings and a number can always be encoded
		r.ContentType = "application/json"
	}
	r.Headers = slices.DeleteFunc(
		slices.Clone(r.Headers),
		func(h flow.Header) bool { return h.Name == streamersonv1.HeaderSourceID },
	)
	r.wait = 0 // Node has no such header
	body := putReply(e, r)
	e.Type = respType
	if sourceID != "" {
		e.Headers = append(e.Headers, redisio.Header{Name: streamersonv1.HeaderSourceID, Value: sourceID})
	}
	fields, grown, err := v1Wire.Encode(dst, buf, e, body)
	if errors.Is(err, streamersonv1.ErrNotJSON) && r.kind != kindError {
		e.Headers = append(e.Headers[:0], redisio.Header{Name: streamersonv1.HeaderSourceID, Value: sourceID})
		return f.Encode(
			dst,
			buf,
			e,
			failureOf(Errorf(CodeInternal, "the handler returned invalid JSON")),
		)
	}
	return fields, grown, err
}

func (v1Replied) Decode(entry *redisio.Entry, e *redisio.Envelope) (Response, error) {
	body, err := v1Wire.Decode(entry, e)
	if err != nil {
		return Response{}, err
	}
	r, err := takeReply(entry, e, body)
	r.kind, r.run, r.seq = kindReply, "", 0
	if r.code != "" {
		r.kind = kindError
		var said v1Failure
		if json.Unmarshal(body, &said) == nil {
			r.Body = []byte(said.Error.Message)
		}
	}
	return r, err
}

func sourceOf(headers []redisio.Header) string {
	for _, h := range headers {
		if h.Name == streamersonv1.HeaderSourceID {
			return h.Value
		}
	}
	return ""
}
