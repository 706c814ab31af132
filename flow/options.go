package flow

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"time"
)

// StageOption configures one stage. Via and all operators accept StageOptions; sources and sinks
// accept those that apply to them. [Traits] are StageOptions of authors.
type StageOption interface{ stageOption(*stageConfig) }

type stageOption func(*stageConfig)

func (o stageOption) stageOption(c *stageConfig) { o(c) }

type stageConfig struct {
	Traits
	name      string
	named     bool // named by the user: then a clash is a mistake; else the name gets a number
	workers   int
	unordered bool
	keyedBy   any    // a keyer[T] around a func(T) K; Validate checks its type
	keyFunc   string // the type of that function, for errors
	async     bool
	inTurn    bool          // see InTurn
	within    time.Duration // of a sink: the longest time a chunk waits to be full
	chunk     int
	calls

	maxInFlight int
	maxBytes    int

	mistakes
}

// mistakes are found while the blueprint is made.
type mistakes struct{ issues []BuildError }

func (c *mistakes) issue(field, issue, fix string) {
	c.issues = append(c.issues, BuildError{Field: field, Issue: issue, Fix: fix})
}

// Name names the stage in errors, snapshots and drawings. Without it, the name of the operator is
// used.
func Name(name string) StageOption {
	return stageOption(func(c *stageConfig) {
		c.name, c.named = name, true
		if name == "" {
			c.issue("Name", "the name is empty", "leave the option out, or give a name")
		}
	})
}

// DefaultName names the stage like Name, for operators that are built of others. A name that is taken
// gets a number, and the user's Name wins.
func DefaultName(name string) StageOption {
	return stageOption(func(c *stageConfig) {
		if !c.named {
			c.name = name
		}
	})
}

// Workers runs the stage's handler on n goroutines concurrently. The output keeps the order of the
// input, unless Unordered or KeyedBy is also given. Each worker has its own handler, so with
// Workers a handler's state belongs to one worker and not to the stage.
func Workers(n int) StageOption {
	return count("Workers", "workers", n, func(c *stageConfig) *int { return &c.workers })
}

// Unordered lets a stage with Workers emit messages in the order in which they are finished. One
// slow message does not delay the others, except quick ones that went to the same worker together
// with it; these are delayed by less than a millisecond.
func Unordered() StageOption { return stageOption(func(c *stageConfig) { c.unordered = true }) }

// KeyedBy makes a stage with Workers serial within a key and parallel across keys. Messages of the
// same key are handled one after the other, in order, and their output keeps that order. A retry
// delays only its own key; in a sink, it delays all keys of the same worker. A message that is
// given back (by Nack, and so by DefaultPolicy after its third retry) is overtaken by the messages
// behind it. The policy HoldKey prevents this. T must be the type of the stage's input.
func KeyedBy[T any, K comparable](key func(T) K) StageOption {
	return stageOption(func(c *stageConfig) {
		if key == nil {
			c.issue("KeyedBy", "the key function is nil", "give a function from the input type to a comparable key")
			return
		}
		seed := maphash.MakeSeed()
		c.keyFunc = fmt.Sprintf("%T", key)
		c.keyedBy = keyer[T](func(v T) uint64 { return maphash.Comparable(seed, key(v)) })
	})
}

// keyer returns the hash of a message's key. Two keys with the same hash share a lane, which costs
// only parallelism.
type keyer[T any] func(T) uint64

// Async gives the stage its own goroutine, so that it runs concurrently with the stages before it.
// Without it, neighbouring stages with one input and one output run as one loop.
func Async() StageOption { return stageOption(func(c *stageConfig) { c.async = true }) }

// OnFault sets the stage's fault policy. Defaults to the graph's policy.
func OnFault(p Policy) StageOption {
	return stageOption(func(c *stageConfig) {
		c.policy = p
		if p == nil {
			c.issue("OnFault", "the policy is nil", "leave the option out, or give a policy")
		}
	})
}

// InTurn has the sources of a stage with several inputs begin to read when the stage first picks
// their input: see Picker. Until then they are open and read nothing. A source begins to read as
// always if its messages also reach another stage, or an input that was picked. The option is for
// operators made with Gather or Pair if their handler is a Picker.
func InTurn() StageOption { return stageOption(func(c *stageConfig) { c.inTurn = true }) }

// CallOptions returns those options that concern a single call, which are OnFault and Timeout. It is
// for operators made of several stages, which pass all options to one of them.
func CallOptions(opts ...StageOption) StageOption {
	var given stageConfig
	given.apply(opts)
	return stageOption(func(c *stageConfig) {
		if given.policy != nil {
			c.policy = given.policy
		}
		if given.timeout > 0 {
			c.timeout = given.timeout
		}
	})
}

// ChunkSize is the largest number of messages in a chunk. It limits how many messages a source
// reads at once and a sink writes at once. For a stage with several outputs, or with an edge before
// it, it limits the chunks on its edges. Elsewhere it has no effect. Defaults to 256. A stage does
// not wait for a chunk to fill.
func ChunkSize(n int) StageOption {
	return count("ChunkSize", "messages", n, func(c *stageConfig) *int { return &c.chunk })
}

// Within makes a sink wait until its chunk is full (ChunkSize), but not longer than d after the
// chunk's first message arrived. Without it, a sink writes the messages that have arrived. With it,
// the sink holds up to a chunk of messages and runs on its own goroutine, so that a slow stage
// before it does not delay its timer.
func Within(d time.Duration) StageOption {
	return stageOption(func(c *stageConfig) {
		c.within = d
		c.positive("Within", d, ", or leave the option out")
	})
}

