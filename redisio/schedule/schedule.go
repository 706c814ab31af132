package schedule

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Config configures a Scheduler. Key is required; the zero value of any other field is its
// default.
type Config struct {
	Key string // the stream to which due entries are appended

	// MaxPayload is the maximum size of an entry: the bytes of all names and values. Defaults to
	// 1 MiB.
	MaxPayload int
	// Every is the longest sleep of a mover (Run, Keep) while entries are scheduled. Defaults to 1s.
	Every time.Duration
	// Idle is the longest sleep while no entry is. Defaults to Every.
	Idle time.Duration
	// Count is the maximum number of entries that one script moves. Defaults to 100.
	Count int
	// OnEvent receives EventMoveFailed: the mover has failed several times in a row and retries after
	// Wait. It must not block.
	OnEvent func(redisio.Event)
}

func (c Config) withDefaults() Config {
	c.MaxPayload = cmp.Or(c.MaxPayload, 1<<20)
	c.Every = cmp.Or(c.Every, time.Second)
	c.Idle = cmp.Or(c.Idle, c.Every)
	c.Count = cmp.Or(c.Count, 100)
	return c
}

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c Config) Validate() error {
	m := redisio.MistakesOf("schedule.Config")
	m.Empty("Key", c.Key, "name the stream that the entries go to")
	m.If(c.Key != "" && ScheduleKeys(c.Key) == nil, "Key",
		fmt.Sprintf("is %q, and no other key shares its hash slot", fault.KeyName(c.Key)),
		"give it a hash tag, as {orders}")
	m.Is(c.MaxPayload < 0 || c.MaxPayload > 512<<20, "MaxPayload", c.MaxPayload,
		"choose up to 512 MiB, what Redis takes at most")
	m.Is(c.Every < 0 || c.Every > 0 && c.Every < time.Millisecond, "Every", c.Every,
		"choose 1ms or more, or leave it 0 for 1s")
	m.Is(c.Idle < 0 || c.Idle > 0 && c.Idle < time.Millisecond, "Idle", c.Idle,
		"choose 1ms or more, or leave it 0 for Every")
	m.Is(c.Count < 0 || c.Count > 10_000, "Count", c.Count,
		"choose up to 10000: a script holds up the server's other clients")
	return m.Err()
}

// Delayed is an entry to be written at a certain time.
type Delayed struct {
	// ID names the entry among those scheduled for the stream. Scheduling an ID again replaces its
	// time and fields, so a call with an unknown outcome can be repeated. If it is "", Schedule
	// chooses one and stores it here.
	ID     string
	At     time.Time // when it is due by the server's clock; a past time is due at once
	Fields redisio.Fields
}

// Scheduler stores entries to be written later in Redis, so they outlive every process.
//
// Three keys in the slot of the stream hold them: {key}:later (IDs by time), {key}:later:entries
// (their fields) and {key}:later:moved (recently moved entries). A mover appends an entry to the
// stream when it is due. Any number of processes may run movers and may stop at any time, because
// a move is one step on the server. By default the readers of a group are movers as well, see
// [reader.GroupConfig].
//
// The server's clock decides what is due, and At comes from the caller's clock: a difference
// between the two delays or advances the entry. An entry is late by at most the sleep of the
// movers, and never early. Entries that are due in the same millisecond are ordered by their IDs.
// The IDs that Schedule chooses increase.
//
// Scheduling is idempotent by ID, time and fields. Repeating it changes nothing while the entry
// waits. After the entry was moved, repeating adds nothing for five minutes and for the last
// 100,000 entries moved.
//
// A Scheduler is safe for concurrent use. It has no connections of its own and nothing to close:
// all of its commands may be repeated, so the retries of the caller's client do no harm.
type Scheduler struct {
	cfg  Config
	rdb  redis.UniversalClient // the caller's: never closed
	keys []string              // stream, later, entries, moved
	wake chan struct{}         // something was scheduled here
}

// New checks the configuration. It does no I/O.
func New(rdb redis.UniversalClient, cfg Config) (*Scheduler, error) {
	if err := errors.Join(check.NeedClient(rdb, "schedule.New"), cfg.Validate()); err != nil {
		return nil, err
	}
	return &Scheduler{cfg: cfg.withDefaults(), rdb: rdb, keys: ScheduleKeys(cfg.Key), wake: make(chan struct{}, 1)}, nil
}

// Config returns the configuration with its defaults.
func (s *Scheduler) Config() Config { return s.cfg }

// Keys returns the keys that it uses besides the stream, for access lists and backups.
func (s *Scheduler) Keys() []string { return append([]string(nil), s.keys[1:]...) }

// ScheduleKeys returns the stream and the keys of its schedule, all in one slot. It returns nil if
// no other key can share the slot of the stream. The names are the same with and without a cluster
// client, because all processes must find the same keys.
func ScheduleKeys(key string) []string {
	later := redisio.Beside(key, ":later")
	if later == "" {
		return nil
	}
	return []string{key, later, later + ":entries", later + ":moved"}
}

