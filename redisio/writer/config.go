package writer

import (
	"cmp"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Config configures a Writer. The zero value of every field but Key is its default.
type Config struct {
	Key string // the stream; may be empty if every entry names its own

	// MaxLen is the number of entries to keep. Defaults to 0, no limit. Tuning has the other limits
	// of retention. An entry is trimmed when it violates one of them. Entries that a consumer group
	// has not read or not settled are kept regardless, and so are all entries behind them: one
	// entry that is pending for long prevents trimming. DropUnread changes that. A stream without
	// groups is trimmed as it is.
	//
	// The stream is trimmed when it is written to, after a tenth of MaxLen or 1000 entries, and
	// from time to time. So it may be that much longer, and nothing is trimmed while nothing is
	// written. A stream far beyond its limit is trimmed in steps of 10,000 entries, 16 of them
	// behind each pipeline, so that no script takes long. OnEvent names a group that prevents
	// trimming and does not advance (EventHeldBack); delete it with XGROUP DESTROY.
	MaxLen int64

	// DedupeWindow is how long the stream remembers the DedupeIDs of its entries and drops entries
	// with the same id. So an entry with an unknown outcome can be written again. Defaults to 0,
	// off. See [redisio.Outgoing.DedupeID].
	//
	// A server with IDMP (Redis 8.6) compares the ids itself, at 0.5 of the speed of plain writes.
	// Elsewhere a script does, at 0.3, and keeps the ids under {key}:once, in the slot of the
	// stream (BenchmarkWriteOptions). All writers of a stream should have the same settings: with
	// IDMP those of the first writer apply.
	DedupeWindow time.Duration

	// Wait is how long Open retries while Redis is unreachable. Defaults to 0: one try, plus a few
	// more if the connection breaks during it.
	Wait time.Duration

	// OnEvent receives losses, retention that fails or is prevented by a group, and EventRefused,
	// never once per entry. It must not block.
	OnEvent func(redisio.Event)

	Tuning
}

// Tuning is the part of a Config that most programs leave at its defaults. sink.Stream has the same
// fields.
type Tuning struct {
	// MinID and MaxAge keep the entries from MinID on, and those younger than MaxAge by the
	// server's clock.
	MinID  string
	MaxAge time.Duration
	// DropUnread lets retention drop entries that groups have not read or not settled. Such losses
	// are counted, see OnEvent and Stats.
	DropUnread bool
	// Exact trims to exactly the limit, with each pipeline. It costs the server more than the
	// default, which frees whole nodes of the stream's tree.
	Exact bool

	// HardCap is the maximum length of the stream, whatever the groups have read. Defaults to 0, no
	// limit. When it is reached, entries that all groups have settled are trimmed first. Each writer
	// sees the length at the end of its last pipeline, so each may exceed the cap by one pipeline.
	HardCap int64
	// WhenFull is the reaction when HardCap or MaxBytes is reached and groups still need the oldest
	// entries. Defaults to FullPause.
	WhenFull Full

	// MaxBytes is the maximum memory of the stream in Redis, its groups included. Defaults to 0, no
	// limit. To make room, entries that all groups have settled are trimmed first, whatever MaxLen
	// is. Then, with DropUnread, the oldest are trimmed, or else WhenFull decides. The server
	// measures the stream (MEMORY USAGE) once a second while entries are written, and after each
	// sixteenth of MaxBytes, so each writer may exceed it by that much. Without the right to MEMORY
	// the length is multiplied by the size of this writer's entries. When the server is out of
	// memory, half of what may be trimmed is trimmed.
	MaxBytes int64

	// DedupeIDs is the maximum number of ids that a stream remembers; then it forgets the oldest
	// early. Defaults to 100,000, which takes about 15 MB of Redis.
	DedupeIDs int

	// OnlyExisting writes only to existing streams: an entry for a missing stream is not written,
	// with ErrNoStream. It is for mailboxes, which their reader creates and deletes. MaxLen and
	// MaxBytes then drop the oldest entries, read or not. It excludes other retention, HardCap,
	// FullRefuse, DedupeWindow and Durability. MaxLen drops about 100 entries at a time. MaxBytes
	// always keeps the newest entry. A stream is measured after a sixteenth of MaxBytes, on
	// average: the entries are chosen at random, so that the writer needs no memory per stream.
	// OnEvent receives what MaxBytes has dropped (EventDropped).
	OnlyExisting bool

	// Together makes the entries of one pipeline, if there are at most 64, appear atomically
	// (MULTI), so that a blocked reader gets all of them in one read. It saves reads where few
	// entries are written at a time. A full server refuses them as a whole. It excludes all
	// retention except that of OnlyExisting, and has no effect with a client other than a
	// *redis.Client. Entries for keys of different hash slots are different transactions.
	Together bool

	// Durability is the confirmation that a write needs. Defaults to the reply of the server, which
	// then has the entry in its memory. A sink repeats writes that are not confirmed in time.
	Durability Durability

	// MaxPayload is the maximum size of an entry: the bytes of all names and values. Defaults to
	// 1 MiB.
	MaxPayload int
	// Depth is the maximum number of entries in a pipeline. Defaults to 128.
	Depth int
	// Pipelines is the number of pipelines in flight. Defaults to 1, which keeps the order of the
	// entries; with more, entries of different pipelines may change places. Two to four are the
	// fastest.
	Pipelines int
}

func (c Config) withDefaults() Config {
	c.MaxPayload = cmp.Or(c.MaxPayload, 1<<20)
	c.Depth = cmp.Or(c.Depth, 128)
	c.Pipelines = cmp.Or(c.Pipelines, 1)
	if c.DedupeWindow > 0 {
		c.DedupeIDs = cmp.Or(c.DedupeIDs, defaultDedupeIDs)
	}
	if c.Durability.on() {
		c.Durability.Timeout = cmp.Or(c.Durability.Timeout, defaultDurable)
	}
	return c
}

// Validate returns all mistakes at once, each as a *ConfigError. It needs no server.
func (c Config) Validate() error {
	m := redisio.MistakesOf("writer.Config")
	c.validateRetention(m)
	m.If(c.OnlyExisting && (!c.plain() || c.DropUnread || c.Exact || c.WhenFull == FullRefuse), "OnlyExisting",
		"is set with HardCap, FullRefuse, DedupeWindow, Durability, or retention besides MaxLen and MaxBytes",
		"leave those to writers that may make the stream")
	m.If(c.Together && !c.plain(), "Together", "is set beside retention, HardCap, DedupeWindow or Durability",
		"leave it out: these have scripts and waits of their own")
	c.validateOnce(m)
	c.Durability.validate(m)
	m.Is(c.MaxPayload < 0 || c.MaxPayload > 512<<20, "MaxPayload", c.MaxPayload,
		"choose up to 512 MiB, what Redis takes at most")
	m.Is(c.Depth < 0 || c.Depth > 10_000, "Depth", c.Depth, "choose up to 10000; more than 512 gains nothing")
	m.Is(c.Pipelines < 0 || c.Pipelines > 64, "Pipelines", c.Pipelines, "choose up to 64; more than 4 gains little")
	m.Negative("Wait", int64(c.Wait), "leave it 0 to fail at once")
	return m.Err()
}

func (c *Config) validateRetention(m *redisio.Mistakes) {
	m.Negative("MaxLen", c.MaxLen, "leave it 0 to keep all entries")
	m.Negative("MaxAge", int64(c.MaxAge), "leave it 0 to keep all entries")
	if c.MinID != "" {
		_, err := redisio.ParseID(c.MinID)
		m.If(err != nil, "MinID", fmt.Sprintf("is %q", c.MinID), `write it as "1732360000000-0"`)
	}
	trims := c.MaxLen != 0 || c.MinID != "" || c.MaxAge != 0
	const nothing, set = "is set without anything to trim by", "set MaxLen, MinID or MaxAge as well"
	m.If(c.Exact && !trims, "Exact", nothing, set)
	m.If(c.DropUnread && !trims, "DropUnread", nothing, set)
	m.Negative("HardCap", c.HardCap, "leave it 0 for no limit")
	m.If(c.HardCap > 0 && c.MaxLen > c.HardCap, "HardCap",
		fmt.Sprintf("is %d, less than MaxLen %d", c.HardCap, c.MaxLen), "choose more than MaxLen, or leave MaxLen out")
	m.Is(c.WhenFull < FullPause || c.WhenFull > FullRefuse, "WhenFull", int(c.WhenFull),
		"choose FullPause, FullDrop or FullRefuse")
	m.Is(c.MaxBytes < 0 || c.MaxBytes > 0 && c.MaxBytes < minBudget, "MaxBytes", c.MaxBytes,
		"choose 65536 or more, or leave it 0 for no limit")
	m.If(c.WhenFull != FullPause && c.HardCap == 0 && c.MaxBytes == 0, "WhenFull",
		"is set without HardCap or MaxBytes", "set one of them as well")
}

// plain reports whether the configuration asks only for writing.
func (c *Config) plain() bool {
	return (!c.trims() || c.OnlyExisting && c.MinID == "" && c.MaxAge == 0) && c.HardCap == 0 &&
		(c.MaxBytes == 0 || c.OnlyExisting) && c.DedupeWindow == 0 && !c.Durability.on()
}

func (c *Config) trims() bool { return c.MaxLen > 0 || c.MinID != "" || c.MaxAge > 0 }

// dropsBytes reports whether the oldest entries are dropped when the stream exceeds its budget,
// even if they were not read.
func (c *Config) dropsBytes() bool { return c.DropUnread || c.WhenFull == FullDrop }

func (c *Config) emit(e redisio.Event) {
	if c.OnEvent != nil {
		fault.Notify("writer.Config.OnEvent", func() { c.OnEvent(e) })
	}
}
