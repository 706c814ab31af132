package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// scriptReset: ARGV group, live ms, released, position. Returns the names of live consumers. Sets
// the group's position if no consumer is alive. With live 0 all consumers are considered dead.
const scriptReset = luaLive + `
local live = living()
if live[1] then return live end
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[4])
return {}`

// scriptUnpend: ARGV group, live ms, released, from id, "drop" or "release", how many. Settles a
// page of pending entries, or makes them due for any reader, unless consumers are alive. Returns
// the live consumers, the number of entries, and the last ID.
//
// Released entries move to a consumer that no process uses, because a claim would make their own
// consumer look alive.
const scriptUnpend = luaLive + `
local live = living()
if live[1] then return {live, 0, ''} end
local page = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[4], '+', ARGV[6])
for _, p in ipairs(page) do
  if ARGV[5] == 'drop' then redis.call('XACK', KEYS[1], ARGV[1], p[1])
  else redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, p[1], 'IDLE', 86400000, 'RETRYCOUNT', math.min(p[4], 1e15), 'JUSTID') end
end
return {live, #page, page[1] and page[#page][1] or ''}`

// luaLive: living() lists the consumers of group ARGV[1], except ARGV[3], that have been idle for
// less than ARGV[2] ms. Replies before Redis 7.2 have no "inactive", so idle does not show whether
// a consumer is alive. Then all consumers count as alive, unless ARGV[2] is 0.
const luaLive = `
local function living()
  local live = {}
  for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local f = {}
    for i = 1, #c, 2 do f[c[i]] = c[i+1] end
    local alive = f['idle'] < tonumber(ARGV[2]) or f['inactive'] == nil and ARGV[2] ~= '0'
    if f['name'] ~= ARGV[3] and alive then live[#live+1] = f['name'] end
  end
  return live
end`

// PendingChoice determines what happens to a group's pending entries when its position is reset.
type PendingChoice int

const (
	KeepPending    PendingChoice = iota // they stay as they are: readers take them over when their leases end
	ReleasePending                      // any reader may have them at once
	DropPending                         // they are settled as if acked: lost, unless the new position redelivers them
)

// ResetOptions say how a group's position is reset.
type ResetOptions struct {
	DryRun  bool          // only report what would happen
	Force   bool          // reset even if consumers are alive; they keep what they hold and may ack it
	Live    time.Duration // a consumer with a shorter idle time is alive; default 30 s
	Pending PendingChoice
}

// Validate reports all mistakes at once, each as a *ConfigError.
func (o ResetOptions) Validate() error {
	m := redisio.MistakesOf("ResetOptions")
	m.Negative("Live", int64(o.Live), "leave it 0 for 30 s; Force is what goes on regardless")
	m.Is(o.Pending < KeepPending || o.Pending > DropPending, "Pending", int(o.Pending),
		"choose KeepPending, ReleasePending or DropPending")
	return m.Err()
}

// ResetPlan is what a reset does, or in a dry run would do.
type ResetPlan struct {
	From    redisio.ID      // the last entry delivered, so far
	To      redisio.ID      // … and from now on
	Again   int64           // entries between, that are delivered again
	Skipped int64           // entries between, that are never delivered
	AtLeast bool            // Again or Skipped are that many or more: counting stopped there
	Pending int64           // entries pending
	Settled int64           // of these, how many were dropped or released; 0 in a dry run
	Live    []ConsumerState // consumers that are alive, or may be: see [ConsumerState]
}

// LiveConsumersError reports a reset that was refused because the group is being read, or may be.
type LiveConsumersError struct {
	Key, Group string
	Consumers  []string
	// Uncertain means that the server does not report whether they are alive, because it is older
	// than Redis 7.2.
	Uncertain bool
}

