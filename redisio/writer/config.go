package writer

import (
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
)

// Config configures a Writer. The zero value of every field but Key is the default.
type Config struct {
	Key string // the stream; may be empty if every entry names its own

	// Retention: keep MaxLen entries, those from MinID on, those younger than MaxAge by the server's clock. Set any
	// of them: an entry goes when one of them says so. What a consumer group has not read or not
	// settled stays, however much it is, and so does all behind it: one entry that is pending for
	// long holds up the trimming. A stream without groups is trimmed as it is.
	//
	// Trimming rides behind what is written, once for a tenth of MaxLen or a thousand entries, and
	// from time to time: the stream may be that much longer, and nothing is trimmed while nothing
	// is written. A stream that is much too long is trimmed in steps of 10,000 entries, 16 of them
	// behind each pipeline, so that no script takes long. OnEvent names a group that holds up the
	// trimming and does not move (EventHeldBack).
	MaxLen int64
	MinID  string
	MaxAge time.Duration
	// Exact trims to the entry, and behind each pipeline. The default frees whole nodes of the
	// stream's tree, which is cheaper.
	Exact bool
	// DropUnread lets retention drop what groups have not read or not settled. Such losses are counted, see OnEvent and
	// Stats.
	DropUnread bool

	// HardCap is the most entries that the stream may have, whatever the groups have read; 0: no limit. What the groups
	// are done with makes room when it is needed. Each writer sees the length at the end of its
	// last pipeline, so writers exceed the cap by one pipeline each at most.
	HardCap  int64
	WhenFull Full // what to do at the cap, and at MaxBytes. Default FullPause

	// MaxBytes is the most memory that the stream may take in Redis, its groups included. Defaults
	// to 0, no limit. What the groups are done with makes room when it is needed, whatever MaxLen
	// is. If that is not enough the oldest go, with DropUnread, or else WhenFull decides. The
	// server measures the stream (MEMORY USAGE) once a second while entries are written, and each
	// time that a sixteenth of MaxBytes was; so each writer may exceed it by that much. Without the
	// right to MEMORY the length is multiplied by the size of this writer's entries. When the
	// server is out of memory half of what may go is dropped.
	MaxBytes int64

	// DedupeWindow makes writing the same DedupeID again within this time write nothing: an entry whose outcome is
	// unknown can be written again. Default 0: off. See [Outgoing.DedupeID].
	//
	// A server with IDMP (Redis 8.6) compares by itself, at 0.5 of the speed of plain writes;
	// elsewhere a script does, at 0.3, and keeps the ids under {key}:once, in the slot of the
	// stream (BenchmarkWriteOptions). All writers of a stream should have the same settings: with
	// IDMP those of the first one hold.
	DedupeWindow time.Duration
	// DedupeIDs is how many ids a stream remembers at most; beyond it the oldest are forgotten before their time.
	// Default 100,000, which takes Redis some 15 MB.
	DedupeIDs int

	// OnlyExisting writes to streams that exist and makes none: an entry for one that doesn't is not written, with
	// ErrNoStream. It is for mailboxes, which their reader makes and takes away. It goes with MaxLen
	// and MaxBytes, which then drop the oldest entries, read or not. It does not go with other
	// retention, nor with HardCap, FullRefuse, DedupeWindow and Durability. MaxLen drops some 100
	// entries at a time. MaxBytes always keeps the newest entry. A stream is measured when a
	// sixteenth of MaxBytes was written to it, on average: the entries are chosen by chance, so that
	// the writer needs no memory per stream. OnEvent tells what MaxBytes has dropped (EventDropped).
	OnlyExisting bool

	// Together has the entries of one pipeline appear at once (MULTI), if they are 64 or fewer, so
	// that a reader that waits gets all of them by one read, and not the first alone: it saves
	// reads where few entries are written at a time. What the server refuses of them, being full,
	// it refuses as a whole. It goes with no retention but that of OnlyExisting, and does nothing
	// in a cluster. Entries for keys of different hash slots are different transactions.
	Together bool

	// Durability is what an entry needs to count as written. Default: the answer of the server, in its memory.
	Durability Durability

	// OnEvent is told of losses, of retention that fails or is held back by a group, and of EventRefused; never
	// once per entry. It must not block.
	OnEvent func(redisio.Event)

	// MaxPayload bounds the bytes of all names and values of an entry. Default 1 MiB.
	MaxPayload int
	// Depth is how many entries one pipeline carries. Default 128.
	Depth int
	// Pipelines is how many pipelines one Write may have in flight. Default 1: the order of the entries
	// is the order in the stream. With more, entries of different pipelines may change places.
	Pipelines int
	// Wait is how long Open keeps trying while Redis is not reachable. Default 0: one try, and a
	// few more if the connection breaks within it.
	Wait time.Duration
}

