package redisio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/redis/go-redis/v9"
)

// Writing once: an entry whose DedupeID the stream remembers is not written. Idea: a server with
// IDMP remembers ids itself. Elsewhere a script keeps them in a sorted set beside the stream, by
// the server's time. Both forget what is older than the window, and the oldest beyond DedupeIDs.
//
// IDMP keeps 10,000 ids for a producer at most, which is 0.1 s of a fast stream. So the writer is
// idmpProducers producers, chosen by a hash of the id: always the same for the same id, whoever
// writes.

const (
	defaultDedupeIDs = 100_000
	idmpProducers    = 64
	idmpMost         = 10_000 // ids of a producer
	idmpLongest      = 24 * time.Hour
	onceEntries      = 128     // entries of one call of the script: it holds up the server's other clients
	onceBytes        = 1 << 20 // and their bytes, if it is more than one entry
)

// maxOnceFields bounds the fields of an entry that a script writes: Lua passes 8000 values at most.
const maxOnceFields = 3900

// scriptOnce: KEYS stream, ids. ARGV window in ms, most ids; then per entry: its dedupe id, its id,
// the number of its values, the values. Returns per entry the id it got, 0 for a duplicate, or an
// error. An entry without dedupe id is written.
const scriptOnce = `
for i, t in ipairs({redis.call('TYPE', KEYS[1])['ok'], redis.call('TYPE', KEYS[2])['ok']}) do
  if t ~= 'none' and t ~= ({'stream', 'zset'})[i] then return redis.error_reply('WRONGTYPE '..KEYS[i]..' holds a '..t) end
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[2], 'XX', now, '') -- does nothing, but is refused without memory: a script that has deleted may write
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[1])
local out, i = {}, 3
while i <= #ARGV do
  local id, last = ARGV[i], i + 2 + ARGV[i+2]
  local new = 1
  if id ~= '' then new = redis.pcall('ZADD', KEYS[2], 'NX', now, id) end
  if new == 1 then
    new = redis.pcall('XADD', KEYS[1], ARGV[i+1], unpack(ARGV, i + 3, last))
    if type(new) == 'table' and id ~= '' then redis.call('ZREM', KEYS[2], id) end
  end
  out[#out+1] = new
  i = last + 1
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return out`

// scriptIDMP: KEYS stream. ARGV window in s, most ids of a producer. Makes the stream remember that
// much, unless it does remember something already, which another setting would make it forget.
// Returns the last id of the stream.
const scriptIDMP = `
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XGROUP', 'CREATE', KEYS[1], 'redisio', '0', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', KEYS[1], 'redisio')
end
local s, f = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for i = 1, #s, 2 do f[s[i]] = s[i+1] end
if f['iids-tracked'] == 0 and (f['idmp-duration'] ~= tonumber(ARGV[1]) or f['idmp-maxsize'] ~= tonumber(ARGV[2])) then
  redis.call('XCFGSET', KEYS[1], 'IDMP-DURATION', ARGV[1], 'IDMP-MAXSIZE', ARGV[2])
end
return f['last-generated-id']`

// TooManyFieldsError is an entry with more fields than a script can write. Nothing of it was sent.
type TooManyFieldsError struct {
	Key    string
	Fields int
	Limit  int
}

func (e *TooManyFieldsError) Error() string {
	return fmt.Sprintf(
		"redisio: entry for %q has %d fields, more than the %d that a script can write",
		keyName(e.Key),
		e.Fields,
		e.Limit,
	)
}

// Is reports a TooManyFieldsError as not written.
func (e *TooManyFieldsError) Is(target error) bool { return target == ErrNotWritten }

// onceKey is where the ids of a stream are remembered, in its hash slot; "" if there is no such
// key. It does not depend on whether the client knows that it talks to a cluster: all writers must
// find the same.
func onceKey(key string) string { return beside(key, ":once") }

// beside is a key in the hash slot of another; "" if there is none.
func beside(key, suffix string) string {
	other := key + suffix
	if hashTag(key) == key { // no tag: the whole key is what is hashed
		other = "{" + key + "}" + suffix
	}
	if hashTag(other) != hashTag(key) {
		return ""
	}
	return other
}

func noOnceKey(key string) *ConfigError {
	return &ConfigError{
		"WriterConfig",
		"DedupeWindow",
		fmt.Sprintf("is set for %q, and no other key shares its hash slot", keyName(key)),
		"give the key a hash tag, as {orders}",
	}
}

func (c *WriterConfig) validateOnce(bad func(field, problem, fix string)) {
	if c.DedupeWindow < 0 || c.DedupeWindow > 0 && c.DedupeWindow < time.Second {
		bad(
			"DedupeWindow",
			fmt.Sprintf("is %v", c.DedupeWindow),
			"choose 1s or more, longer than writes are tried again; 0 is off",
		)
	}
	if c.DedupeIDs < 0 || c.DedupeIDs > 0 && c.DedupeIDs < 1000 {
		bad("DedupeIDs", fmt.Sprintf("is %d", c.DedupeIDs), "choose 1000 or more, or leave it 0 for 100000")
	}
	if c.DedupeIDs > 0 && c.DedupeWindow == 0 {
		bad("DedupeIDs", "is set without DedupeWindow", "set DedupeWindow as well")
	}
	if c.DedupeWindow > 0 && c.Key != "" && onceKey(c.Key) == "" {
		e := noOnceKey(c.Key)
		bad(e.Field, e.Problem, e.Fix)
	}
}

func checkOnce(key string, e *Outgoing) error {
	if len(e.Fields) > maxOnceFields {
		return &TooManyFieldsError{key, len(e.Fields), maxOnceFields}
	}
	if onceKey(key) == "" {
		return &outcomeError{ErrNotWritten, noOnceKey(key)}
	}
	return nil
}

