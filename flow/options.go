package flow

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"time"
)

// StageOption sets something of one stage: Via and all operators take them, sources and sinks where they apply.
type StageOption func(*stageConfig)

type stageConfig struct {
	name      string
	named     bool // by the user: then a clash is a mistake, else the name gets a number
	workers   int
	unordered bool
	keyedBy   any    // func(T) K behind a keyer[T]; its type is checked by Validate
	keyFunc   string // the type of that function, for errors
	async     bool
	inline    bool
	oneWorker string // why it must have no more than one
	policy    Policy
	holds     int
	holdsFor  time.Duration
	joins     bool
	within    time.Duration // a sink's: how long a chunk may wait to be full
	passes    bool          // it only passes on, holds and joins what it is given
	pairs     bool          // what it does with one input depends on the others
	chunk     int
	timeout   time.Duration

	maxInFlight int
	maxBytes    int
	redelivers  bool
	returns     bool // what has not been begun may go back at a drain
	deadLetters bool
	effects     bool

	issues []BuildError // mistakes found while the blueprint was made
}

// Name names the stage, in errors, snapshots and drawings. Without it a stage is named by its operator.
func Name(name string) StageOption {
	return func(c *stageConfig) {
		c.name, c.named = name, true
		if name == "" {
			c.issue("Name", "the name is empty", "leave the option out, or give a name")
		}
	}
}

// Workers runs the stage's handler on n goroutines at once. The order of the output stays that of the input, unless
// Unordered or KeyedBy is given too. Each worker has a handler of its own, so with Workers a handler's state is a
// worker's, not the stage's.
func Workers(n int) StageOption {
	return func(c *stageConfig) {
		c.workers = n
		if n < 1 {
			c.issue("Workers", fmt.Sprintf("%d workers", n), "give 1 or more")
		}
	}
}

// OneWorker declares that the stage's state is the stage's and not a worker's, so that Validate
// refuses Workers for it. why says so in a few words.
func OneWorker(why string) StageOption { return func(c *stageConfig) { c.oneWorker = why } }

// Inline runs a source in the goroutine of the stages behind it, without an edge between. What they
// have buffered goes on before each Read. One that blocks keeps their alarms waiting: then nothing
// behind it should have any, as batches have.
func Inline() StageOption { return func(c *stageConfig) { c.inline = true } }

// Unordered lets the output of a stage with Workers come in the order in which the work gets done:
// one slow message does not hold up the others, apart from quick ones that went to the same worker
// with it, and these for less than a millisecond.
func Unordered() StageOption { return func(c *stageConfig) { c.unordered = true } }

// KeyedBy makes a stage with Workers serial within a key and parallel across keys: messages of the same key are handled
// one after the other, in order, and their output keeps that order; a retry delays its own key
// only. Of a sink, it delays the keys that have the same worker. A message that is given back
// (Nack, and so DefaultPolicy after its third retry) is overtaken by those behind it; HoldKey is
// the policy that prevents this. T must be the type of the stage's input.
func KeyedBy[T any, K comparable](key func(T) K) StageOption {
	return func(c *stageConfig) {
		if key == nil {
			c.issue("KeyedBy", "the key function is nil", "give a function from the input type to a comparable key")
			return
		}
		seed := maphash.MakeSeed()
		c.keyFunc = fmt.Sprintf("%T", key)
		c.keyedBy = keyer[T](func(v T) uint64 { return maphash.Comparable(seed, key(v)) })
	}
}

// keyer gives the hash of a message's key. Two keys with the same hash share a lane, which costs parallelism and
// nothing else.
type keyer[T any] func(T) uint64

// Async gives the stage a goroutine of its own, so that it works while the stages before it do. Without it,
// neighbouring stages of one input and one output run as one loop.
func Async() StageOption { return func(c *stageConfig) { c.async = true } }

// OnFault sets the stage's fault policy; without it the graph's applies.
func OnFault(p Policy) StageOption {
	return func(c *stageConfig) {
		c.policy = p
		if p == nil {
			c.issue("OnFault", "the policy is nil", "leave the option out, or give a policy")
		}
	}
}

// Holds declares that the stage's handler keeps up to n messages beyond its return (see Hold), each for at most within;
// zero means until there are n. Validate compares it to the credits of the sources, since a stage that waits for more
// messages than may be in flight waits for ever.
func Holds(n int, within time.Duration) StageOption {
	return func(c *stageConfig) { c.holds, c.holdsFor = n, within }
}

