package redisio

import (
	"maps"
	"slices"
	"strings"
)

// Access is what a user of Redis needs for what is to be done with streams: the least that will do,
// for ACL SETUSER. It is made of the configurations of readers and writers, and put together by
// And. See also the command redisio/cmd/streams acl.
//
// What a server lets nobody forbid (AUTH, HELLO) is left out, and so is what is nice to have and
// refused without harm: INFO (with it readers warn of a server that evicts streams), CLIENT SETINFO
// of go-redis, and the scratch keys "redisio:probe:*" on which newer commands are tried: without
// them what Redis 7.0 has is used. Another database than 0 needs SELECT.
type Access struct {
	Commands []string // "xadd", "xgroup|create"; sorted
	Reads    []string // patterns of keys that are only read
	Appends  []string // patterns of keys that are only written to
	Writes   []string // patterns of keys that are read and written
}

// And is the access for all of these things.
func (a Access) And(others ...Access) Access {
	for _, o := range others {
		a.Commands = slices.Concat(a.Commands, o.Commands)
		a.Reads = slices.Concat(a.Reads, o.Reads)
		a.Appends = slices.Concat(a.Appends, o.Appends)
		a.Writes = slices.Concat(a.Writes, o.Writes)
	}
	more := func(k string) bool { return slices.Contains(a.Writes, k) }
	return Access{
		Commands: sortedSet(a.Commands),
		Reads:    slices.DeleteFunc(sortedSet(a.Reads), more),
		Appends:  slices.DeleteFunc(sortedSet(a.Appends), more),
		Writes:   sortedSet(a.Writes),
	}
}

