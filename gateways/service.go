package gateways

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/outbox"
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// ServiceConfig configures a Service. The zero value is the default.
type ServiceConfig struct {
	// Group is the consumer group. Processes of the same group share the requests: one of them
	// handles each. Defaults to "service".
	Group string
	// Workers is how many handlers run at once. Defaults to 64. With 1 they run in the order of the
	// requests.
	Workers int
	// KeyedBy returns a key, such as Request.Key. Requests of the same key are handled one after
	// the other, in their order. Defaults to nil: without order.
	KeyedBy func(Request) string
	// InOrder sends the replies in the order of the requests. A slow handler then delays the
	// replies of later requests. It does not apply with KeyedBy.
	InOrder bool
	// MaxInFlight limits the requests that this process has taken, including waiting ones. No other
	// process handles them, and a client can't refuse them. Defaults to 512 with the default
	// Workers, else to four per worker, at least 16.
	MaxInFlight int
	// Timeout limits each handler call, in addition to the caller's deadline. Defaults to 30 s.
	// Negative disables it. Streamed replies and HandleLong have only the caller's deadline.
	Timeout time.Duration
	// Answers is how many replies are kept for repeated requests, such as after a write with an
	// unknown outcome. A repeated request is answered with the kept reply and not handled again.
	// Replies beyond 16 KiB are not kept. Defaults to 4096. Negative disables it.
	Answers int
	// ReplyTopics are other topics. Their clients may be answered too, for requests that were
	// forwarded. Defaults to none: only the service's own topic.
	ReplyTopics []string
	// Wire is the protocol of requests and replies. Defaults to this project's own. StreamersonV1
	// is for the clients and gateways of streamerson for Node.
	Wire Wire
	// MaxReply limits the bytes of a reply, and of each part of a streamed one. A caller receives
	// CodeReplyTooLarge instead of a larger one. Defaults to 1 MiB. The maximum is 256 MiB.
	MaxReply int
	// MailboxBytes is the most memory that the unread replies of one client take in Redis, for
	// example when the client hangs. Beyond it the service drops the oldest replies and logs a
	// warning. Their calls time out, and Stats has their number. A mailbox is measured when a
	// sixteenth of MailboxBytes was written to it, on average. Defaults to 64 MiB, or to two
	// replies of MaxReply if that is more. Negative disables the limit; then only the number of
	// replies is limited, to 16,384. The replies of StreamersonV1 have the limit of that wire
	// instead.
	MailboxBytes int64
	// Lease, MaxDeliveries, DeadKey and Wait are those of source.StreamConfig. They apply to
	// requests without a reply, and to those of processes that died.
	Lease         time.Duration
	MaxDeliveries int
	DeadKey       string
	Wait          time.Duration
	// Log receives the log messages of the service and its graph. Defaults to the warnings and
	// errors of slog.Default, see flow.Logger.
	Log *slog.Logger
}

const (
	defaultGroup   = "service"
	defaultWorkers = 64
	rememberedMost = 16 << 10
	takenByDefault = 512
	takenEach      = 4
	leastInFlight  = 16
)

// Service answers the requests of a topic. Create it, register handlers, and run it by itself or as
// its Graph.
//
// Every request is answered: with its handler's value or error, or with CodeNoHandler. It is
// acknowledged when its reply is written. A failed handler is not retried if a caller waits,
// because the caller can decide; the handler can request a retry by flow.RetryAfter. A request
// without a reply address is subject to the graph's fault policy: retries, then redelivery to other
// processes, then the dead letters. Expired requests are skipped. If the caller stops waiting, the
// handler is cancelled.
//
// Processes of a group may have different handlers, for example during a deploy. A request of a
// type that only another process handles is handed on until its deadline. The key "{topic}:types"
// contains the types of each process.
//
// Delivery is at least once: if a process dies, another one handles its requests after the lease
// expires.
type Service struct {
	cfg     ServiceConfig
	rdb     redis.UniversalClient
	topic   slot.Topic
	speech  dialect
	allowed []slot.Topic // topics with clients that may be answered
	errs    []error      // of the configuration

	handlers map[string]handler
	wrap     []Middleware
	built    atomic.Bool // a graph was made: the handlers are fixed

	ledger *ledger
	parts  *outbox.Outbox
	onward *outbox.Outbox // writes requests that are handed on
	types  *registry      // nil before there is a graph, or if types are not announced
	stats  serviceCounters
	expiry expiry
}

// handler is registered for a type.
type handler struct {
	unary  Handler
	stream streamHandler
	long   bool // ServiceConfig.Timeout does not apply
}

