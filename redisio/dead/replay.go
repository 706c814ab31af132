package dead

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// scriptReplay: KEYS dead stream, stream to replay to. ARGV id, values of the entry, values to
// copy, extra names and values… Adds a copy, deletes the dead letter and returns the new ID.
// Returns "" if the dead letter is gone: another process, or an earlier call that lost its reply,
// replayed it. It first deletes an ID that does not exist, so that a user without the right to
// delete does not copy either. Returns -1, and does nothing, for an entry with more values than Lua
// can pass.
const scriptReplay = `
local id, all, keep = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local t = redis.call('TYPE', KEYS[2])['ok']
if t ~= 'none' and t ~= 'stream' then return redis.error_reply('WRONGTYPE the key to replay to holds a '..t) end
local e = redis.call('XRANGE', KEYS[1], id, id)[1]
if not e then return '' end
if #e[2] ~= all then return redis.error_reply('ERR the dead letter is not the one that was read') end
redis.call('XDEL', KEYS[1], '0-0')
local a = {}
for i = 1, keep do a[#a+1] = e[2][i] end
for i = 4, #ARGV do a[#a+1] = ARGV[i] end
if #a > 7900 then return -1 end
local new = redis.call('XADD', KEYS[2], '*', unpack(a))
redis.call('XDEL', KEYS[1], id)
return new`

// ReplayOptions configure a replay.
type ReplayOptions struct {
	// To is the stream to write to. Defaults to the stream that each dead letter came from.
	To string
	// Rate is the maximum number of entries per second. Defaults to 0, no limit. Entries that
	// failed because of overload fail again if all of them return at once.
	Rate float64
	// DryRun counts dead letters without replaying them.
	DryRun bool
	// KeepReason keeps the dead:… fields on the replayed entry, and adds dead:replayed, the time.
	// Defaults to false: exactly the fields that the entry had are written.
	KeepReason bool
	// OnProgress is called after each chunk.
	OnProgress func(ReplayReport)
}

// Validate reports all mistakes at once, each as a *ConfigError.
func (o ReplayOptions) Validate() error {
	m := redisio.MistakesOf("ReplayOptions")
	m.If(o.Rate < 0, "Rate", "is negative", "leave it 0 for no limit")
	return m.Err()
}

// ReplayReport has the results of a replay, or of a dry run.
type ReplayReport struct {
	Matched  int64 // dead letters that match the filter
	Replayed int64 // written back, and deleted here; 0 in a dry run
	// missing: replayed or dropped by another process, or by a call that lost its reply
	Gone     int64
	Empty    int64            // without original fields: trimmed before they died, so there is nothing to replay
	NoOrigin int64            // left: they do not name their stream, and To is not set
	To       map[string]int64 // of Matched, by stream; beyond a thousand streams the rest is under ""
}

// maxTargets bounds ReplayReport.To.
const maxTargets = 1000

// Replay writes each dead letter back to the stream that it came from, with its original fields,
// and deletes it here, in one atomic step each. The new entry has a new ID, and its deliveries
// count from one. All groups of that stream get it, including those that had settled it. A call
// that failed or was interrupted may be repeated: nothing is written twice.
//
// On a server with slots, two streams in different slots take two steps. So that the copy is made
// only once, a key in the stream's slot, such as {orders}:copied, remembers the last 100,000 copies
// for a day. Dead letters that arrive during a replay are skipped, so an entry that fails again is
// not replayed forever.
//
// The report is valid also with an error. Entries that can't be replayed stay where they are.
func Replay(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	f Filter,
	o ReplayOptions,
) (ReplayReport, error) {
	p := replay{rdb: rdb, key: key, o: o, report: ReplayReport{To: make(map[string]int64)}}
	if err := errors.Join(o.Validate(), p.target(o.To)); err != nil {
		return p.report, err
	}
	p.began = time.Now()
	err := deadPages(ctx, rdb, key, f, pagesByRange, func(page []Entry, missing int) error {
		p.report.Gone += int64(missing)
		return p.Page(ctx, page)
	})
	if err == nil && p.report.NoOrigin > 0 {
		err = p.noOrigin()
	}
	return p.report, err
}

// noOrigin returns the error of entries that do not name their stream.
func (p *replay) noOrigin() error {
	return &redisio.ConfigError{
		Type:  "ReplayOptions",
		Field: "To",
		Problem: fmt.Sprintf("is empty, and the origin of %s of %q is unknown",
			fault.Plural(p.report.NoOrigin, "entry", "entries"), fault.KeyName(p.key)),
		Fix: "name the stream to write to",
	}
}