func (e *LiveConsumersError) Error() string {
	names := e.Consumers[:min(len(e.Consumers), 5)]
	more := ""
	if n := len(e.Consumers) - len(names); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	if e.Uncertain {
		return fmt.Sprintf(
			"redisio: reset group %q of %q: it may be read by %q%s, since a server before Redis 7.2 does not tell; "+
				"stop all readers, then use Force",
			e.Group,
			fault.KeyName(e.Key),
			names,
			more,
		)
	}
	return fmt.Sprintf(
		"redisio: reset group %q of %q: it is being read by %q%s; stop them first, or use Force",
		e.Group,
		fault.KeyName(e.Key),
		names,
		more,
	)
}

// Reset sets the position of a group. Entries after it are delivered, again or for the first time;
// entries up to it are not. Use DryRun first. Reset refuses while consumers are alive, because they
// would process their entries twice. The check and the change are atomic. A server before Redis 7.2
// does not report whether a consumer that waits for entries is alive. There, stop all readers, then
// reset a group that has consumers with Force.
//
// A position after the last entry becomes that of the last entry. A position in the future is
// refused, because future entries would be skipped.
//
// Readers of this module that keep running during a reset with Force continue at the new position.
func Reset(
	ctx context.Context,
	rdb redis.UniversalClient,
	key, group string,
	to redisio.Start,
	o ResetOptions,
) (ResetPlan, error) {
	m := redisio.MistakesOf("Reset")
	m.Client(rdb)
	m.Empty("key", key, "name the stream")
	m.Join(o.Validate())
	m.If(to.IsZero(), "to", "is not set", "choose StartBeginning, StartEnd, StartID or StartTime")
	if err := m.Err(); err != nil {
		return ResetPlan{}, err
	}
	o.Live = cmp.Or(o.Live, 30*time.Second)
	wrap := func(err error) error {
		if is := (*LiveConsumersError)(nil); errors.As(err, &is) {
			return err
		}
		return check.KeyError(fmt.Sprintf("reset group %q of", group), key, err)
	}
	plan, err := resetPlan(ctx, rdb, key, group, to, o)
	if err != nil {
		return plan, err
	}
	if !o.Force && len(plan.Live) > 0 && !o.DryRun {
		return plan, alive(key, group, o, plan.Live)
	}
	if o.DryRun {
		return plan, nil
	}
	if o.Pending != KeepPending {
		if err := unpend(ctx, rdb, key, group, o, &plan); err != nil {
			return plan, wrap(err)
		}
	}
	live, err := rdb.Eval(ctx, scriptReset, []string{key}, group, o.live(), redisio.ReleasedConsumer, plan.To.String()).
		StringSlice()
	if err == nil && len(live) > 0 {
		err = &LiveConsumersError{Key: key, Group: group, Consumers: live}
	}
	return plan, wrap(err)
}

// live is the argument of the scripts.
func (o ResetOptions) live() int64 {
	if o.Force {
		return 0
	}
	return o.Live.Milliseconds()
}

// alive returns the error of a reset that live consumers prevent.
func alive(key, group string, o ResetOptions, consumers []ConsumerState) error {
	e := &LiveConsumersError{Key: key, Group: group, Uncertain: true}
	for _, c := range consumers {
		e.Consumers = append(e.Consumers, c.Name)
		e.Uncertain = e.Uncertain && c.Idle >= o.Live
	}
	return e
}

