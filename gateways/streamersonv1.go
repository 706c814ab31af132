package gateways

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// StreamersonV1 is the Wire of streamerson for Node: a service that its gateways and awaiters ask,
// a client that asks its workers. The topic that NewService and NewClient are given is its
// namespace: what Node makes by new Topic('x') is "x".
//
//	svc := gateways.NewService(rdb, "my-stream-topic", gateways.ServiceConfig{Wire: gateways.StreamersonV1{RespAs: "helloWorldEvent"}})
//
// Requests are entries of <namespace>::<topic>::CONSUMER_INCOMING, replies of
// <namespace>::<topic>::PRODUCER_OUTGOING, in the format of redisio.StreamersonV1. A reply has the
// id and the sourceId of its request, and the type "resp". It goes to the destination that the
// request names, if that is the topic's own stream of replies or one of ReplyKeys; whatever else a
// request names, its reply goes to the topic's own stream, where Node looks for it.
//
// Errors are answered too: the payload is
//
//	{"error":{"code":"no_handler","message":"no handler for requests of type \"x\""}}
//
// and the headers have the code under ":code", by which a Client here knows it from a value (and
// ":status", where there is one). To Node it is the value of dispatch(), or the body that its
// gateway sends, with status 200.
//
// Payloads of Node are JSON. Handlers and calls of strings see what a JSON string says. An answer
// that is nothing, as by HandleVoid, is {} to Node; null, false, 0 and "" become text, see
// redisio.StreamersonV1.
//
// Differences to the default Wire: all clients share one stream of replies, so each reads those of
// all; no streamed replies (Stream fails, HandleStream answers with CodeInvalid), no Requests and
// Reply; services are not told of calls that were given up, only of deadlines, and of those by
// clients of this package only. A call without deadline ends after 3 s, as in Node. Workers of Node
// answer what Send sends, too, and nobody reads it.
//
// A consumer of Node without a group reads every request of its topic, whoever else does: let one kind of worker
// serve a topic.
type StreamersonV1 struct {
	// Topic and Shard are the rest of the topic's name, and Spelling where the shard stands: see
	// redisio.StreamersonTopic. The default is the topic "DEFAULT" without shards.
	Topic    string
	Shard    string
	Spelling redisio.ShardSpelling
	// RespAs is what requests of type "resp" are taken for. Node's write streams give all messages
	// this type, and so does everything of its later versions, whatever type they are asked for; so
	// one operation for each topic is all that they can reach. The default is "resp" itself.
	RespAs string
	// ReplyKeys are other streams where requests may have their replies sent. The default is none.
	ReplyKeys []string
	// MaxReplies is how many replies a stream of them keeps, roughly: Node never trims. A client
	// that is further behind misses some. The default is 100,000.
	MaxReplies int64
	// Start is where the service's group begins if it does not exist yet. The default is the end:
	// the beginning of a stream that is never trimmed is everything that was ever asked.
	Start redisio.Start
}

const (
	respType   = "resp"
	v1Timeout  = 3 * time.Second
	v1Replies  = 100_000
	headerMute = ":mute" // "1": no reply is wanted, which v1 has no word for
)

func (w StreamersonV1) speak(config, namespace string) (dialect, error) {
	topic := redisio.StreamersonTopic{Namespace: namespace, Topic: w.Topic, Shard: w.Shard, Spelling: w.Spelling}
	f := v1Requests{alias: w.RespAs, own: topic.Outgoing()}
	for _, s := range []redisio.ShardSpelling{redisio.ShardInTopic, redisio.ShardTwice, redisio.ShardAtEnd} {
		topic := topic
		topic.Spelling = s
		f.allowed = append(f.allowed, topic.Outgoing())
	}
	f.allowed = append(f.allowed, w.ReplyKeys...)
	d := dialect{
		keys:    keys{requests: topic.Incoming(), replies: f.allowed},
		request: f,
		reply:   v1Replied{},
		timeout: v1Timeout,
		start:   w.Start,
		shared:  f.own,
		most:    w.MaxReplies,
	}
	def(&d.most, v1Replies)
	if d.start.IsZero() {
		d.start = redisio.StartEnd()
	}
	return d, errors.Join(checkTopic(config, namespace), w.validate())
}

func (w StreamersonV1) validate() error {
	var errs []error
	bad := func(field, problem, fix string) {
		errs = append(errs, &redisio.ConfigError{Type: "StreamersonV1", Field: field, Problem: problem, Fix: fix})
	}
	if len(w.Topic)+len(w.Shard) > 400 {
		bad("Topic", "is longer than 400 bytes with its shard", "choose shorter names")
	}
	if w.Spelling < redisio.ShardInTopic || w.Spelling > redisio.ShardAtEnd {
		bad("Spelling", fmt.Sprintf("is %d", w.Spelling), "choose redisio.ShardInTopic, ShardTwice or ShardAtEnd")
	}
	if w.Spelling != redisio.ShardInTopic && w.Shard == "" {
		bad("Spelling", "is set without Shard", "set Shard as well, or leave it out")
	}
	if slices.Contains(w.ReplyKeys, "") {
		bad("ReplyKeys", "has an empty key", "leave it out")
	}
	if w.MaxReplies < 0 {
		bad("MaxReplies", "is negative", "leave it 0 for 100,000 replies")
	}
	return errors.Join(errs...)
}

var v1Wire = redisio.StreamersonV1[[]byte](opaque{redisio.Bytes()})

// v1Requests reads and writes requests of streamerson v1.
type v1Requests struct {
	alias   string
	own     string   // where replies go
	allowed []string // where they may go
}

func (v1Requests) Encode(
	dst redisio.Fields,
	buf []byte,
	e *redisio.Envelope,
	r Request,
) (redisio.Fields, []byte, error) {
	putRequest(e, &r)
	if e.ReplyTo == "" {
		e.Headers = append(e.Headers, redisio.Header{Name: headerMute, Value: "1"})
	}
	return v1Wire.Encode(dst, buf, e, r.Body)
}

func (f v1Requests) Decode(entry *redisio.Entry, e *redisio.Envelope) (Request, error) {
	body, err := v1Wire.Decode(entry, e)
	if err != nil {
		return Request{}, err
	}
	mute := false
	e.Headers = slices.DeleteFunc(
		e.Headers,
		func(h redisio.Header) bool { // none of ours may come from outside but this one
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
		func(h flow.Header) bool { return h.Name == redisio.HeaderSourceID },
	)
	putReply(e, &r)
	e.Type = respType
	if sourceID != "" {
		e.Headers = append(e.Headers, redisio.Header{Name: redisio.HeaderSourceID, Value: sourceID})
	}
	fields, grown, err := v1Wire.Encode(dst, buf, e, r.Body)
	if errors.Is(err, redisio.ErrNotJSON) && r.kind != kindError {
		e.Headers = append(e.Headers[:0], redisio.Header{Name: redisio.HeaderSourceID, Value: sourceID})
		return f.Encode(
			dst,
			buf,
			e,
			failureOf(Errorf(CodeInternal, "the handler's answer is not the JSON that it says it is")),
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
		if h.Name == redisio.HeaderSourceID {
			return h.Value
		}
	}
	return ""
}