// ReplayAs is Replay for one dead letter, with other fields than it had. It writes them as given.
func ReplayAs(
	ctx context.Context, rdb redis.UniversalClient, key, id string, fields redisio.Fields, o ReplayOptions,
) (ReplayReport, error) {
	p := replay{rdb: rdb, key: key, o: o, report: ReplayReport{To: make(map[string]int64)}, edited: fields}
	m := redisio.MistakesOf("dead.ReplayAs")
	m.If(len(fields) == 0, "fields", "is empty", "drop the dead letter, or give at least one field")
	m.If(o.KeepReason, "KeepReason", "is set", "add the dead:… fields to fields")
	m.Join(o.Validate())
	m.Join(p.target(o.To))
	if err := m.Err(); err != nil {
		return p.report, err
	}
	d, err := Find(ctx, rdb, key, id)
	if errors.Is(err, ErrNoEntry) {
		p.report.Gone++
		return p.report, nil
	}
	if err == nil {
		err = p.Page(ctx, []Entry{d})
	}
	if err == nil && p.report.NoOrigin > 0 {
		err = p.noOrigin()
	}
	return p.report, err
}

// replay is one call of Replay.
type replay struct {
	rdb    redis.UniversalClient
	key    string
	o      ReplayOptions
	report ReplayReport
	began  time.Time
	sent   int64
	edited redisio.Fields // to write; nil: those of the entry
}

// target checks a stream to write to; "" is valid.
func (p *replay) target(to string) error {
	if to == p.key {
		return &redisio.ConfigError{
			Type:    "ReplayOptions",
			Field:   "To",
			Problem: fmt.Sprintf("is the dead-letter stream %q itself", fault.KeyName(to)),
			Fix:     "name another stream",
		}
	}
	return nil
}

// letter is a dead letter and where it goes.
type letter struct {
	*Entry
	to string
}

func (p *replay) Page(ctx context.Context, page []Entry) error {
	letters := make([]letter, 0, len(page))
	for i := range page {
		d := &page[i]
		p.report.Matched++
		to := p.o.To
		if to == "" {
			to = d.Reason.Key
		}
		switch {
		case len(d.Original) == 0 && p.edited == nil:
			p.report.Empty++
			continue
		case to == "":
			p.report.NoOrigin++
			continue
		}
		if err := p.target(to); err != nil {
			return err
		}
		if _, known := p.report.To[to]; !known && len(p.report.To) >= maxTargets {
			p.report.To[""]++
		} else {
			p.report.To[to]++
		}
		letters = append(letters, letter{d, to})
	}
	for !p.o.DryRun && len(letters) > 0 {
		n := min(len(letters), p.chunk())
		if err := p.pace(ctx); err != nil {
			return err
		}
		if err := p.Send(ctx, letters[:n]); err != nil {
			return err
		}
		letters = letters[n:]
		p.progress()
	}
	if p.o.DryRun {
		p.progress()
	}
	return nil
}

func (p *replay) progress() {
	if p.o.OnProgress != nil {
		fault.Notify("ReplayOptions.OnProgress", func() { p.o.OnProgress(p.report) })
	}
}

// chunk returns the number of entries of one pipeline: at most those of a tenth of a second, so
// that the rate is even.
func (p *replay) chunk() int {
	if p.o.Rate == 0 {
		return deadPage
	}
	return max(1, min(deadPage, int(p.o.Rate/10)))
}

// pace waits until the next entry is due.
func (p *replay) pace(ctx context.Context) error {
	due := time.Now()
	if p.o.Rate > 0 {
		due = p.began.Add(time.Duration(float64(p.sent) / p.o.Rate * float64(time.Second)))
	}
	if !fault.Sleep(ctx, nil, time.Until(due)) {
		return fault.Ended(ctx)
	}
	return nil
}

