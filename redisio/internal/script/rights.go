package script

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Idea of this file: EVAL, and the key of the dead letters, are needed when something fails for the
// first time, which may be weeks after the start. So whether the user has the rights is tried at
// the start, by commands that check them and then find nothing to do: a group that does not exist,
// and the ID 0-0 that no entry has. Only what says that a right, or a command, is missing counts.
// Everything else is found out by the work itself.

// scriptRights: KEYS stream. ARGV a group that does not exist, me. Returns what the commands of the scripts answer.
const ScriptRights = `
local out = {}
local function note(r) if type(r) == 'table' and r['err'] then out[#out+1] = r['err'] end end
note(redis.pcall('XPENDING', KEYS[1], ARGV[1], '0-0', '0-0', 1, ARGV[2]))
note(redis.pcall('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, '0-0', 'JUSTID'))
note(redis.pcall('XACK', KEYS[1], ARGV[1], '0-0'))
note(redis.pcall('XINFO', 'GROUPS', KEYS[1]))
return out`

// MayWrite finds out whether the user may append to a stream. No stream takes the ID.
func MayWrite(ctx context.Context, rdb redis.UniversalClient, key string) error {
	err := rdb.Do(ctx, "xadd", key, "0-0", "f", "v").Err()
	if fault.NoRight(err) {
		return err
	}
	return nil
}

// RightsOf returns the first answer that says that a right is missing, or that the key has another type.
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