const (
	scheduleChunk = 100     // entries of one call
	scheduleBytes = 1 << 20 // and their bytes, if there is more than one entry
	maxMoveFields = 3900    // Lua passes at most 8000 values
	movedFor      = 5 * time.Minute
	movedMost     = 100_000
)

// Schedule adds entries to the schedule. It stores the outcome of each in results, which must be at
// least as long: the ID, or an error that is ErrNotWritten or ErrUnknownOutcome. After either error
// the call may be repeated with the same entries, because their IDs have been filled in. The
// returned error is a summary, as with [Writer.Write].
func (s *Scheduler) Schedule(ctx context.Context, entries []Delayed, results []redisio.Result) error {
	if len(results) < len(entries) {
		return fmt.Errorf(
			"redisio: schedule %d entries with room for %d results: make it as many",
			len(entries),
			len(results),
		)
	}
	results = results[:len(entries)]
	now := time.Now()
	var args []any
	var at []int // which entry each of the call is
	bytes := 0
	flush := func() {
		if len(at) == 0 {
			return
		}
		err := s.rdb.Eval(ctx, scriptSchedule, s.keys, args...).Err()
		for _, i := range at {
			results[i] = redisio.Result{ID: entries[i].ID}
			if err != nil {
				outcome := redisio.ErrUnknownOutcome
				if fault.IsServerSaid(err) || fault.NeverSent(err) {
					outcome = redisio.ErrNotWritten
				}
				results[i] = redisio.Result{Err: &fault.OutcomeError{Outcome: outcome, Cause: err}}
			}
		}
		args, at, bytes = args[:0], at[:0], 0
	}
	for i := range entries {
		e := &entries[i]
		if e.ID == "" {
			e.ID = newScheduleID(now)
		}
		if err := s.check(e); err != nil {
			results[i] = redisio.Result{Err: err}
			continue
		}
		size := e.Fields.Size()
		if len(at) >= scheduleChunk || len(at) > 0 && bytes+size > scheduleBytes {
			flush()
		}
		score := max(e.At.UnixMilli(), 0)
		packed := packFields(e.Fields)
		args = append(args, e.ID, score, movedMember(e.ID, score, packed), packed)
		at, bytes = append(at, i), bytes+size
	}
	flush()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return s.summary(results)
}

