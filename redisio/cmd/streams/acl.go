package main

import (
	"cmp"
	"flag"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

var aclCommand = command{
	name: "acl", min: 0, max: 0, offline: true,
	short: "print the least rights that a program needs, for ACL SETUSER",
	long: "Prints the ACL SETUSER command that gives a user of the server what a program needs to read and write these streams, and no\n" +
		"more. It asks no server. The command goes to standard output, what there is to say about it to standard error, so that\n" +
		"it can be piped into redis-cli. It sets no password, and takes back what commands and keys the user had.\n\n" +
		"-read, -tail, -range, -write, -ticks, -dedupe, -inspect and -repair take several names, with commas between. What the rest says\n" +
		"holds for all of them. Readers warn of a server that evicts streams if they may use INFO, which is left out here.",
	examples: []string{
		"acl -user billing -read orders -group billing -write invoices | redis-cli",
		"acl -user shipping -read orders -group shipping -dead orders:lost -cluster",
		"acl -user web -tail news -range news,archive",
		"acl -user feed -write orders -max-len -dedupe-window -replicas",
		"acl -user oncall -inspect 'orders*' -repair 'orders*'",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		var a aclFlags
		fs.StringVar(&a.user, "user", "", "the user's `NAME`")
		fs.StringVar(&a.read, "read", "", "`STREAMS` to read as a member of -group")
		fs.StringVar(&a.group, "group", "", "the `NAME` of the group that -read reads in")
		fs.StringVar(
			&a.dead,
			"dead",
			"",
			"the `STREAM` for dead letters of -read (default the stream's name and :dead)",
		)
		fs.BoolVar(&a.noDead, "no-dead", false, "-read has no dead letters")
		fs.BoolVar(&a.noAck, "no-ack", false, "-read reads at most once")
		fs.BoolVar(
			&a.noDelayed,
			"no-delayed",
			false,
			"-read does not move entries that are scheduled for its streams (DelayedEvery negative)",
		)
		fs.BoolVar(&a.noReap, "no-reap", false, "-read leaves dead consumers alone (ReapAfter negative)")
		fs.StringVar(&a.tail, "tail", "", "`STREAMS` to follow without a group")
		fs.StringVar(&a.ranges, "range", "", "`STREAMS` to read pieces of")
		fs.StringVar(&a.write, "write", "", "`STREAMS` to write to")
		fs.BoolVar(&a.maxLen, "max-len", false, "-write keeps to a length (MaxLen, MinID, HardCap)")
		fs.BoolVar(&a.maxAge, "max-age", false, "-write keeps to an age (MaxAge)")
		fs.BoolVar(&a.window, "dedupe-window", false, "-write writes nothing twice (DedupeWindow)")
		fs.BoolVar(&a.replicas, "replicas", false, "-write waits for replicas (Durability.Replicas)")
		fs.BoolVar(&a.fsync, "fsync", false, "-write waits for the disk (Durability.Fsync; Redis 7.2)")
		fs.BoolVar(&a.later, "later", false, "-write schedules entries for later")
		fs.StringVar(&a.ticks, "ticks", "", "`STREAMS` that a clock writes ticks to")
		fs.StringVar(&a.dedupe, "dedupe", "", "`PREFIXES` of stores that remember what is done")
		fs.StringVar(&a.inspect, "inspect", "", "`PATTERNS` of streams that this command looks at")
		fs.StringVar(&a.repair, "repair", "", "`PATTERNS` of streams that this command changes")
		fs.BoolVar(&a.cluster, "cluster", false, "the server is a Redis Cluster")
		return a.print
	},
}

// aclFlags are what a program does.
type aclFlags struct {
	user, read, group, dead, tail, ranges, write, ticks, dedupe, inspect, repair string

	noDead, noAck, noDelayed, noReap, maxLen, maxAge, window, replicas, fsync, later, cluster bool
}

// names are those between the commas.
func names(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func (a *aclFlags) print(c *call) error {
	if a.user == "" || strings.ContainsAny(a.user, " \t\r\n\"'\x00") {
		return usagef("whose rights? say -user NAME, a name without spaces and quotes")
	}
	access, err := a.access()
	if err != nil {
		return err
	}
	if len(access.Commands) == 0 {
		return usagef("rights for what? say -read, -tail, -range, -write, -ticks, -dedupe, -inspect or -repair")
	}
	if a.cluster {
		access = access.And(redisio.AccessToCluster())
		c.note("a cluster: each node has users of its own, masters and replicas, so each is to be told")
	}
	line := strings.Join(append([]string{"ACL SETUSER", a.user, "on"}, access.Rules()...), " ")
	c.note(
		"a new user needs a password as well: ACL SETUSER %s >PASSWORD; ACL SAVE or CONFIG REWRITE keeps users over a restart",
		a.user,
	)
	if c.out.json {
		return c.out.object(struct {
			User  string   `json:"user"`
			Rules []string `json:"rules"`
		}{a.user, access.Rules()})
	}
	c.out.line("%s", line)
	return nil
}

// access puts together what the flags say.
func (a *aclFlags) access() (all redisio.Access, err error) {
	if (a.read == "") != (a.group == "") {
		return all, usagef("-read and -group go together")
	}
	if a.dead != "" && (a.noDead || a.noAck) {
		return all, usagef("-dead does not go with -no-dead and -no-ack")
	}
	for _, key := range names(a.read) {
		cfg := redisio.GroupConfig{Key: key, Group: a.group, NoAck: a.noAck}
		if a.noDelayed {
			cfg.DelayedEvery = -1
		}
		if a.noReap {
			cfg.ReapAfter = -1
		}
		var dead []string
		if !a.noDead && !a.noAck {
			dead = append(dead, cmp.Or(a.dead, defaultDead(key, a.cluster)))
		}
		all = all.And(cfg.Access(dead...))
	}
	for _, key := range names(a.tail) {
		all = all.And(redisio.TailConfig{Key: key}.Access())
	}
	for _, key := range names(a.ranges) {
		all = all.And(redisio.RangeConfig{Key: key}.Access())
	}
	for _, key := range names(a.write) {
		cfg := redisio.WriterConfig{Key: key}
		if a.maxLen {
			cfg.MaxLen = 1
		}
		if a.maxAge {
			cfg.MaxAge = time.Hour
		}
		if a.window {
			cfg.DedupeWindow = time.Hour
		}
		if a.replicas {
			cfg.Durability.Replicas = 1
		}
		cfg.Durability.Fsync = a.fsync
		if err := cfg.Validate(); err != nil {
			return all, err
		}
		all = all.And(cfg.Access())
		if a.later {
			all = all.And(redisio.ScheduleConfig{Key: key}.Access())
		}
	}
	for _, key := range names(a.ticks) {
		all = all.And(redisio.TickerConfig{Key: key}.Access())
	}
	for _, prefix := range names(a.dedupe) {
		all = all.And(redisio.DedupeConfig{Prefix: prefix}.Access())
	}
	if a.inspect != "" || a.repair != "" {
		all = all.And(redisio.AccessToInspect(names(a.inspect)...))
	}
	if a.repair != "" {
		all = all.And(redisio.AccessToRepair(names(a.repair)...))
	}
	return all, nil
}

// defaultDead is where source.Stream puts dead letters: beside the stream, and in a cluster in its hash slot.
func defaultDead(key string, cluster bool) string {
	if cluster && !strings.Contains(key, "{") {
		return "{" + key + "}:dead"
	}
	return key + ":dead"
}