// Timeout limits each call of the stage's handler or Writer, including Open, Flush, End, Ring and
// PortEnd. After d the context of the call is done with context.DeadlineExceeded. A handler that
// observes its context then fails, and the fault policy decides on its message.
func Timeout(d time.Duration) StageOption {
	return stageOption(func(c *stageConfig) {
		c.timeout = d
		c.positive("Timeout", d, ", or leave the option out")
	})
}

// MaxInFlight is the number of a source's entries that may be unsettled at once. Defaults to 4096.
// Within this limit, a source that gives back (see Traits) reads ahead only what the stages behind it settle in
// about a second, plus what they hold.
func MaxInFlight(n int) StageOption {
	return count("MaxInFlight", "entries", n, func(c *stageConfig) *int { return &c.maxInFlight })
}

// MaxBytes is the number of bytes of a source's entries that may be unsettled at once, as far as
// the source knows their sizes. Defaults to 64 MiB. The last entry of a read may exceed the limit,
// so that the largest entry still gets through.
func MaxBytes(n int) StageOption {
	return count("MaxBytes", "bytes", n, func(c *stageConfig) *int { return &c.maxBytes })
}

// count sets a number that must be positive.
func count(field, noun string, n int, at func(*stageConfig) *int) StageOption {
	return stageOption(func(c *stageConfig) {
		*at(c) = n
		if n < 1 {
			c.issue(field, fmt.Sprintf("%d %s", n, noun), "give 1 or more")
		}
	})
}

// positive reports a duration that is not positive.
func (c *mistakes) positive(field string, d time.Duration, fix string) {
	if d <= 0 {
		c.issue(field, d.String(), "give a positive duration"+fix)
	}
}

func (c *stageConfig) apply(opts []StageOption) {
	for _, o := range opts {
		if o != nil {
			o.stageOption(c)
		}
	}
}

const (
	defaultChunk       = 256
	defaultMaxInFlight = 4096
	defaultMaxBytes    = 64 << 20
)

// GraphOption configures a graph.
type GraphOption interface {
	Part
	graphOption()
}

type graphOption func(*graphConfig)

func (o graphOption) graphOption() {}

func (o graphOption) part(g *Graph) { o(&g.graphConfig) }

type graphConfig struct {
	policy       Policy
	policySet    bool // set by the user
	drainTimeout time.Duration
	ackTimeout   time.Duration
	killGrace    time.Duration
	restarts     int
	window       time.Duration
	backoff      time.Duration
	log          *slog.Logger // nil: the default
	hooks        Hooks
	tracer       Tracer // nil: the one of the context
	mistakes
}

func newGraphConfig() graphConfig {
	return graphConfig{
		policy:       DefaultPolicy,
		drainTimeout: 30 * time.Second,
		ackTimeout:   5 * time.Second,
		killGrace:    5 * time.Second,
		restarts:     5,
		window:       time.Minute,
		backoff:      100 * time.Millisecond,
	}
}

// Faults sets the fault policy of stages that have no policy of their own. Defaults to
// DefaultPolicy. For entries that a source with dead letters cannot decode, it defaults to
// DeadLetter.
func Faults(p Policy) GraphOption {
	return graphOption(func(c *graphConfig) {
		c.policy, c.policySet = p, true
		if p == nil {
			c.issue("Faults", "the policy is nil", "leave the option out, or give a policy")
		}
	})
}

// DrainTimeout limits the drain. After d the handlers' contexts are cancelled, and unfinished
// entries are given back to the sources. Defaults to 30s. The end may take longer by KillGrace, for
// handlers that ignore their context, and by twice AckTimeout, for sources that do not respond. If
// a process has a fixed time to end, as under Kubernetes, the sum should fit into it.
func DrainTimeout(d time.Duration) GraphOption {
	return graphOption(func(c *graphConfig) {
		c.drainTimeout = d
		if d < 0 {
			c.issue("DrainTimeout", d.String(), "give zero or more")
		}
	})
}

// AckTimeout limits the last commit of each source at the end, and each Close of a Reader or
// Writer. Defaults to 5s.
func AckTimeout(d time.Duration) GraphOption {
	return graphOption(func(c *graphConfig) {
		c.ackTimeout = d
		c.positive("AckTimeout", d, "")
	})
}

// KillGrace is how long the end waits for handlers after their context has been cancelled. A
// handler that ignores its context for longer is abandoned and reported as stuck. Defaults to 5s.
func KillGrace(d time.Duration) GraphOption {
	return graphOption(func(c *graphConfig) {
		c.killGrace = d
		c.positive("KillGrace", d, "")
	})
}

// Restarts limits how often a region may fail and be restarted. If it fails more than n times
// within the window, the graph stops with a *StageError. The waits before restarts grow from
// backoff, with jitter. Defaults to 5 restarts in a minute, from 100ms.
func Restarts(n int, window, backoff time.Duration) GraphOption {
	return graphOption(func(c *graphConfig) {
		c.restarts, c.window, c.backoff = n, window, backoff
		if n < 0 || window <= 0 || backoff < 0 {
			c.issue("Restarts", fmt.Sprintf("%d in %v from %v", n, window, backoff),
				"give a count and a backoff of zero or more and a positive window")
		}
	})
}

// Hooks are functions that a graph calls on events. Any may be nil. They run on the graph's
// goroutines, must be quick, and are not called for messages that succeed.
type Hooks struct {
	// Restarted is called when a region is about to be restarted.
	Restarted func(stage string, restarts int, err error)
	// Faulted is called for each fault with the decision.
	Faulted func(*Fault, Decision)
	// Committed is called after a source has committed settlements.
	Committed func(source string, settled []Settlement)
}

// OnEvent sets the graph's hooks.
func OnEvent(h Hooks) GraphOption { return graphOption(func(c *graphConfig) { c.hooks = h }) }