// Handler answers a request. Middleware wraps it.
type Handler func(ctx context.Context, r *Request) (Response, error)

// Middleware wraps handlers. It may run code before and after next, or not call next at all. It
// also wraps streamed replies; their Response is empty.
type Middleware func(next Handler) Handler

// NewService creates a service for a topic. It does no I/O. Mistakes are reported by Validate and
// by Run.
func NewService(rdb redis.UniversalClient, topic string, cfg ServiceConfig) *Service {
	speech, wrong := speak(cfg.Wire, "NewService", topic)
	s := &Service{cfg: cfg, rdb: rdb, topic: speech.keys, speech: speech, handlers: make(map[string]handler)}
	s.cfg.Timeout = cmp.Or(s.cfg.Timeout, 30*time.Second)
	s.cfg.Answers = cmp.Or(s.cfg.Answers, 4096)
	s.cfg.MaxReply = cmp.Or(s.cfg.MaxReply, defaultMaxReply)
	s.cfg.Log = flow.Thinned(s.cfg.Log)
	s.cfg.Group = cmp.Or(s.cfg.Group, defaultGroup)
	if s.cfg.Workers == 0 {
		s.cfg.Workers = defaultWorkers
		s.cfg.MaxInFlight = cmp.Or(s.cfg.MaxInFlight, takenByDefault)
	}
	s.cfg.MaxInFlight = cmp.Or(s.cfg.MaxInFlight, max(leastInFlight, takenEach*s.cfg.Workers))
	m := redisio.MistakesOf("NewService")
	m.Client(rdb)
	m.Join(wrong)
	mistakes := redisio.MistakesOf("ServiceConfig")
	checkReplies(mistakes, s.cfg.MaxReply, s.cfg.MailboxBytes)
	mistakes.If(cfg.Wire != nil && len(cfg.ReplyTopics) > 0, "ReplyTopics", "is set together with Wire",
		"name the keys in StreamersonV1.ReplyKeys")
	for _, t := range cfg.ReplyTopics {
		mistakes.Join(slot.CheckTopic("ServiceConfig", t))
	}
	s.mistake(m.Err())
	s.mistake(mistakes.Err())
	s.parts = outbox.New(
		rdb,
		writer.Config{
			Tuning: writer.Tuning{
				OnlyExisting: true,
				MaxBytes:     mailboxBudget(s.cfg.MailboxBytes, s.cfg.MaxReply),
				MaxPayload:   payloadFor(s.cfg.MaxReply),
			},
			MaxLen: mailboxLen,
			OnEvent: func(e redisio.Event) {
				s.cfg.Log.Warn("mailbox: "+e.Kind.String(), "key", e.Key, "entries", e.Count, "error", e.Err)
				s.mailboxEvent(e)
			},
		},
	)
	s.parts.Patient = true
	s.onward = outbox.New(
		rdb,
		writer.Config{
			Key:    s.topic.Requests,
			Tuning: writer.Tuning{OnlyExisting: true, MaxPayload: payloadFor(maxMaxReply)},
		},
	)
	s.allowed = []slot.Topic{s.topic}
	for _, t := range cfg.ReplyTopics {
		s.allowed = append(s.allowed, slot.TopicOf(t))
	}
	s.ledger = newLedger(s.cfg.Answers)
	return s
}

// boxing returns how the service's replies are put into mailboxes.
func (s *Service) boxing(full func(flow.Message[Response]) error) boxing {
	return boxing{
		maxReply: s.cfg.MaxReply,
		bytes:    mailboxBudget(s.cfg.MailboxBytes, s.cfg.MaxReply),
		full:     full,
		told:     s.mailboxEvent,
	}
}

// mailboxEvent adds dropped replies to the counter.
func (s *Service) mailboxEvent(e redisio.Event) {
	if e.Kind == redisio.EventDropped {
		s.stats.dropped.Add(uint64(e.Count))
	}
}

// order returns the options of the stage that serves.
func (c *ServiceConfig) order() []flow.StageOption {
	opts := []flow.StageOption{flow.Workers(c.Workers)}
	switch {
	case c.KeyedBy != nil:
		opts = append(opts, flow.KeyedBy(c.KeyedBy))
	case !c.InOrder && c.Workers > 1:
		opts = append(opts, flow.Unordered())
	}
	return opts
}

func (s *Service) mistake(err error) {
	if err != nil {
		s.errs = append(s.errs, err)
	}
}

// Use wraps all handlers in middleware, the first outermost. Call it before the service runs.
func (s *Service) Use(m ...Middleware) {
	if s.fixed("Use") {
		return
	}
	s.wrap = append(s.wrap, m...)
}