func (c Config) withDefaults() Config {
	check.Def(&c.MaxPayload, 1<<20)
	check.Def(&c.Depth, 128)
	check.Def(&c.Pipelines, 1)
	if c.DedupeWindow > 0 {
		check.Def(&c.DedupeIDs, defaultDedupeIDs)
	}
	if c.Durability.on() {
		check.Def(&c.Durability.Timeout, defaultDurable)
	}
	return c
}

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c Config) Validate() error {
	var errs []error
	bad := func(field, problem, fix string) {
		errs = append(errs, &redisio.ConfigError{Type: "writer.Config", Field: field, Problem: problem, Fix: fix})
	}
	if c.MaxLen < 0 {
		bad("MaxLen", "is negative", "leave it 0 to keep all entries")
	}
	if c.MaxAge < 0 {
		bad("MaxAge", "is negative", "leave it 0 to keep all entries")
	}
	if c.MinID != "" {
		if _, err := redisio.ParseID(c.MinID); err != nil {
			bad("MinID", fmt.Sprintf("is %q", c.MinID), `write it as "1732360000000-0"`)
		}
	}
	trims := c.MaxLen != 0 || c.MinID != "" || c.MaxAge != 0
	if c.Exact && !trims {
		bad("Exact", "is set without anything to trim by", "set MaxLen, MinID or MaxAge as well")
	}
	if c.DropUnread && !trims {
		bad("DropUnread", "is set without anything to trim by", "set MaxLen, MinID or MaxAge as well")
	}
	if c.HardCap < 0 {
		bad("HardCap", "is negative", "leave it 0 for no limit")
	}
	if c.HardCap > 0 && c.MaxLen > c.HardCap {
		bad(
			"HardCap",
			fmt.Sprintf("is %d, less than MaxLen %d", c.HardCap, c.MaxLen),
			"choose more than MaxLen, or leave MaxLen out",
		)
	}
	if c.WhenFull < FullPause || c.WhenFull > FullRefuse {
		bad("WhenFull", fmt.Sprintf("is %d", c.WhenFull), "choose FullPause, FullDrop or FullRefuse")
	}
	if c.MaxBytes < 0 || c.MaxBytes > 0 && c.MaxBytes < minBudget {
		bad("MaxBytes", fmt.Sprintf("is %d", c.MaxBytes), "choose 65536 or more, or leave it 0 for no limit")
	}
	if c.WhenFull != FullPause && c.HardCap == 0 && c.MaxBytes == 0 {
		bad("WhenFull", "is set without HardCap or MaxBytes", "set one of them as well")
	}
	if c.OnlyExisting && (!c.plain() || c.DropUnread || c.Exact || c.WhenFull == FullRefuse) {
		bad(
			"OnlyExisting",
			"is set with HardCap, FullRefuse, DedupeWindow, Durability, or retention besides MaxLen and MaxBytes",
			"leave those to writers that may make the stream",
		)
	}
	if c.Together && !c.plain() {
		bad(
			"Together",
			"is set beside retention, HardCap, DedupeWindow or Durability",
			"leave it out: these have scripts and waits of their own",
		)
	}
	c.validateOnce(bad)
	c.Durability.validate(bad)
	if c.MaxPayload < 0 || c.MaxPayload > 512<<20 {
		bad("MaxPayload", fmt.Sprintf("is %d", c.MaxPayload), "choose up to 512 MiB, what Redis takes at most")
	}
	if c.Depth < 0 || c.Depth > 10_000 {
		bad("Depth", fmt.Sprintf("is %d", c.Depth), "choose up to 10000; more than 512 gains nothing")
	}
	if c.Pipelines < 0 || c.Pipelines > 64 {
		bad("Pipelines", fmt.Sprintf("is %d", c.Pipelines), "choose up to 64; more than 4 gains little")
	}
	if c.Wait < 0 {
		bad("Wait", "is negative", "leave it 0 to fail at once")
	}
	return errors.Join(errs...)
}

// plain reports that writing is all that is asked for.
func (c *Config) plain() bool {
	return (!c.trims() || c.OnlyExisting && c.MinID == "" && c.MaxAge == 0) && c.HardCap == 0 &&
		(c.MaxBytes == 0 || c.OnlyExisting) && c.DedupeWindow == 0 && !c.Durability.on()
}
