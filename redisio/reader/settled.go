package reader

import (
	"context"
	"sync"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// scriptSettle: KEYS stream. ARGV group, me, "fence" or "", a number, so many ids that were acked
// before, and ids. Acks the ids, with "fence" only those that are pending for me, and deletes all
// of them that every group is done with. It returns how many were acked, how many are pending for
// another, and the ids to come with again.
//
// Idea: what all groups are done with is mostly the beginning of the stream, up to the oldest entry
// that some group has not read or has pending. XTRIM takes it away, and with it what was acked
// earlier and could not go then. XDEL takes what is behind that. An entry that is the last one
// which a group has read has to wait for the next call: a deletion there leaves the server without
// the group's lag. Nothing is deleted while the own group is missing, because it will be made
// again.
const scriptSettle = `
local g, me, from = ARGV[1], ARGV[2], 5 + ARGV[4]
local acked, late, ids, again = 0, 0, {unpack(ARGV, 5, from - 1)}, {}
if ARGV[3] == 'fence' then
  for i = from, #ARGV do
    local p = redis.call('XPENDING', KEYS[1], g, ARGV[i], ARGV[i], 1)[1]
    if p and p[2] ~= me then late = late + 1
    else
      if p then acked = acked + redis.call('XACK', KEYS[1], g, ARGV[i]) end
      ids[#ids+1] = ARGV[i]
    end
  end
else
  acked = redis.call('XACK', KEYS[1], g, unpack(ARGV, from))
  ids = {unpack(ARGV, 5)}
end
if redis.call('XLEN', KEYS[1]) == 0 then return {acked, late, again} end
local function parts(id) return id:match('^(%d+)-(%d+)$') end
local function less(am, as, bm, bs)
  if #am ~= #bm then return #am < #bm end
  if am ~= bm then return am < bm end
  if #as ~= #bs then return #as < #bs end
  return as < bs
end
local groups, sm, ss, own = {}, nil, nil, false
for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local f = {}
  for i = 1, #info, 2 do f[info[i]] = info[i+1] end
  own = own or f['name'] == g
  local lm, ls = parts(f['last-delivered-id'])
  groups[#groups+1] = {f['name'], lm, ls}
  local nm, ns = lm, ls
  if #ls <= 15 then ns = string.format('%.0f', ls + 1) end
  local p = redis.call('XPENDING', KEYS[1], f['name'], '-', '+', 1)[1]
  if p then
    local pm, ps = parts(p[1])
    if less(pm, ps, nm, ns) then nm, ns = pm, ps end
  end
  if not sm or less(nm, ns, sm, ss) then sm, ss = nm, ns end
end
if not own then return {acked, late, again} end
redis.call('XTRIM', KEYS[1], 'MINID', '=', sm..'-'..ss)
local gone = {}
for _, id in ipairs(ids) do
  local m, s = parts(id)
  if m and not less(m, s, sm, ss) then
    local done, last = true, false
    for _, of in ipairs(groups) do
      last = last or m == of[2] and s == of[3]
      if less(of[2], of[3], m, s) or redis.call('XPENDING', KEYS[1], of[1], id, id, 1)[1] then done = false break end
    end
    if done and last then again[#again+1] = id elseif done then gone[#gone+1] = id end
  end
end
if gone[1] then redis.call('XDEL', KEYS[1], unpack(gone)) end
return {acked, late, again}`

// maxAgain is how many ids are remembered: those that are too many go with the next trimming.
const maxAgain = 64

// settledIDs are ids of acked entries that could not be deleted yet.
type settledIDs struct {
	mu  sync.Mutex
	ids []string
}

func (s *settledIDs) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := s.ids
	s.ids = nil
	return ids
}

func (s *settledIDs) put(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = append(s.ids, ids[:min(len(ids), maxAgain-len(s.ids))]...)
}

// settleAndDelete acks entries and deletes those that every group is done with.
func (r *Group) settleAndDelete(ctx context.Context, ids []string, fence bool) (acked, late int, err error) {
	how := ""
	if fence {
		how = "fence"
	}
	for n := 0; n < len(ids); n += script.AckChunk {
		page, before := ids[n:min(n+script.AckChunk, len(ids))], r.leftover.take()
		args := make([]any, 4, 4+len(before)+len(page))
		args[0], args[1], args[2], args[3] = r.cfg.Group, r.cfg.Consumer, how, len(before)
		for i := range before {
			args = append(args, &before[i])
		}
		for i := range page {
			args = append(args, &page[i])
		}
		reply, err := r.control.Eval(ctx, scriptSettle, []string{r.cfg.Key}, args...).Slice()
		if err != nil &&
			fault.Judge(err) != fault.LostGroup { // of a group that is gone XACK says that nothing was pending
			r.leftover.put(before...)
			return acked, late, err
		}
		r.held.Remove(page)
		if err != nil || len(reply) != 3 {
			continue
		}
		a, _ := reply[0].(int64)
		l, _ := reply[1].(int64)
		again, _ := reply[2].([]any)
		for _, id := range again {
			if id, is := id.(string); is {
				r.leftover.put(id)
			}
		}
		acked, late = acked+int(a), late+int(l)
	}
	return acked, late, nil
}