// HandleFunc registers a handler of bytes for a type of request; see Handle for values. Call it
// before the service runs.
func (s *Service) HandleFunc(typ string, h Handler) { s.register(typ, handler{unary: h}) }

// HandleLong is HandleFunc for work that takes long: ServiceConfig.Timeout does not limit the
// handler, only the caller's deadline does.
func (s *Service) HandleLong(typ string, h Handler) { s.register(typ, handler{unary: h, long: true}) }

func (s *Service) register(typ string, h handler) {
	if s.fixed("a handler") {
		return
	}
	m, field := redisio.MistakesOf("Service"), "handler "+strconv.Quote(typ)
	_, twice := s.handlers[typ]
	m.If(typ == "", field, "has no type", "name the type of request that it answers")
	m.If(h.unary == nil && h.stream == nil, field, "is nil", "give a function")
	m.If(twice, field, "is registered twice", "give each type one handler")
	s.mistake(m.Err())
	s.handlers[typ] = h
}

func (s *Service) fixed(what string) bool {
	m := redisio.MistakesOf("Service")
	m.If(s.built.Load(), what, "is registered after Graph or Run", "register everything first")
	s.mistake(m.Err())
	return m.Err() != nil
}

// Topic returns the key of the stream of requests.
func (s *Service) Topic() string { return s.topic.Requests }

// Types returns the types of requests that have a handler, sorted.
func (s *Service) Types() []string {
	types := make([]string, 0, len(s.handlers))
	for t := range s.handlers {
		types = append(types, t)
	}
	slices.Sort(types)
	return types
}

// Validate reports all mistakes in the service's configuration. It needs no server.
func (s *Service) Validate() error { return s.graph().Validate() }

// Run runs the service until ctx is done and the requests it has taken are answered: see flow's
// Graph.Run.
func (s *Service) Run(ctx context.Context) error { return s.Graph().Run(ctx) }

// RunUntilInterrupt runs the service until Ctrl-C: see flow's Graph.RunUntilInterrupt.
func (s *Service) RunUntilInterrupt(ctx context.Context) error {
	return s.Graph().RunUntilInterrupt(ctx)
}

// Graph returns the service as a graph. Use it with a Supervisor, or to inspect it: g.Mermaid().
// Its options are applied after those of the configuration.
func (s *Service) Graph(opts ...flow.GraphOption) *flow.Graph {
	s.built.Store(true)
	return s.graph(opts...)
}

func (s *Service) graph(opts ...flow.GraphOption) *flow.Graph {
	in := source.StreamConfig[Request]{
		Key:         s.topic.Requests,
		Group:       s.cfg.Group,
		Start:       s.speech.start,
		Format:      received{s.speech.request},
		MaxInFlight: s.cfg.MaxInFlight,
		Tuning: reader.Tuning{
			Lease:         s.cfg.Lease,
			DeleteSettled: s.speech.own,
		},
		MaxDeliveries: s.cfg.MaxDeliveries,
		DeadKey:       s.cfg.DeadKey,
		Wait:          s.cfg.Wait,
	}
	named := []flow.StageOption{flow.Name("requests")}
	for _, err := range s.errs {
		named = append(named, flow.InvalidError(err))
	}
	requests := source.Stream(s.rdb, in, named...)
	served := flow.Step(
		requests,
		"serve",
		func() flow.StepFunc[Request, Response] { return s.Serve },
		s.cfg.order()...)
	late := make(lateReplies, lateMost)
	again := flow.Step(
		source.Chan(late, flow.Name("late"), flow.Traits{Untraced: true}),
		"again",
		func() flow.StepFunc[flow.Message[Response], Response] { return lateReply },
	)
	parts := []flow.Part{
		flow.To(served, s.speech.replies(s.rdb, s.cfg.Wait, s.boxing(late.put)), flow.Name("replies")),
		flow.To(
			again,
			s.speech.replies(s.rdb, forever, s.boxing(whileWanted)),
			flow.Name("late replies"),
		),
		flow.Log(s.cfg.Log),
	}
	if s.topic.Control != "" {
		control := source.Tail(
			s.rdb,
			source.TailConfig[note]{Key: s.topic.Control, Format: nativeNotes, Wait: s.cfg.Wait},
			flow.Name("control"),
			flow.Traits{Untraced: true},
		)
		parts = append(parts, flow.To(control, sink.Func(s.applyControl, flow.Name("apply control"))))
	}
	if s.topic.Types != "" {
		s.makeTypes()
		parts = append(parts, flow.Task("types", s.announce))
	}
	for _, o := range opts {
		parts = append(parts, o)
	}
	return flow.New("service of "+s.topic.Requests, parts...)
}
