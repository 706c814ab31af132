package reader

import (
	"context"
	"crypto/rand"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

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
func (r *Group) mayRecover(ctx context.Context) error {
	return script.RightsOf(
		r.control.Eval(ctx, script.ScriptRights, []string{r.cfg.Key}, "redisio:probe:"+rand.Text(), r.cfg.Consumer),
	)
}

// CheckDead finds out whether [Group.Dead] may write to deadKey, without writing. It returns
// a *PermanentError if a right is missing, or if the key holds something else than a stream, and
// nil where that cannot be told now.
func (r *Group) CheckDead(ctx context.Context, deadKey string) error {
	if err := r.usable(); err != nil {
		return err
	}
	cmd := r.control.Eval(ctx, scriptDeadRights, []string{r.cfg.Key, deadKey})
	err := script.RightsOf(cmd)
	if fault.CrossSlot(cmd.Err()) {
		r.apart.Store(true)
		err = r.mayCopy(ctx, deadKey)
	}
	if err != nil {
		return &redisio.PermanentError{Op: "write dead letters to", Key: deadKey, Err: err}
	}
	return nil
}
