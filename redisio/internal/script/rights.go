package script

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Idea of this file: EVAL and the key of the dead letters are needed only after the first failure,
// which may be weeks after the start. So the rights are tested at the start, with commands that
// check them and then have no effect. They name a group that does not exist, and the ID 0-0, which
// no entry has. Only errors that report a missing right or a missing command are used. All other
// errors appear during the work itself.

// scriptRights: KEYS stream. ARGV a group that does not exist, me. Returns the errors of the
// commands that the scripts use.
const ScriptRights = `
local out = {}
local function note(r) if type(r) == 'table' and r['err'] then out[#out+1] = r['err'] end end
note(redis.pcall('XPENDING', KEYS[1], ARGV[1], '0-0', '0-0', 1, ARGV[2]))
note(redis.pcall('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, '0-0', 'JUSTID'))
note(redis.pcall('XACK', KEYS[1], ARGV[1], '0-0'))
note(redis.pcall('XINFO', 'GROUPS', KEYS[1]))
return out`

// MayWrite returns an error if the user may not append to a stream. It writes nothing, because no
// stream accepts the ID.
func MayWrite(ctx context.Context, rdb redis.UniversalClient, key string) error {
	err := rdb.Do(ctx, "xadd", key, "0-0", "f", "v").Err()
	if fault.NoRight(err) {
		return err
	}
	return nil
}

// RightsOf returns the first reply that reports a missing right, or a key of another type.
func RightsOf(cmd *redis.Cmd) error {
	if err := cmd.Err(); fault.NoRight(err) {
		return err
	}
	answers, err := cmd.StringSlice()
	if err != nil {
		return nil
	}
	for _, text := range answers {
		if err := fault.OfScript(text); fault.NoRight(err) || fault.IsWrongType(err) {
			return err
		}
	}
	return nil
}
