package reader

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// settler ends deliveries: it acks, nacks, releases and dead-letters entries. It is safe for
// concurrent use.
type settler struct {
	*leases
	loop     *loop
	healer   *healer
	answers  redisio.Patience // of the server to Ack, Nack, Release and Dead
	leftover settledIDs       // with DeleteSettled
	apart    atomic.Bool      // dead letters are in another slot
	company  company
}

// Ack settles entries as done. It returns how many were still pending. After an error some may be
// acked, and a retry is safe. Entries that are no longer pending are counted as stale, see
// EventStaleAcks. They were acked before, or reclaimed and finished by another consumer.
//
// Entries that belong to another consumer by now are not acked, see EventLateAcks. These are the
// entries that OnLost named and, after the lease has lapsed, those that the server reports for
// another consumer. Pass a context with its own deadline, not that of the work.
func (r *settler) Ack(ctx context.Context, ids []string) (acked int, err error) {
	if len(ids) == 0 || r.cfg.AtMostOnce {
		return len(ids), nil
	}
	if err := r.loop.usable(); err != nil {
		return 0, err
	}
	done, err := r.held.Settle(ctx, ids)
	if err != nil {
		return 0, r.failed("ack", len(ids), err)
	}
	defer done()
	plain, fenced, late := r.held.Split(ids, time.Now(), r.cfg.Lease)
	switch {
	case len(plain) == 0:
	case r.cfg.DeleteSettled:
		acked, _, err = r.settleAndDelete(ctx, plain, false)
	default:
		var n int
		n, acked = r.ackOwn(ctx, plain)
		if plain = plain[n:]; len(plain) > 0 {
			n, err = r.ackGoRedis(ctx, plain)
			acked += n
		}
	}
	if err == nil && len(fenced) > 0 {
		var n, other int
		n, other, err = r.ackFenced(ctx, fenced)
		acked, late = acked+n, late+other
	}
	if err = r.answered(err); err != nil {
		return acked, r.failed("ack", len(ids), err)
	}
	if late > 0 {
		r.held.Move(ids, held.Finished)
		r.emitCount(redisio.EventLateAcks, late)
	}
	r.emitCount(redisio.EventStaleAcks, len(ids)-acked-late)
	return acked, nil
}

// ackFenced acks only entries that are still pending for this consumer.
func (r *settler) ackFenced(ctx context.Context, ids []string) (acked, late int, err error) {
	if r.cfg.DeleteSettled {
		return r.settleAndDelete(ctx, ids, true)
	}
	for n := 0; n < len(ids); n += script.PageSize {
		page := ids[n:min(n+script.PageSize, len(ids))]
		args := make([]any, 2, 2+len(page))
		args[0], args[1] = r.cfg.Group, r.cfg.Consumer
		for i := range page {
			args = append(args, &page[i])
		}
		both, err := r.control.Eval(ctx, script.ScriptAck, []string{r.cfg.Key}, args...).Int64Slice()
		if err != nil {
			if fault.Judge(err) == fault.LostGroup {
				both = []int64{0, 0} // as XACK answers for a missing group
			} else {
				return acked, late, err
			}
		}
		r.held.Move(page, held.Settled)
		if len(both) == 2 {
			acked, late = acked+int(both[0]), late+int(both[1])
		}
	}
	return acked, late, nil
}

// ackOwn acks entries on an own connection. It returns how many of the first ones are settled, and how
// many of these were pending. The rest is for ackGoRedis: all if there are no own connections, and
// what follows a failure, because go-redis repeats commands and reports errors.
func (r *settler) ackOwn(ctx context.Context, ids []string) (settled, acked int) {
	if r.acks == nil {
		return 0, 0
	}
	line, err := r.acks.Take(ctx)
	if err != nil {
		return 0, 0
	}
	defer func() { r.acks.Put(line, settled == len(ids)) }()
	line.Out = line.Out[:0]
	for page := range slices.Chunk(ids, script.AckChunk) {
		line.Out = append(resp.AppendArray(line.Out, 3+len(page)), r.xack...)
		for _, id := range page {
			line.Out = resp.AppendBulk(line.Out, id)
		}
	}
	pages := (len(ids) + script.AckChunk - 1) / script.AckChunk
	if r.acks.Send(ctx, line, line.Out, pages) != nil {
		return 0, 0
	}
	replies := resp.Walker{}
	replies.Buf, _ = r.acks.Receive(ctx, line, pages)
	for page := range slices.Chunk(ids, script.AckChunk) {
		n, err := replies.Number()
		if err != nil {
			break
		}
		r.held.Move(page, held.Settled)
		settled, acked = settled+len(page), acked+int(n)
	}
	return settled, acked
}

