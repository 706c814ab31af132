package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/groupinfo"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// TrimOptions say what Trim may drop.
type TrimOptions struct {
	Before redisio.ID // drop entries before this ID; with the zero ID and no MaxLen, all that every group has settled
	MaxLen int64      // drop the oldest entries beyond this number; 0: no limit
	Exact  bool       // drop to the exact entry; the default frees whole nodes only, which is cheaper
}

// scriptTrim: KEYS stream. ARGV smallest ID to keep or "", most entries to keep or -1, "~" or "=",
// the most entries to drop. Drops some of the oldest entries that all groups have settled and
// returns their number. 0 means that nothing is left to drop.
//
// It frees whole nodes first, with "~" and LIMIT. The rest for "=" lies in one node, so no call
// takes long.
const scriptTrim = script.LuaLess + `
local before, maxlen, exact, step = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '=', tonumber(ARGV[4])
local over = redis.call('XLEN', KEYS[1])
if over == 0 then return 0 end
if maxlen >= 0 then over = over - maxlen end
if over <= 0 then return 0 end
local safe = nil
for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local f = {}
  for i = 1, #g, 2 do f[g[i]] = g[i+1] end
  local p = redis.call('XPENDING', KEYS[1], f['name'], '-', '+', 1)[1]
  local need = p and p[1]
  if not need or less(f['last-delivered-id'], need) then
    local ms, seq = f['last-delivered-id']:match('^(%d+)-(%d+)$')
    need = #seq > 15 and f['last-delivered-id'] or ms..'-'..string.format('%.0f', seq + 1)
  end
  if not safe or less(need, safe) then safe = need end
end
local bound = before ~= '' and before or safe
if safe and less(safe, bound) then bound = safe end
if not bound and maxlen < 0 then return 0 end
if not bound then
  local n = redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', maxlen, 'LIMIT', step)
  if n == 0 and exact then n = redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', maxlen) end
  return n
end
local n = redis.call('XTRIM', KEYS[1], 'MINID', '~', bound, 'LIMIT', math.min(over, step))
if n > 0 or not exact then return n end
if maxlen >= 0 then
  local e = redis.call('XRANGE', KEYS[1], '-', '('..bound, 'COUNT', over)
  if #e == 0 then return 0 end
  if #e == over then return redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', maxlen) end
end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', bound)`

// Trim drops old entries that every consumer group has read and settled. It keeps entries that are
// pending or not delivered. A writer's retention trims in the same way while it writes; with Trim
// the caller chooses the time. A stream without groups is trimmed only as the options say: without
// options, nothing is dropped. Trim returns the number of dropped entries. It works in steps of at
// most 10,000 entries, so that it does not block the server's other clients for long. [PlanTrim]
// shows beforehand what it would drop.
func Trim(ctx context.Context, rdb redis.UniversalClient, key string, o TrimOptions) (int64, error) {
	minID, maxLen, how := "", int64(-1), "~"
	if !o.Before.IsZero() {
		minID = o.Before.String()
	}
	if o.MaxLen > 0 {
		maxLen = o.MaxLen
	}
	if o.Exact {
		how = "="
	}
	for dropped := int64(0); ; {
		n, err := rdb.Eval(ctx, scriptTrim, []string{key}, minID, maxLen, how, script.TrimStep).Int64()
		if dropped += n; err != nil {
			return dropped, fmt.Errorf("redisio: trim %q: %w", fault.KeyName(key), err)
		}
		if n == 0 {
			return dropped, nil
		}
	}
}

// TrimPlan is what Trim would drop.
type TrimPlan struct {
	Length      int64      // of the stream
	Groups      int64      // that the stream has
	Entries     int64      // to drop; without Exact fewer are dropped, because only whole nodes are freed
	AtLeast     bool       // there are Entries or more: counting stopped there
	First, Last redisio.ID // of the entries to drop; zero without such entries, or if Last is not known
	Keep        redisio.ID // no entry from this ID on is dropped; the zero ID: no entry is kept because of its ID
	Group       string     // the group that has not settled Keep; "" if the options keep it
}

