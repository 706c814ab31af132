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

	// Selectors are rights of which each holds by itself: its commands for its keys, and for no
	// others. See Apart. They have no Selectors of their own.
	Selectors []Access
}

// Apart returns an Access with a single selector: the commands of a may be used on the keys of a
// only, and the commands that it is combined with not on the keys of a. For example, DEL for a
// mailbox then deletes no other key that the user may write to.
func (a Access) Apart() Access {
	inner := a
	inner.Selectors = nil
	return Access{Selectors: append([]Access{inner.And()}, a.Selectors...)}.And()
}

// And is the access for all of these things.
func (a Access) And(others ...Access) Access {
	for _, o := range others {
		a.Selectors = slices.Concat(a.Selectors, o.Selectors)
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

		Selectors: distinct(a.Selectors),
	}
}

// distinct returns the selectors without those that are there twice, sorted by their rules.
func distinct(selectors []Access) []Access {
	all := make(map[string]Access, len(selectors))
	for _, a := range selectors {
		all[a.selector()] = a
	}
	var list []Access
	for _, rule := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[rule])
	}
	return list
}

func sortedSet(s []string) []string {
	set := make(map[string]bool, len(s))
	for _, v := range s {
		set[v] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Rules are the arguments of ACL SETUSER behind the name and the password. A user that had other
// commands, keys, channels or selectors loses them. Each selector is one argument.
func (a Access) Rules() []string {
	rules := append([]string{"clearselectors", "resetkeys", "resetchannels", "-@all"}, a.rights()...)
	for _, s := range a.Selectors {
		rules = append(rules, s.selector())
	}
	return rules
}

// selector returns the rule of a selector with the commands and keys of a.
func (a Access) selector() string { return "(" + strings.Join(a.rights(), " ") + ")" }

// rights are the rules of the keys and commands, without the selectors.
func (a Access) rights() []string {
	var rules []string
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

// KeyPattern returns a pattern for Access that matches the key and no other. A space or a quote is
// the exception: a rule can't have them, so any character matches in their place. With "*" behind
// it the pattern matches the keys that begin with key.
func KeyPattern(key string) string { return literal(key) }

func literal(key string) string {
	key = escapes.Replace(key)
	b := []byte(key)
	for i, c := range b {
		if c <= ' ' || c == '"' || c == '\'' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

// escapes replaces what a pattern takes for something else. A parenthesis at the end of a rule would
// end its selector.
var escapes = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `)`, `[)]`)

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
	if c.trims() && !c.plain() || c.HardCap > 0 || c.MaxBytes > 0 {
		a = a.And(access(keys, "eval", "xinfo|groups", "xlen", "xpending", "xrange", "xtrim"))
	}
	if c.MaxBytes > 0 {
		a = a.And(access(nil, "memory|usage"))
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