// Send replays a chunk. Each entry has its own script call: each entry is atomic, and no call
// blocks the server for long.
func (p *replay) Send(ctx context.Context, letters []letter) error {
	pipe := p.rdb.Pipeline()
	cmds := make([]*redis.Cmd, len(letters))
	for i, l := range letters {
		keep := len(p.fields(l))
		if p.edited != nil {
			keep = 0 // the script copies none
		}
		args := append([]any{l.ID, 2 * len(l.Fields), 2 * keep}, p.extra()...)
		cmds[i] = pipe.Eval(ctx, scriptReplay, []string{p.key, l.to}, args...)
	}
	if sent, err := pipe.Exec(ctx); err != nil {
		conn.Unanswered(sent, err)
	}
	p.sent += int64(len(letters))
	var first error
	for i, cmd := range cmds {
		answer, err := cmd.Result()
		switch {
		case err == nil && answer == "":
			p.report.Gone++
			continue
		case err == nil && answer == int64(-1):
			err = p.large(ctx, letters[i])
		case fault.CrossSlot(err):
			err = p.twoSteps(ctx, letters[i])
		}
		switch {
		case errors.Is(err, ErrNoEntry):
			p.report.Gone++
		case err == nil:
			p.report.Replayed++
		case first == nil:
			first = err
			if gone := fault.Ended(ctx); gone != nil {
				first = gone
			} else {
				first = fmt.Errorf("redisio: replay %s of %q to %q: %w", letters[i].ID, fault.KeyName(p.key),
					fault.KeyName(letters[i].to), err)
			}
		}
	}
	return first
}

// extra returns names and values that the script adds.
func (p *replay) extra() (all []any) {
	for i := range p.edited {
		all = append(all, &p.edited[i].Name, p.edited[i].Value)
	}
	if p.o.KeepReason {
		all = append(all, deadReplayed, stamp(time.Now()))
	}
	return all
}

// fields returns the fields of a replayed entry, without dead:replayed.
func (p *replay) fields(l letter) redisio.Fields {
	switch {
	case p.edited != nil:
		return p.edited
	case p.o.KeepReason:
		return l.Fields
	}
	return l.Original
}

// Add returns the XADD of a replayed entry.
func (p *replay) Add(l letter) []any {
	fields := p.fields(l)
	args := make([]any, 0, 5+2*len(fields))
	args = append(args, "xadd", l.to, "*")
	for i := range fields {
		args = append(args, &fields[i].Name, fields[i].Value)
	}
	if p.o.KeepReason {
		args = append(args, deadReplayed, stamp(time.Now()))
	}
	return args
}

// large replays an entry with more fields than a script can pass. It uses a transaction, which
// fails and is retried if the dead letters change meanwhile.
func (p *replay) large(ctx context.Context, l letter) error {
	for n := 1; ; n++ {
		err := p.rdb.Watch(ctx, func(tx *redis.Tx) error {
			if err := p.there(ctx, tx, l.ID); err != nil {
				return err
			}
			return fault.Discarded(tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Do(ctx, p.Add(l)...)
				pipe.XDel(ctx, p.key, l.ID)
				return nil
			}))
		}, p.key)
		if !errors.Is(err, redis.TxFailedErr) || n == 100 {
			return err
		}
		if !fault.Sleep(ctx, nil, fault.Backoff(min(n, 4))) {
			return fault.Ended(ctx)
		}
	}
}

// there returns ErrNoEntry if a dead letter is gone.
func (p *replay) there(ctx context.Context, rdb redis.StreamCmdable, id string) error {
	found, err := rdb.XRangeN(ctx, p.key, id, id, 1).Result()
	if err == nil && len(found) == 0 {
		err = ErrNoEntry
	}
	return err
}

// token names a copy, so that it is made once. A replay with other fields is another copy.
func (p *replay) token(l letter) string {
	token := "replay\n" + p.key + "\n" + l.ID
	if p.edited == nil {
		return token
	}
	h := sha256.New()
	for _, f := range p.edited {
		fmt.Fprintf(h, "%d:%d:", len(f.Name), len(f.Value))
		h.Write([]byte(f.Name))
		h.Write(f.Value)
	}
	return fmt.Sprintf("%s\n%x", token, h.Sum(nil))
}

// twoSteps replays an entry into another slot, see script.CopyOnce.
func (p *replay) twoSteps(ctx context.Context, l letter) error {
	if err := p.there(ctx, p.rdb, l.ID); err != nil {
		return err
	}
	fields := p.fields(l)
	if p.o.KeepReason {
		fields = append(
			fields[:len(fields):len(fields)],
			redisio.Field{Name: deadReplayed, Value: []byte(stamp(time.Now()))},
		)
	}
	if err := script.CopyOnce(ctx, p.rdb, l.to, p.token(l), 0, fields); err != nil {
		return err
	}
	return p.rdb.XDel(ctx, p.key, l.ID).Err()
}