// PlanTrim returns what [Trim] would drop with the same options. It changes nothing. To drop
// exactly that, even if the groups settle more meanwhile, call Trim with Last.Next() for Before. It
// counts up to 10,000 entries, or 16 MiB.
func PlanTrim(ctx context.Context, rdb redis.UniversalClient, key string, o TrimOptions) (TrimPlan, error) {
	var plan TrimPlan
	if err := errors.Join(check.NeedClient(rdb, "PlanTrim"), check.NeedKey("PlanTrim", key)); err != nil {
		return plan, err
	}
	pipe := rdb.Pipeline()
	listed, length := pipe.XInfoGroups(ctx, key), pipe.XLen(ctx, key)
	_, _ = pipe.Exec(ctx) // each command has its own error
	if err := errors.Join(listed.Err(), length.Err()); err != nil {
		return plan, check.KeyError("list groups of", key, err)
	}
	groups := listed.Val()
	plan.Length, plan.Groups, plan.Keep = length.Val(), int64(len(groups)), o.Before
	for chunk := range slices.Chunk(groups, groupChunk) {
		if err := plan.lowerKeep(ctx, rdb, key, chunk); err != nil {
			return plan, err
		}
	}
	most := plan.Length
	if o.MaxLen > 0 {
		most = max(0, plan.Length-o.MaxLen)
	}
	if plan.Keep.IsZero() && o.MaxLen <= 0 || most == 0 {
		return plan, nil // no groups and no option, or nothing is too much
	}
	last := redisio.MaxID
	if !plan.Keep.IsZero() {
		last = plan.Keep.Prev()
	}
	return plan, plan.Count(ctx, rdb, key, last, most)
}

// lowerKeep lowers Keep to the oldest entry that the groups need.
func (p *TrimPlan) lowerKeep(
	ctx context.Context, rdb redis.UniversalClient, key string, groups []redis.XInfoGroup,
) error {
	pipe := rdb.Pipeline()
	oldest := make([]*redis.XPendingExtCmd, len(groups))
	for i, g := range groups {
		oldest[i] = groupinfo.Oldest(ctx, pipe, key, g.Name)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, g := range groups {
		if err := oldest[i].Err(); err != nil && !errors.Is(err, redis.Nil) {
			return check.KeyError(fmt.Sprintf("list pending entries of group %q of", fault.KeyName(g.Name)), key, err)
		}
		read, err := redisio.ParseID(g.LastDeliveredID)
		if err != nil {
			return err
		}
		need := read.Next()
		for _, pending := range oldest[i].Val() {
			id, err := redisio.ParseID(pending.ID)
			if err != nil {
				return err
			}
			if id.Compare(need) < 0 {
				need = id
			}
		}
		if p.Keep.IsZero() || need.Compare(p.Keep) < 0 {
			p.Keep, p.Group = need, g.Name
		}
	}
	return nil
}

// Count sets Entries to the number of entries up to last, at most most.
func (p *TrimPlan) Count(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	last redisio.ID,
	most int64,
) error {
	if last.IsZero() {
		return nil
	}
	r, err := reader.NewRange(rdb, reader.RangeConfig{Key: key, To: last})
	if err != nil {
		return err
	}
	if err := r.Open(ctx); err != nil {
		return err
	}
	bytes := 0
	for p.Entries < most {
		if p.Entries >= maxCounted || bytes >= maxCountedBytes {
			p.AtLeast = true
			break
		}
		var b redisio.Batch
		err := r.Read(ctx, int(min(script.PageSize, most-p.Entries, maxCounted-p.Entries)), countedPageBytes, &b)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range b.Entries {
			if p.Last, err = redisio.ParseID(e.ID); err != nil {
				return err
			}
			if p.First.IsZero() {
				p.First = p.Last
			}
		}
		p.Entries, bytes = p.Entries+int64(len(b.Entries)), bytes+b.Bytes
	}
	if !p.AtLeast {
		return nil
	}
	if p.Last = (redisio.ID{}); most < p.Length { // MaxLen ends it at an unknown entry
		return nil
	}
	newest, err := rdb.XRevRangeN(ctx, key, last.String(), "-", 1).Result()
	if err != nil {
		return check.ReadError(key, err)
	}
	for _, e := range newest {
		p.Last, err = redisio.ParseID(e.ID)
	}
	return err
}