func (s *Scheduler) summary(results []redisio.Result) error {
	var worst error
	failed := 0
	for i := range results {
		if err := results[i].Err; err != nil {
			failed++
			if worst == nil || errors.Is(err, redisio.ErrUnknownOutcome) {
				worst = err
			}
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf(
		"redisio: schedule %d of %s for %q: %w",
		failed,
		fault.Plural(len(results), "entry", "entries"),
		fault.KeyName(s.cfg.Key),
		worst,
	)
}

func (s *Scheduler) check(e *Delayed) error {
	if n := len(e.Fields); n > maxMoveFields {
		return &redisio.TooManyFieldsError{Key: s.cfg.Key, Fields: n, Limit: maxMoveFields}
	}
	return check.Entry(s.cfg.Key, e.Fields, s.cfg.MaxPayload)
}

// Cancel removes entries from the schedule and returns how many it found. The others have been
// moved, or were never scheduled.
func (s *Scheduler) Cancel(ctx context.Context, ids ...string) (cancelled int, err error) {
	for n := 0; n < len(ids); n += script.AckChunk {
		chunk := ids[n:min(n+script.AckChunk, len(ids))]
		args := make([]any, len(chunk))
		for i := range chunk {
			args[i] = chunk[i]
		}
		done, err := s.rdb.Eval(ctx, scriptCancel, s.keys[1:3], args...).Int()
		if err != nil {
			return cancelled, check.KeyError("cancel scheduled entries of", s.cfg.Key, err)
		}
		cancelled += done
	}
	return cancelled, nil
}

// Info is the state of a schedule.
type Info struct {
	Count  int64     // waiting entries
	Next   time.Time // when the first of them is due; zero if no entry waits
	Broken int64     // unreadable entries, written by other programs; they stay and do not block others
}

// Info returns the state of the schedule.
func (s *Scheduler) Info(ctx context.Context) (Info, error) {
	pipe := s.rdb.Pipeline()
	all := pipe.ZCard(ctx, s.keys[1])
	broken := pipe.ZCount(ctx, s.keys[1], "+inf", "+inf")
	first := pipe.ZRangeWithScores(ctx, s.keys[1], 0, 0)
	if _, err := pipe.Exec(ctx); err != nil {
		return Info{}, check.KeyError("ask for the schedule of", s.cfg.Key, err)
	}
	info := Info{Count: all.Val() - broken.Val(), Broken: broken.Val()}
	if z := first.Val(); len(z) > 0 && !math.IsInf(z[0].Score, 1) {
		info.Next = time.UnixMilli(int64(z[0].Score))
	}
	return info, nil
}

// List returns up to count scheduled entries from offset on, ordered by the time when they are due.
// It leaves out entries that are moved meanwhile.
func (s *Scheduler) List(ctx context.Context, offset int64, count int) ([]Delayed, error) {
	if count < 1 {
		return nil, nil
	}
	ids, err := s.rdb.ZRangeWithScores(ctx, s.keys[1], offset, offset+int64(count)-1).Result()
	if err != nil || len(ids) == 0 {
		return nil, check.KeyError("list the schedule of", s.cfg.Key, err) // nil for none
	}
	names := make([]string, len(ids))
	for i, z := range ids {
		names[i], _ = z.Member.(string)
	}
	values, err := s.rdb.HMGet(ctx, s.keys[2], names...).Result()
	if err != nil {
		return nil, check.KeyError("list the schedule of", s.cfg.Key, err)
	}
	var list []Delayed
	for i, v := range values {
		if d, ok := delayedOf(names[i], ids[i].Score, v); ok {
			list = append(list, d)
		}
	}
	return list, nil
}

// Find returns the scheduled entries with these IDs, in their order. It leaves out those that do not
// wait: they were moved or cancelled, or never scheduled.
func (s *Scheduler) Find(ctx context.Context, ids ...string) (list []Delayed, err error) {
	for n := 0; n < len(ids); n += scheduleChunk {
		chunk := ids[n:min(n+scheduleChunk, len(ids))]
		pipe, scores := s.rdb.Pipeline(), make([]*redis.FloatCmd, len(chunk))
		for i, id := range chunk {
			scores[i] = pipe.ZScore(ctx, s.keys[1], id)
		}
		values := pipe.HMGet(ctx, s.keys[2], chunk...)
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return list, check.KeyError("find scheduled entries of", s.cfg.Key, err)
		}
		for i, v := range values.Val() {
			if scores[i].Err() != nil {
				continue // it does not wait
			}
			if d, ok := delayedOf(chunk[i], scores[i].Val(), v); ok {
				list = append(list, d)
			}
		}
	}
	return list, nil
}

// delayedOf returns an entry as it is stored. ok is false if it was moved, or is unreadable.
func delayedOf(id string, score float64, v any) (d Delayed, ok bool) {
	stored, _ := v.(string) // none if it was moved
	_, packed, _ := strings.Cut(stored, "\n")
	fields, ok := unpackFields(packed)
	if !ok || math.IsInf(score, 1) {
		return d, false
	}
	return Delayed{ID: id, At: time.UnixMilli(int64(score)), Fields: fields}, true
}

var scheduleSeq atomic.Uint64

// newScheduleID returns a unique ID that sorts after the earlier ones of this process.
func newScheduleID(now time.Time) string {
	return fmt.Sprintf("%016x-%016x-%s", now.UnixNano(), scheduleSeq.Add(1), rand.Text()[:13])
}

// movedMember returns what is remembered of a moved entry: its ID, and a hash of its time and
// fields. The hash is needed because the ID may be reused for another entry.
func movedMember(id string, score int64, packed string) string {
	h := xxhash.New()
	_, _ = h.WriteString(strconv.FormatInt(score, 10)) // never fails
	_, _ = h.WriteString(":")
	_, _ = h.WriteString(packed)
	return strconv.FormatUint(h.Sum64(), 16) + ":" + id
}

// Stored returns what the schedule stores of an entry, for scripts that schedule it together with
// other writes: its score in {key}:later, and its value in {key}:later:entries.
func (d Delayed) Stored() (score int64, value string) {
	score = max(d.At.UnixMilli(), 0)
	packed := packFields(d.Fields)
	return score, movedMember(d.ID, score, packed) + "\n" + packed
}

// packFields writes names and values in turn as length, colon and bytes. A few lines of Lua can
// read this on any server, whatever the bytes are.
func packFields(f redisio.Fields) string {
	b := make([]byte, 0, f.Size()+len(f)*8)
	put := func(s []byte) {
		b = strconv.AppendInt(b, int64(len(s)), 10)
		b = append(append(b, ':'), s...)
	}
	for i := range f {
		put([]byte(f[i].Name))
		put(f[i].Value)
	}
	return string(b)
}

func unpackFields(s string) (f redisio.Fields, ok bool) {
	for s != "" {
		var part [2]string
		for i := range part {
			size, rest, found := strings.Cut(s, ":")
			n, err := strconv.Atoi(size)
			if !found || err != nil || n < 0 || n > len(rest) {
				return nil, false
			}
			part[i], s = rest[:n], rest[n:]
		}
		f = append(f, redisio.Field{Name: part[0], Value: []byte(part[1])})
	}
	return f, len(f) > 0
}
