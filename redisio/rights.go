package redisio

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Idea of this file: EVAL, and the key of the dead letters, are needed when something fails for the
// first time, which may be weeks after the start. So whether the user has the rights is tried at
// the start, by commands that check them and then find nothing to do: a group that does not exist,
// and the ID 0-0 that no entry has. Only what says that a right, or a command, is missing counts.
// Everything else is found out by the work itself.

// scriptRights: KEYS stream. ARGV a group that does not exist, me. Returns what the commands of the scripts answer.
const scriptRights = `
local out = {}
local function note(r) if type(r) == 'table' and r['err'] then out[#out+1] = r['err'] end end
note(redis.pcall('XPENDING', KEYS[1], ARGV[1], '0-0', '0-0', 1, ARGV[2]))
note(redis.pcall('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, '0-0', 'JUSTID'))
note(redis.pcall('XACK', KEYS[1], ARGV[1], '0-0'))
note(redis.pcall('XINFO', 'GROUPS', KEYS[1]))
return out`

// scriptDeadRights: KEYS stream, dead stream. Returns what the commands of scriptDead answer, and
// the type of the dead stream.
const scriptDeadRights = `
local out = {}
local function note(r) if type(r) == 'table' and r['err'] then out[#out+1] = r['err'] end end
local t = redis.pcall('TYPE', KEYS[2])
note(t)
note(redis.pcall('XADD', KEYS[2], '0-0', 'f', 'v'))
note(redis.pcall('XREVRANGE', KEYS[2], '0-0', '0-0'))
note(redis.pcall('XRANGE', KEYS[1], '0-0', '0-0'))
if t['ok'] and t['ok'] ~= 'none' and t['ok'] ~= 'stream' then out[#out+1] = 'WRONGTYPE the dead-letter key holds a '..t['ok'] end
return out`

// mayRecover finds out whether the user may do what settling and recovering need.
func (r *GroupReader) mayRecover(ctx context.Context) error {
	return rightsOf(
		r.control.Eval(ctx, scriptRights, []string{r.cfg.Key}, "redisio:probe:"+rand.Text(), r.cfg.Consumer),
	)
}

// CheckDead finds out whether [GroupReader.Dead] may write to deadKey, without writing. It returns
// a *PermanentError if a right is missing, or if the key holds something else than a stream, and
// nil where that cannot be told now.
func (r *GroupReader) CheckDead(ctx context.Context, deadKey string) error {
	if err := r.usable(); err != nil {
		return err
	}
	cmd := r.control.Eval(ctx, scriptDeadRights, []string{r.cfg.Key, deadKey})
	err := rightsOf(cmd)
	if crossSlot(cmd.Err()) {
		r.apart.Store(true)
		err = r.mayCopy(ctx, deadKey)
	}
	if err != nil {
		return &PermanentError{"write dead letters to", deadKey, err}
	}
	return nil
}

// mayWrite finds out whether the user may append to a stream. No stream takes the ID.
func mayWrite(ctx context.Context, rdb redis.UniversalClient, key string) error {
	err := rdb.Do(ctx, "xadd", key, "0-0", "f", "v").Err()
	if noRight(err) {
		return err
	}
	return nil
}

// rightsOf returns the first answer that says that a right is missing, or that the key has another type.
func rightsOf(cmd *redis.Cmd) error {
	if err := cmd.Err(); noRight(err) {
		return err
	}
	answers, err := cmd.StringSlice()
	if err != nil {
		return nil
	}
	for _, text := range answers {
		if says(replyError(text), "The user executing the script") { // so says Redis 7.0
			text = "NOPERM " + strings.TrimPrefix(text, "ERR ")
		}
		if err := replyError(text); noRight(err) || isWrongType(err) {
			return err
		}
	}
	return nil
}