func sortedSet(s []string) []string {
	set := make(map[string]bool, len(s))
	for _, v := range s {
		set[v] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Rules are the arguments of ACL SETUSER behind the name and the password. A user that had other
// commands, keys or channels has them no more; its selectors stay.
func (a Access) Rules() []string {
	rules := []string{"resetkeys", "resetchannels", "-@all"}
	for _, k := range a.Writes {
		rules = append(rules, "~"+k)
	}
	for _, k := range a.Reads {
		rules = append(rules, "%R~"+k)
	}
	for _, k := range a.Appends {
		rules = append(rules, "%W~"+k)
	}
	for _, c := range a.Commands {
		rules = append(rules, "+"+c)
	}
	return rules
}

// String is the rules in one line.
func (a Access) String() string { return strings.Join(a.Rules(), " ") }

// literal makes a pattern that only the key itself matches, but for spaces and quotes: a rule can't
// have them, so any character will do in their place.
func literal(key string) string {
	key = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(key)
	b := []byte(key)
	for i, c := range b {
		if c <= ' ' || c == '"' || c == '\'' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

func literals(keys []string) []string {
	patterns := make([]string, len(keys))
	for i, k := range keys {
		patterns[i] = literal(k)
	}
	return patterns
}

// access is that of commands on keys that scripts read and write.
func access(writes []string, commands ...string) Access {
	return Access{Commands: append(commands, "ping"), Writes: literals(writes)}.And()
}

// Access is what a GroupReader needs. deadKeys are the streams that Dead is called with: source.Stream's DeadKey.
func (c GroupConfig) Access(deadKeys ...string) Access {
	a := access(
		[]string{c.Key},
		"xreadgroup",
		"xgroup|create",
		"xgroup|createconsumer",
		"xgroup|delconsumer",
		"time",
		"xinfo|groups",
		"xinfo|stream",
		"xlen",
		"xpending",
		"xrevrange",
		"eval",
	)
	if !c.NoAck {
		a = a.And(access(nil, "xack", "xautoclaim", "xclaim", "xinfo|consumers"))
		if c.DeleteSettled {
			a = a.And(access(nil, "xdel", "xtrim"))
		}
	}
	if len(deadKeys) > 0 {
		a = a.And(access(deadKeys, "exec", "multi", "type", "xack", "xadd", "xrange"))
	}
	if c.DelayedEvery >= 0 {
		a = a.And(
			access(
				scheduleKeys(c.Key),
				"exists",
				"hdel",
				"hget",
				"time",
				"type",
				"xadd",
				"zadd",
				"zrange",
				"zrangebyscore",
				"zrem",
				"zremrangebyrank",
				"zremrangebyscore",
			),
		)
	}
	return a
}

// Access is what a TailReader needs.
func (c TailConfig) Access() Access {
	return Access{Commands: []string{"ping", "xinfo|stream", "xread", "xrevrange"}, Reads: []string{literal(c.Key)}}
}

// Access is what a RangeReader needs.
func (c RangeConfig) Access() Access {
	return Access{Commands: []string{"ping", "xrange"}, Reads: []string{literal(c.Key)}}
}

// Access is what a Writer needs. keys are those that entries name, beside the writer's own. What
// Redis 8.6 has for a DedupeWindow, XADD … IDMP, is not counted on: without the right to XCFGSET
// and to the scratch keys a script does it.
func (c WriterConfig) Access(keys ...string) Access {
	if c.Key != "" {
		keys = append([]string{c.Key}, keys...)
	}
	a := Access{Commands: []string{"ping", "xadd"}, Appends: literals(keys)}.And()
	if c.Key != "" {
		a = a.And(Access{Commands: []string{"xlen"}})
	}
	if c.trims() && !c.plain() || c.HardCap > 0 {
		a = a.And(access(keys, "eval", "xinfo|groups", "xlen", "xpending", "xrange", "xtrim"))
	}
	if c.MaxAge > 0 {
		a = a.And(access(nil, "time"))
	}
	if c.DedupeWindow > 0 {
		once := make([]string, 0, 2*len(keys))
		for _, k := range keys {
			if o := onceKey(k); o != "" {
				once = append(once, o)
			}
		}
		a = a.And(
			access(
				append(once, keys...),
				"eval",
				"pexpire",
				"time",
				"type",
				"zadd",
				"zrem",
				"zremrangebyrank",
				"zremrangebyscore",
			),
		)
	}
	if c.Together {
		a = a.And(access(nil, "exec", "multi"))
	}
	if c.Durability.Replicas > 0 {
		a = a.And(access(nil, "wait"))
	}
	if c.Durability.Fsync {
		a = a.And(access(nil, "waitaof"))
	}
	return a
}

// Access is what a Scheduler needs to schedule, cancel, list and move.
func (c ScheduleConfig) Access() Access {
	return access(
		scheduleKeys(c.Key),
		"eval",
		"exists",
		"hdel",
		"hget",
		"hmget",
		"hset",
		"time",
		"type",
		"xadd",
		"zadd",
		"zcard",
		"zcount",
		"zrange",
		"zrangebyscore",
		"zrem",
		"zremrangebyrank",
		"zremrangebyscore",
		"zscore",
	)
}

// Access is what a Ticker needs.
func (c TickerConfig) Access() Access {
	return access([]string{c.Key}, "eval", "time", "type", "xadd", "xinfo|stream", "xrevrange")
}

// Access is what a DedupeStore needs.
func (c DedupeConfig) Access() Access {
	a := access(nil, "del", "eval", "get", "pttl", "set")
	a.Writes = []string{literal(c.Prefix) + ":*"}
	return a
}

// AccessToInspect is what looking at streams and their dead letters needs: Streams, InspectStreams,
// Groups, PendingEntries, DeadLetters, and following a stream. The keys are patterns, as "orders*".
func AccessToInspect(keys ...string) Access {
	return Access{
		Commands: []string{
			"exists",
			"ping",
			"scan",
			"time",
			"xinfo|consumers",
			"xinfo|groups",
			"xinfo|stream",
			"xlen",
			"xpending",
			"xrange",
			"xread",
			"xrevrange",
		},
		Reads: keys,
	}.And()
}

// AccessToRepair is what changing streams by hand needs: Reset, Reap, Trim, and replaying and
// dropping dead letters, which needs the streams that they go back to as well. It comes beside
// AccessToInspect. The keys are patterns.
func AccessToRepair(keys ...string) Access {
	return Access{
		Commands: []string{
			"eval",
			"exec",
			"multi",
			"ping",
			"type",
			"unwatch",
			"watch",
			"xack",
			"xadd",
			"xclaim",
			"xdel",
			"xgroup|delconsumer",
			"xgroup|setid",
			"xinfo|consumers",
			"xinfo|groups",
			"xlen",
			"xpending",
			"xrange",
			"xtrim",
		},
		Writes: keys,
	}.And()
}

// AccessBetweenSlots is what moving entries to these streams needs besides on a server with slots,
// where the streams that they come from lie in other slots: dead letters (the streams are
// DeadKeys), and replays of them. The keys are names, not patterns.
func AccessBetweenSlots(keys ...string) Access {
	var copied []string
	for _, k := range keys {
		if c := copiedKey(k); c != "" {
			copied = append(copied, c)
		}
	}
	return access(
		append(copied, keys...),
		"eval",
		"pexpire",
		"time",
		"type",
		"xadd",
		"xtrim",
		"zadd",
		"zrem",
		"zremrangebyrank",
		"zremrangebyscore",
	)
}

// AccessToCluster is what a client of a Redis Cluster needs beside, on every node. Without COMMAND
// it works as well, but go-redis asks again and again, and says so in its log.
func AccessToCluster() Access {
	return Access{Commands: []string{"asking", "cluster|slots", "command"}}
}