// Joins declares, beside Holds, that the stage joins what it holds: one message of its output may
// stand for as many as it holds.
func Joins() StageOption { return func(c *stageConfig) { c.joins = true } }

// ChunkSize is how many messages a chunk holds at most: for a source, what it reads at once; for a
// sink, what it writes at once; for a stage with several outputs, and one with an edge before it,
// what its edges carry. Elsewhere it has no effect. The default is 256. Nothing waits for a chunk
// to fill.
func ChunkSize(n int) StageOption {
	return func(c *stageConfig) {
		c.chunk = n
		if n < 1 {
			c.issue("ChunkSize", fmt.Sprintf("%d messages", n), "give 1 or more")
		}
	}
}

// Within makes a sink wait until its chunk is full (ChunkSize), but not longer than d after the chunk's first message
// came. Without it a sink writes what has come. The sink then holds up to a chunk of messages, and runs on a goroutine
// of its own, so that a slow stage before it does not delay its clock.
func Within(d time.Duration) StageOption {
	return func(c *stageConfig) {
		c.within = d
		if d <= 0 {
			c.issue("Within", d.String(), "give a positive duration, or leave the option out")
		}
	}
}

// Timeout bounds each call of the stage's handler or Writer (also of Open, Flush, End, Ring and PortEnd): after d its
// context is done, with context.DeadlineExceeded. One that heeds its context then fails, and its
// message goes by the fault policy.
func Timeout(d time.Duration) StageOption {
	return func(c *stageConfig) {
		c.timeout = d
		if d <= 0 {
			c.issue("Timeout", d.String(), "give a positive duration, or leave the option out")
		}
	}
}

// MaxInFlight is a source's credits by count: how many of its entries may be unsettled at once. The default is 4096.
// Within it a source with GivesBack reads ahead what the stages behind it settle in about a second, and what they hold.
func MaxInFlight(n int) StageOption {
	return func(c *stageConfig) {
		c.maxInFlight = n
		if n < 1 {
			c.issue("MaxInFlight", fmt.Sprintf("%d entries", n), "give 1 or more")
		}
	}
}

// MaxBytes is a source's credits by size: how many bytes of its entries may be unsettled at once, as far as the source
// knows their sizes. The default is 64 MiB. Each read may exceed what is left by its last entry, so
// that the largest still gets through.
func MaxBytes(n int) StageOption {
	return func(c *stageConfig) {
		c.maxBytes = n
		if n < 1 {
			c.issue("MaxBytes", fmt.Sprintf("%d bytes", n), "give 1 or more")
		}
	}
}

// Redelivers says that a source delivers Nacked entries again. For a source that does not, a nack stops the graph.
func Redelivers() StageOption { return func(c *stageConfig) { c.redelivers = true } }

// GivesBack says that others can take at once what a source is given back. When the graph drains, the source gets back
// what no handler has begun, instead of having it finished first: see Settlement.Unbegun. It also
// reads no further ahead than what the stages behind it settle in about a second, and what they
// hold, so that others get their share. It includes Redelivers.
func GivesBack() StageOption { return func(c *stageConfig) { c.returns, c.redelivers = true, true } }

// Passes declares that the stage does nothing to its messages but pass them on one by one, hold and
// join them. So an entry that has come no further than this stage has not been begun: a drain may
// give it back, see GivesBack.
func Passes() StageOption { return func(c *stageConfig) { c.passes = true } }

// KeepsDeadLetters says that a source's committer has a place for Dead entries. For one that has not, they stop the
// graph.
func KeepsDeadLetters() StageOption { return func(c *stageConfig) { c.deadLetters = true } }

// TakesEffects says that a source's committer applies the effects attached to its messages.
func TakesEffects() StageOption { return func(c *stageConfig) { c.effects = true } }

// Invalid reports a mistake in the arguments of an operator, source or sink: Validate returns it with all the others.
// It is how a constructor, which returns no error, says that it was given a nil function or a negative size.
func Invalid(field, issue, fix string) StageOption {
	return func(c *stageConfig) { c.issue(field, issue, fix) }
}

// InvalidError is Invalid for an error that says it all, such as that of a config's own validation.
func InvalidError(err error) StageOption {
	return func(c *stageConfig) {
		if err != nil {
			c.issue("", err.Error(), "")
		}
	}
}