// onceCall is a call of scriptOnce, and the entries that it writes.
type onceCall struct {
	cmd   *redis.Cmd
	index []int
}

func (w *Writer) queueOnce(ctx context.Context, c *chunk, p *part, entries []Outgoing) {
	for left := p.index; len(left) > 0; {
		n, values, bytes := 0, 0, 0
		for n < len(left) && n < onceEntries {
			size := entries[left[n]].Fields.Size()
			if n > 0 && bytes+size > onceBytes {
				break
			}
			n, values, bytes = n+1, values+2*len(entries[left[n]].Fields), bytes+size
		}
		args := make([]any, 0, 7+3*n+values)
		args = append(
			args,
			"eval",
			scriptOnce,
			2,
			p.key,
			onceKey(p.key),
			w.cfg.DedupeWindow.Milliseconds(),
			w.cfg.DedupeIDs,
		)
		for _, i := range left[:n] {
			e := &entries[i]
			args = append(args, &e.DedupeID, "*", 2*len(e.Fields))
			if e.ID != "" {
				args[len(args)-2] = &e.ID
			}
			for f := range e.Fields {
				args = append(args, &e.Fields[f].Name, (*fieldValue)(&e.Fields[f]))
			}
		}
		cmd := redis.NewCmd(ctx, args...)
		cmd.SetFirstKeyPos(3)
		c.queue = append(c.queue, cmd)
		p.once = append(p.once, onceCall{cmd, left[:n]})
		left = left[n:]
	}
}

// settle gives each entry its result.
func (o *onceCall) settle(execErr error, note func(int, Result)) {
	replies, err := o.cmd.Slice()
	if values, ok := o.cmd.Val().([]any); ok {
		replies, err = values, nil // answered before the connection broke
	}
	if err == nil && len(replies) != len(o.index) {
		err = &ReplyError{0, "the script answered for another number of entries"}
	}
	for n, i := range o.index {
		if err != nil {
			note(i, Result{Err: writeError(err, execErr)})
			continue
		}
		switch v := replies[n].(type) {
		case string:
			note(i, Result{ID: v})
		case error:
			note(i, Result{Err: writeError(v, execErr)})
		default:
			note(i, Result{Duplicate: true})
		}
	}
}

// perProducer is how many ids an IDMP producer is to remember: twice its share, for hashes don't share evenly.
func (c *WriterConfig) perProducer() int { return min(max(2*c.DedupeIDs/idmpProducers, 100), idmpMost) }

func (w *Writer) queueIDMP(ctx context.Context, c *chunk, p *part, entries []Outgoing) {
	p.before = redis.NewCmd(
		ctx,
		"eval",
		scriptIDMP,
		1,
		p.key,
		int64(w.cfg.DedupeWindow/time.Second),
		w.cfg.perProducer(),
	)
	p.before.SetFirstKeyPos(3)
	c.queue = append(c.queue, p.before)
	for _, i := range p.index {
		e, producer := &entries[i], ""
		if e.DedupeID != "" && e.ID == "" { // a second entry with an ID of its own is refused anyhow
			producer = producers[xxhash.Sum64String(e.DedupeID)%idmpProducers]
		}
		w.xadd(c, e, i, producer)
	}
}

var producers = func() (names [idmpProducers]string) {
	for i := range names {
		names[i] = "redisio-" + strconv.Itoa(i)
	}
	return names
}()

// settleIDMP reads what the last id was, and reports whether it is known.
func (w *Writer) settleIDMP(p *part, last *ID) bool {
	id, err := p.before.Text()
	if err == nil {
		*last, err = ParseID(id)
		return err == nil
	}
	if judge(err) == permanent && !isWrongType(err) { // a user without rights for XINFO or XCFGSET, say
		p.lane.mu.Lock()
		p.lane.script = true
		p.lane.mu.Unlock()
	}
	return false
}

func (l *lane) refusesIDMP() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.script
}

// probeOnce finds out whether IDMP does what it should. What it can't hold, and what replicas are
// to confirm, is left to the script: a duplicate writes nothing with IDMP, so that there would be
// nothing to wait for.
func (w *Writer) probeOnce(ctx context.Context) (bool, error) {
	c := &w.cfg
	if c.DedupeWindow == 0 || c.Durability.on() || c.DedupeWindow > idmpLongest ||
		2*c.DedupeIDs > idmpProducers*idmpMost {
		return false, nil
	}
	key := w.probeKey()
	pipe := w.out.Pipeline()
	write := func() *redis.Cmd { return pipe.Do(ctx, "xadd", key, "idmp", "p", "i", "*", "f", "v") }
	known := pipe.Do(ctx, "xcfgset", key, "idmp-duration", 60)
	ready := pipe.Eval(ctx, scriptIDMP, []string{key}, 60, 1000)
	one, two := write(), write()
	length := pipe.XLen(ctx, key)
	pipe.Del(ctx, key)
	_, execErr := pipe.Exec(ctx)
	err := errors.Join(ready.Err(), one.Err(), two.Err())
	switch {
	case execErr != nil && !isServerSaid(execErr):
		return false, fmt.Errorf("redisio: probe: %w", execErr)
	case redis.HasErrorPrefix(known.Err(), "unknown command"):
		return false, nil
	case isFull(ready.Err()):
		return true, nil // it can't be tried now
	case err != nil && judge(err) != permanent:
		return false, fmt.Errorf("redisio: probe: %w", err)
	}
	return err == nil && one.Val() == two.Val() && length.Val() == 1, nil
}