// ackGoRedis acks entries through go-redis.
func (r *settler) ackGoRedis(ctx context.Context, ids []string) (acked int, err error) {
	pipe := r.control.Pipeline()
	var cmds []*redis.IntCmd
	for page := range slices.Chunk(ids, script.AckChunk) {
		cmds = append(cmds, pipe.XAck(ctx, r.cfg.Key, r.cfg.Group, page...))
	}
	_, err = pipe.Exec(ctx)
	for i, cmd := range cmds {
		if cmd.Err() == nil { // only confirmed ones
			r.held.Move(ids[i*script.AckChunk:min((i+1)*script.AckChunk, len(ids))], held.Settled)
			acked += int(cmd.Val())
		}
	}
	return acked, err
}

// Late reports that the work on entries that OnLost named has finished or stopped. It changes
// nothing on the server. The entries are counted, see EventLateAcks. It is for callers that track
// deliveries individually: a lost entry may be delivered to this reader again, so its ID alone does
// not identify the delivery.
func (r *settler) Late(ids []string) {
	if len(ids) == 0 || r.cfg.AtMostOnce {
		return
	}
	r.held.Move(ids, held.Finished)
	r.emit(redisio.Event{Kind: redisio.EventLateAcks, Count: len(ids)})
}

// answered records how a settlement ended. A refusal that may pass is not permanent for a while.
func (r *settler) answered(err error) error {
	if err == nil {
		r.answers.Worked()
		return nil
	}
	err, first := r.answers.Refusal(err)
	if first {
		r.emit(redisio.Refused(r.cfg.Key, err))
	}
	return err
}

// healed recreates a lost group for a settlement that failed with err, if no Read is running. Usually
// Read does it, but the next Read may wait for the credits of the entries that are settled here.
// healed reports whether to try again.
func (r *settler) healed(ctx context.Context, err error) bool {
	if fault.Judge(err) != fault.LostGroup {
		return false
	}
	select {
	case <-r.loop.token:
	default:
		return false // Read recreates it
	}
	defer r.loop.leave()
	return r.loop.usable() == nil && r.healer.heal(ctx) == nil
}

// scriptSettle: KEYS stream. ARGV group, me, "fence" or "", a number, that many ids that were acked
// before, and ids. Acks the ids, with "fence" only those that are pending for me, and deletes all
// of them that every group is done with. Returns how many were acked, how many are pending for
// another consumer, and the ids to pass again.
//
// Idea: the entries that all groups are done with are mostly the beginning of the stream, up to the
// oldest entry that some group has not read or has pending. XTRIM deletes these, also those that
// were acked earlier and had to stay then. XDEL deletes entries behind. The last entry that a group
// has read stays until the next call, because the server would not know the lag of the group
// without it. Nothing is deleted while the own group is missing, because it will be recreated.
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
  local name, at
  for i = 1, #info, 2 do
    if info[i] == 'name' then name = info[i+1]
    elseif info[i] == 'last-delivered-id' then at = info[i+1] break end
  end
  own = own or name == g
  local lm, ls = parts(at)
  groups[#groups+1] = {name, lm, ls}
  local nm, ns = lm, ls
  if #ls <= 15 then ns = string.format('%.0f', ls + 1) end
  local p = redis.call('XPENDING', KEYS[1], name, '-', '+', 1)[1]
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
  local m, s
  if id:byte(#sm + 1) ~= 45 or id > sm then m, s = parts(id) end -- else its milliseconds are below sm
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

// maxAgain is the maximum number of remembered IDs. The next XTRIM deletes the others.
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
func (r *settler) settleAndDelete(ctx context.Context, ids []string, fence bool) (acked, late int, err error) {
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
		if err != nil && fault.Judge(err) != fault.LostGroup { // XACK answers 0 for a missing group
			r.leftover.put(before...)
			return acked, late, err
		}
		r.held.Move(page, held.Settled)
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
