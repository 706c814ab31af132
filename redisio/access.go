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
func KeyPattern(key string) string { return Literal(key) }

func Literal(key string) string {
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

// AccessToCluster is what a client of a Redis Cluster needs beside, on every node. Without COMMAND
// it works as well, but go-redis asks again and again, and says so in its log.
func AccessToCluster() Access {
	return Access{Commands: []string{"asking", "cluster|slots", "command"}}
}