func resetPlan(
	ctx context.Context,
	rdb redis.UniversalClient,
	key, group string,
	to redisio.Start,
	o ResetOptions,
) (plan ResetPlan, err error) {
	s, err := FindGroup(ctx, rdb, key, group)
	if err != nil {
		return plan, err
	}
	plan.Pending = s.Pending
	for _, c := range s.Members {
		if (c.Idle < o.Live || c.Uncertain) && c.Name != redisio.ReleasedConsumer {
			plan.Live = append(plan.Live, c)
		}
	}
	if plan.From, err = redisio.ParseID(s.Delivered); err != nil {
		return plan, err
	}
	plan.To = to.ID()
	if to.AtEnd() {
		if plan.To, err = check.LastID(ctx, rdb, key); err != nil {
			return plan, err
		}
		if plan.To.Compare(plan.From) < 0 { // the last entries were deleted
			plan.To = plan.From
		}
		plan.Skipped, plan.AtLeast = s.Lag, s.LagAtLeast
		return plan, nil
	}
	if plan.To, err = reached(ctx, rdb, key, plan.To); err != nil {
		return plan, err
	}
	if plan.To.IsZero() && !s.LagAtLeast {
		plan.Again = max(0, s.Length-s.Lag)
		return plan, nil
	}
	if plan.To.Compare(plan.From) < 0 {
		plan.Again, plan.AtLeast, err = count(ctx, rdb, key, plan.To, plan.From)
	} else {
		plan.Skipped, plan.AtLeast, err = count(ctx, rdb, key, plan.From, plan.To)
	}
	return plan, err
}

// reached returns a position that the stream has reached: to, or that of the last entry if to is
// after it. It refuses a position in the future.
func reached(ctx context.Context, rdb redis.UniversalClient, key string, to redisio.ID) (redisio.ID, error) {
	info, err := rdb.XInfoStream(ctx, key).Result()
	if err != nil {
		return to, check.KeyError("inspect", key, err)
	}
	last, err := redisio.ParseID(info.LastGeneratedID)
	if err != nil { // the in-process server doesn't report it
		last, err = check.LastID(ctx, rdb, key)
	}
	if err != nil || to.Compare(last) <= 0 {
		return to, err
	}
	if now := serverTime(ctx, rdb); to.Time().After(now) {
		return to, &redisio.ConfigError{
			Type:    "Reset",
			Field:   "to",
			Problem: fmt.Sprintf("is %v, in the future: entries to come would be skipped", to),
			Fix:     "choose StartEnd to skip only those that are there",
		}
	}
	return last, nil
}

// unpend drops or releases pending entries. It works in pages, because a script blocks all other
// clients.
func unpend(ctx context.Context, rdb redis.UniversalClient, key, group string, o ResetOptions, plan *ResetPlan) error {
	how := "release"
	if o.Pending == DropPending {
		how = "drop"
	}
	for from := (redisio.ID{}); ; {
		answer, err := rdb.Eval(ctx, scriptUnpend, []string{key}, group, o.live(), redisio.ReleasedConsumer,
			from.String(), how, script.PageSize).
			Slice()
		if err != nil {
			return err
		}
		if len(answer) != 3 {
			return fmt.Errorf("a reply of %d parts", len(answer))
		}
		if live, _ := answer[0].([]any); len(live) > 0 {
			var consumers []string
			for _, name := range live {
				consumers = append(consumers, fmt.Sprint(name))
			}
			return &LiveConsumersError{Key: key, Group: group, Consumers: consumers}
		}
		n, _ := answer[1].(int64)
		plan.Settled += n
		text, _ := answer[2].(string)
		if n < script.PageSize || text == "" {
			return nil
		}
		last, err := redisio.ParseID(text)
		if err != nil {
			return err
		}
		from = last.Next()
	}
}

// Reap deletes the consumers of a group that have nothing pending and have been idle for at least
// idle. It returns their number. If it deletes a live consumer by mistake, the next read recreates
// it. Readers reap by themselves, see reader.GroupConfig.ReapAfter. Reap is for groups of other
// programs.
func Reap(ctx context.Context, rdb redis.UniversalClient, key, group string, idle time.Duration) (int64, error) {
	m := redisio.MistakesOf("Reap")
	m.Client(rdb)
	m.Empty("key", key, "name the stream")
	m.Is(idle < time.Second, "idle", idle, "give consumers a second at least, better an hour")
	if err := m.Err(); err != nil {
		return 0, err
	}
	n, err := script.Reap(ctx, rdb, key, group, "", idle)
	return n, check.KeyError(fmt.Sprintf("reap consumers of group %q of", group), key, err)
}
