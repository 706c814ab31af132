package gateways

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// ServiceConfig configures a Service. The zero value is the default.
type ServiceConfig struct {
	// Group is the consumer group: processes with the same one share the requests, each of which
	// one of them handles. The default is "service".
	Group string
	// Concurrency is how handlers run: by default 64 at once, without order. Others are
	// flow.Workers(8) for replies in the order of the requests, with flow.KeyedBy(func(r
	// gateways.Request) string { return r.Key }) for order per key, and flow.Workers(1) for one
	// after the other.
	Concurrency []flow.StageOption
	// MaxInFlight is how many requests this process takes at once, waiting ones too: what it has
	// taken no other process handles, and a client can't refuse. The default is 512 with the
	// default Concurrency, else four for each handler that runs at once, but 16 at the least.
	MaxInFlight int
	// Timeout bounds each call of a handler, beside the caller's deadline. The default is 30 s; negative means
	// no bound but the caller's. Streamed replies have the caller's only.
	Timeout time.Duration
	// Answers is how many replies are remembered for requests that come a second time, as after a
	// write whose outcome was in doubt: they are answered and not handled again. The default is
	// 4096; negative means none. Replies beyond 16 KiB are not remembered.
	Answers int
	// ReplyTopics are other topics whose clients may be answered: those of requests that were
	// passed on. The default is none but the service's own.
	ReplyTopics []string
	// Wire is how requests and replies are spelled. The default is this project's own;
	// StreamersonV1 is for the clients and gateways of streamerson for Node.
	Wire Wire
	// MaxReply bounds the bytes of a reply, and of each part of a streamed one. A caller gets
	// CodeReplyTooLarge instead of a larger one. Defaults to 1 MiB; the most is 256 MiB.
	MaxReply int
	// Lease, MaxDeliveries, DeadKey and Wait are those of source.StreamConfig; they matter to requests without reply,
	// and to those of processes that died.
	Lease         time.Duration
	MaxDeliveries int
	DeadKey       string
	Wait          time.Duration
	// Log gets what the service and its graph notice. Defaults to the warnings and errors of
	// slog.Default, see flow.Logger.
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

// Service answers the requests of a topic. Make it, give it handlers, and run it: by itself, or as
// the Graph that it is.
//
// Every request is answered: by its handler's value or error, or, when there is no handler, with
// CodeNoHandler. It is acknowledged when its reply is written. A handler that fails is not tried
// again when somebody waits for the answer, who knows best what to do; it can ask for it by
// flow.RetryAfter. A request without reply address goes by the graph's fault policy: retries, then
// other processes, then the dead letters. Requests whose deadline is over are skipped, and those
// whose caller has gone are cancelled.
//
// Processes of a group may have different handlers, as during a deploy: a request whose type this
// process does not know, but another one does, is handed on, up to its deadline. The key
// "{topic}:types" has the types of each process.
//
// Delivery is at least once: when a process dies another one handles its requests again, after the lease.
type Service struct {
	cfg     ServiceConfig
	rdb     redis.UniversalClient
	topic   keys
	speech  dialect
	allowed []keys  // whose clients may be answered
	errs    []error // of the configuration

	handlers map[string]handler
	wrap     []Middleware
	built    atomic.Bool // a graph was made: the handlers are fixed

	ledger *ledger
	parts  *outbox
	onward *outbox   // of requests that are handed on
	types  *registry // nil until there is a graph, and if they are not announced
	stats  serviceCounters
	expiry expiry
}

// handler is what is registered for a type.
type handler struct {
	unary  Handler
	stream streamHandler
}

// Handler answers a request. It is what middleware wraps.
type Handler func(ctx context.Context, r *Request) (Response, error)

// Middleware is around handlers: what it does before and after, and whether it calls next at all,
// is its own affair. Streamed replies go through it too; their Response is empty.
type Middleware func(next Handler) Handler

// NewService makes a service for a topic. It does no I/O. Mistakes are reported by Validate and by Run.
func NewService(rdb redis.UniversalClient, topic string, cfg ServiceConfig) *Service {
	speech, wrong := speak(cfg.Wire, "NewService", topic)
	s := &Service{cfg: cfg, rdb: rdb, topic: speech.keys, speech: speech, handlers: make(map[string]handler)}
	def(&s.cfg.Timeout, 30*time.Second)
	def(&s.cfg.Answers, 4096)
	def(&s.cfg.MaxReply, defaultMaxReply)
	s.mistake(checkMaxReply("ServiceConfig", s.cfg.MaxReply))
	s.cfg.Log = flow.Thinned(s.cfg.Log)
	if s.cfg.Group == "" {
		s.cfg.Group = defaultGroup
	}
	if s.cfg.Concurrency == nil {
		def(&s.cfg.MaxInFlight, takenByDefault)
		s.cfg.Concurrency = []flow.StageOption{flow.Workers(defaultWorkers), flow.Unordered()}
	}
	def(&s.cfg.MaxInFlight, max(leastInFlight, takenEach*workersOf(s.cfg.Concurrency)))
	if redisio.IsNilClient(rdb) {
		s.mistake(
			&redisio.ConfigError{
				Type:    "NewService",
				Field:   "rdb",
				Problem: "the Redis client is nil",
				Fix:     "pass one, see redisio.Connect",
			},
		)
	}
	s.mistake(wrong)
	s.parts = newOutbox(
		rdb,
		redisio.WriterConfig{OnlyExisting: true, MaxLen: mailboxLen, MaxPayload: payloadFor(s.cfg.MaxReply)},
	)
	s.parts.patient = true
	s.onward = newOutbox(
		rdb,
		redisio.WriterConfig{Key: s.topic.requests, OnlyExisting: true, MaxPayload: payloadFor(maxMaxReply)},
	)
	s.allowed = []keys{s.topic}
	if cfg.Wire != nil && len(cfg.ReplyTopics) > 0 {
		s.mistake(
			&redisio.ConfigError{
				Type:    "ServiceConfig",
				Field:   "ReplyTopics",
				Problem: "is set beside Wire",
				Fix:     "name the keys in StreamersonV1.ReplyKeys",
			},
		)
	}
	for _, t := range cfg.ReplyTopics {
		s.mistake(checkTopic("ServiceConfig", t))
		s.allowed = append(s.allowed, keysOf(t))
	}
	s.ledger = newLedger(s.cfg.Answers)
	return s
}

// workersOf is how many workers options make.
func workersOf(opts []flow.StageOption) int {
	none := func() flow.StepFunc[Request, Response] { return nil }
	stage := flow.Step(source.Of[Request](), "serve", none, opts...)
	n := 1
	for _, s := range flow.New("service", flow.To(stage, sink.Discard[Response]())).Describe().Stages {
		n = max(n, s.Workers)
	}
	return n
}

func (s *Service) mistake(err error) {
	if err != nil {
		s.errs = append(s.errs, err)
	}
}

// Use puts middleware around all handlers, the first outermost. It is to be called before the service runs.
func (s *Service) Use(m ...Middleware) {
	if s.fixed("Use") {
		return
	}
	s.wrap = append(s.wrap, m...)
}

// HandleFunc registers a handler of bytes for a type of request; see Handle for values. It is to be
// called before the service runs.
func (s *Service) HandleFunc(typ string, h Handler) { s.register(typ, handler{unary: h}) }

func (s *Service) register(typ string, h handler) {
	if s.fixed("a handler") {
		return
	}
	fault := func(problem, fix string) {
		s.mistake(
			&redisio.ConfigError{Type: "Service", Field: "handler " + strconv.Quote(typ), Problem: problem, Fix: fix},
		)
	}
	switch _, twice := s.handlers[typ]; {
	case typ == "":
		fault("has no type", "name the type of request that it answers")
	case h.unary == nil && h.stream == nil:
		fault("is nil", "give a function")
	case twice:
		fault("is registered twice", "give each type one handler")
	}
	s.handlers[typ] = h
}

func (s *Service) fixed(what string) bool {
	if s.built.Load() {
		s.mistake(
			&redisio.ConfigError{
				Type:    "Service",
				Field:   what,
				Problem: "came after Graph or Run",
				Fix:     "register everything first",
			},
		)
		return true
	}
	return false
}

// Types returns the types of requests that have a handler, sorted.
func (s *Service) Types() []string {
	types := make([]string, 0, len(s.handlers))
	for t := range s.handlers {
		types = append(types, t)
	}
	slices.Sort(types)
	return types
}

// Validate reports all mistakes in how the service was made, without a server.
func (s *Service) Validate() error { return s.Graph().Validate() }

// Run runs the service until ctx is done, and what it has taken is answered: see flow's Graph.Run.
func (s *Service) Run(ctx context.Context) error { return s.Graph().Run(ctx) }

// RunUntilInterrupt runs the service until Ctrl-C: see flow's Graph.RunUntilInterrupt.
func (s *Service) RunUntilInterrupt(ctx context.Context) error {
	return s.Graph().RunUntilInterrupt(ctx)
}

// Graph is the service as the graph that it is, for a Supervisor, or to look at: g.Mermaid(). Its options come after
// those of the configuration.
func (s *Service) Graph(opts ...flow.GraphOption) *flow.Graph {
	s.built.Store(true)
	in := source.StreamConfig[Request]{
		Key:           s.topic.requests,
		Group:         s.cfg.Group,
		Start:         s.speech.start,
		Format:        received{s.speech.request},
		MaxInFlight:   s.cfg.MaxInFlight,
		Lease:         s.cfg.Lease,
		MaxDeliveries: s.cfg.MaxDeliveries,
		DeadKey:       s.cfg.DeadKey,
		Wait:          s.cfg.Wait,
		DeleteSettled: s.speech.own,
	}
	named := []flow.StageOption{flow.Name("requests")}
	for _, err := range s.errs {
		named = append(named, flow.InvalidError(err))
	}
	requests := source.Stream(s.rdb, in, named...)
	served := flow.Step(
		requests,
		"serve",
		func() flow.StepFunc[Request, Response] { return s.serve },
		s.cfg.Concurrency...)
	late := make(lateReplies, lateMost)
	again := flow.Step(
		source.Chan(late, flow.Name("late")),
		"again",
		func() flow.StepFunc[flow.Message[Response], Response] { return lateReply },
	)
	parts := []flow.Part{
		flow.To(served, s.speech.replies(s.rdb, s.cfg.Wait, s.cfg.MaxReply, late.put), flow.Name("replies")),
		flow.To(
			again,
			s.speech.replies(s.rdb, forever, s.cfg.MaxReply, whileWanted),
			flow.Name("late replies"),
		),
		flow.Log(s.cfg.Log),
	}
	if s.topic.control != "" {
		control := source.Tail(
			s.rdb,
			source.TailConfig[note]{Key: s.topic.control, Format: noteFormat{}, Wait: s.cfg.Wait},
			flow.Name("control"),
		)
		parts = append(parts, flow.To(control, sink.Func(s.heed, flow.Name("heed"))))
	}
	if s.topic.types != "" {
		s.announces()
		ticks := source.Every(announceEvery, func(t time.Time) time.Time { return t }, flow.Name("clock"))
		parts = append(
			parts,
			flow.To(ticks, flow.NewSink("types", func() flow.Writer[time.Time] { return &announcer{s.types, s.onward} },
				flow.OnFault(flow.Drop))),
		)
	}
	for _, o := range opts {
		parts = append(parts, o)
	}
	return flow.New("service of "+s.topic.requests, parts...)
}