// Group makes one option of several.
func Group(opts ...StageOption) StageOption {
	return func(c *stageConfig) { c.apply(opts) }
}

func (c *stageConfig) apply(opts []StageOption) {
	for _, o := range opts {
		if o != nil {
			o(c)
		}
	}
}

func (c *stageConfig) issue(field, issue, fix string) {
	c.issues = append(c.issues, BuildError{Field: field, Issue: issue, Fix: fix})
}

const (
	defaultChunk       = 256
	defaultMaxInFlight = 4096
	defaultMaxBytes    = 64 << 20
)

// GraphOption sets something of a graph.
type GraphOption interface {
	Part
	graphOption()
}

type graphOption func(*graphConfig)

func (o graphOption) graphOption() {}

func (o graphOption) part(g *Graph) { o(&g.graphConfig) }

type graphConfig struct {
	policy       Policy
	policySet    bool // by the user
	drainTimeout time.Duration
	ackTimeout   time.Duration
	killGrace    time.Duration
	restarts     int
	window       time.Duration
	backoff      time.Duration
	log          *slog.Logger // nil: the default
	hooks        Hooks
	issues       []BuildError
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

func (c *graphConfig) issue(field, issue, fix string) {
	c.issues = append(c.issues, BuildError{Field: field, Issue: issue, Fix: fix})
}

// Faults sets the graph's fault policy, for the stages that have none of their own. The default is DefaultPolicy, and
// DeadLetter for entries that a source with dead letters cannot decode.
func Faults(p Policy) GraphOption {
	return graphOption(func(c *graphConfig) {
		c.policy, c.policySet = p, true
		if p == nil {
			c.issue("Faults", "the policy is nil", "leave the option out, or give a policy")
		}
	})
}

// DrainTimeout bounds the drain: after d the handlers' contexts are cancelled and what is
// unfinished is given back to the sources. The default is 30 s. To that, an end may add KillGrace
// for handlers that do not heed their context and twice AckTimeout for sources that do not answer;
// where a process is given a fixed time to end, as by Kubernetes, the sum of them should fit.
func DrainTimeout(d time.Duration) GraphOption {
	return graphOption(func(c *graphConfig) {
		c.drainTimeout = d
		if d < 0 {
			c.issue("DrainTimeout", d.String(), "give zero or more")
		}
	})
}

// AckTimeout bounds the last commit of each source at the end, and each Close of a Reader or
// Writer. The default is 5 s.
func AckTimeout(d time.Duration) GraphOption {
	return graphOption(func(c *graphConfig) {
		c.ackTimeout = d
		if d <= 0 {
			c.issue("AckTimeout", d.String(), "give a positive duration")
		}
	})
}

// KillGrace is how long the end waits for handlers whose context has been cancelled. A handler that ignores its context
// for longer is left behind and reported as stuck. The default is 5 s.
func KillGrace(d time.Duration) GraphOption {
	return graphOption(func(c *graphConfig) {
		c.killGrace = d
		if d <= 0 {
			c.issue("KillGrace", d.String(), "give a positive duration")
		}
	})
}

// Restarts limits how often a region may fail and be restarted: more than n times within the
// window, and the graph stops with a *StageError. The waits before restarts grow from backoff, with
// jitter. The default is 5 in a minute, from 100 ms.
func Restarts(n int, window, backoff time.Duration) GraphOption {
	return graphOption(func(c *graphConfig) {
		c.restarts, c.window, c.backoff = n, window, backoff
		if n < 0 || window <= 0 || backoff < 0 {
			c.issue("Restarts", fmt.Sprintf("%d in %v from %v", n, window, backoff),
				"give a count and a backoff of zero or more and a positive window")
		}
	})
}

// Hooks are functions that a graph calls on events. Any may be nil. They are called from the
// graph's goroutines, must be quick, and are not called for messages that go well.
type Hooks struct {
	// Restarted is called when a region is about to be restarted.
	Restarted func(stage string, restarts int, err error)
	// Faulted is called for each fault, with what was decided.
	Faulted func(*Fault, Decision)
	// Committed is called after a source has committed settlements.
	Committed func(source string, settled []Settlement)
}

// OnEvent sets the graph's hooks.
func OnEvent(h Hooks) GraphOption { return graphOption(func(c *graphConfig) { c.hooks = h }) }
