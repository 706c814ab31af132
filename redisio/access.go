package redisio

import (
	"maps"
	"slices"
	"strings"
)

// Access is the minimal set of rights that a Redis user needs for a task, for ACL SETUSER. The
// configurations of readers and writers return it, and And combines several. See also the command
// redisio/cmd/streams acl.
//
// It omits commands that a server always permits (AUTH, HELLO). It also omits optional ones that
// may be refused without harm. These are INFO (readers use it to warn of a server that evicts
// streams), CLIENT SETINFO of go-redis, and the scratch keys "redisio:probe:*". Newer commands are
// probed on the scratch keys. Without them the features of Redis 7.0 are used. A database other
// than 0 needs SELECT.
type Access struct {
	Commands []string // "xadd", "xgroup|create"; sorted
	Reads    []string // patterns of keys that are only read
	Appends  []string // patterns of keys that are only written to
	Writes   []string // patterns of keys that are read and written

	// Selectors are independent rights: the commands of each apply only to its own keys. See Apart.
	// They have no Selectors of their own.
	Selectors []Access
}

// Apart returns an Access with a single selector. Its commands apply only to the keys of a, and
// commands combined with it do not apply to these keys. For example, DEL for a mailbox then deletes
// no other key that the user may write to.
func (a Access) Apart() Access {
	inner := a
	inner.Selectors = nil
	return Access{Selectors: append([]Access{inner.And()}, a.Selectors...)}.And()
}

// And returns the rights of a and all others.
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

// distinct returns the selectors without duplicates, sorted by their rules.
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

// Rules returns the arguments of ACL SETUSER after the name and the password. A user that had other
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

// rights returns the rules of the keys and commands, without the selectors.
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

// String returns the rules in one line.
func (a Access) String() string { return strings.Join(a.Rules(), " ") }

// KeyPattern returns a pattern for Access that matches only this key. Spaces and quotes are an
// exception: a rule can't contain them, so any character matches in their place. Append "*" to
// match all keys that begin with key.
func KeyPattern(key string) string {
	key = escapes.Replace(key)
	b := []byte(key)
	for i, c := range b {
		if c <= ' ' || c == '"' || c == '\'' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

// escapes replaces the special characters of a pattern. A parenthesis at the end of a rule would
// end its selector.
var escapes = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `)`, `[)]`)

// AccessToCluster returns the rights that a client of a Redis Cluster needs in addition, on every
// node. COMMAND is optional, but without it go-redis asks repeatedly and logs the refusals.
func AccessToCluster() Access {
	return Access{Commands: []string{"asking", "cluster|slots", "command"}}
}
