package main

import (
	"cmp"
	"crypto/rand"
	"flag"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/dedupe"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/schedule"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

var aclCommand = command{
	name: "acl", min: 0, max: 0, offline: true,
	short: "print the least rights that a program needs, for ACL SETUSER",
	long: "Prints the ACL SETUSER command that gives a user of the server what a program needs to read and write these streams, and no\n" +
		"more. It asks no server. The command goes to standard output, what there is to say about it to standard error, so that\n" +
		"it can be piped into redis-cli. It sets no password, and takes back what commands, keys and selectors the user had.\n" +
		"It needs Redis 7.0 or later.\n\n" +
		"The programs of package gateways have roles. All the keys of a topic or a hub are part of its role:\n\n" +
		"  -service TOPICS  handles requests, answers them, hands them on, writes dead letters, and publishes and reads the events.\n" +
		"  -client TOPICS   sends requests and control messages, and reads the events and its own replies. Its mailboxes are below\n" +
		"                   \"{topic}:reply:NAME:\", where NAME is -user: that of ClientConfig.User, by default the user as whom the\n" +
		"                   Redis client logs in. It can't read the requests of any client, nor the replies to other users.\n" +
		"                   Give each client that must not see the replies of another a user of its own.\n" +
		"  -hub HUBS        appends what sockets say, reads and appends what they are told, and keeps the secret of the sessions.\n" +
		"                   A hub that has Calls is a -client of their topic, too. Its workers are -read {hub}:in -group workers\n" +
		"                   -write {hub}:out -max-len -max-bytes.\n\n" +
		"-service, -client, -hub, -read, -tail, -range, -write, -ticks, -dedupe, -inspect and -repair take several names, with commas\n" +
		"between. What the rest says holds for all of them. Readers warn of a server that evicts streams if they may use INFO, which is left out here.",
	examples: []string{
		"acl -user billing -read orders -group billing -write invoices | redis-cli",
		"acl -user shipping -read orders -group shipping -dead orders:lost -cluster",
		"acl -user web -tail news -range news,archive",
		"acl -user feed -write orders -max-len -dedupe-window -replicas",
		"acl -user pricing -service orders",
		"acl -user shop -client orders,stock",
		"acl -user web -hub chat -client orders",
		"acl -user oncall -inspect 'orders*' -repair 'orders*'",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		var a aclFlags
		fs.StringVar(&a.user, "user", "", "the user's `NAME`")
		fs.StringVar(&a.service, "service", "", "`TOPICS` whose requests the program handles")
		fs.StringVar(&a.replyTopics, "reply-topics", "", "other `TOPICS` whose clients -service answers (ReplyTopics)")
		fs.StringVar(&a.client, "client", "", "`TOPICS` whose services the program asks")
		fs.StringVar(&a.hub, "hub", "", "`HUBS` that the program is a process of")
		fs.BoolVar(&a.ownSecrets, "secrets", false, "-hub has the secrets of its sessions from elsewhere (Secrets)")
		fs.StringVar(&a.read, "read", "", "`STREAMS` to read as a member of -group")
		fs.StringVar(&a.group, "group", "", "the `NAME` of the group that -read reads in")
		fs.StringVar(
			&a.dead,
			"dead",
			"",
			"the `STREAM` for dead letters of -read and -service (default the stream's name and :dead)",
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
		fs.BoolVar(&a.maxBytes, "max-bytes", false, "-write keeps to an amount of memory (MaxBytes)")
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

	service, replyTopics, client, hub string

	noDead, noAck, noDelayed, noReap, maxLen, maxAge, maxBytes, window, replicas, fsync, later, cluster, ownSecrets bool
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
	if len(access.Commands)+len(access.Selectors) == 0 {
		return usagef(
			"rights for what? say -service, -client, -hub, -read, -tail, -range, -write, -ticks, -dedupe, -inspect or -repair",
		)
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
		cfg := reader.GroupConfig{Key: key, Group: a.group, NoAck: a.noAck}
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
	roles, err := a.roles()
	if err != nil {
		return all, err
	}
	all = all.And(roles)
	for _, key := range names(a.tail) {
		all = all.And(reader.TailConfig{Key: key}.Access())
	}
	for _, key := range names(a.ranges) {
		all = all.And(reader.RangeConfig{Key: key}.Access())
	}
	for _, key := range names(a.write) {
		cfg := writer.Config{Key: key}
		if a.maxLen {
			cfg.MaxLen = 1
		}
		if a.maxBytes {
			cfg.MaxBytes = 64 << 20
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
			all = all.And(schedule.Config{Key: key}.Access())
		}
	}
	for _, key := range names(a.ticks) {
		all = all.And(schedule.TickerConfig{Key: key}.Access())
	}
	for _, prefix := range names(a.dedupe) {
		all = all.And(dedupe.Config{Prefix: prefix}.Access())
	}
	if a.inspect != "" || a.repair != "" {
		all = all.And(admin.AccessToInspect(names(a.inspect)...))
	}
	if a.repair != "" {
		all = all.And(admin.AccessToRepair(names(a.repair)...))
	}
	return all, nil
}

// roles puts together what services, clients and hubs need. Mistakes are those that the programs
// would report.
func (a *aclFlags) roles() (all redisio.Access, err error) {
	if a.replyTopics != "" && a.service == "" {
		return all, usagef("-reply-topics goes with -service")
	}
	if a.ownSecrets && a.hub == "" {
		return all, usagef("-secrets goes with -hub")
	}
	if a.service != "" && a.noDead {
		return all, usagef("-no-dead does not go with -service, which has dead letters")
	}
	rdb := redis.NewClient(&redis.Options{}) // it is for Validate, and never dials
	defer rdb.Close()
	for _, topic := range names(a.service) {
		cfg := gateways.ServiceConfig{
			DeadKey:     cmp.Or(a.dead, defaultDead(topic, a.cluster)),
			ReplyTopics: names(a.replyTopics),
		}
		if err := gateways.NewService(rdb, topic, cfg).Validate(); err != nil {
			return all, usageError(err.Error())
		}
		all = all.And(cfg.Access(topic))
	}
	for _, topic := range names(a.client) {
		cfg := gateways.ClientConfig{User: a.user}
		if err := gateways.NewClient(rdb, topic, cfg).Validate(); err != nil {
			return all, usageError(err.Error())
		}
		all = all.And(cfg.Access(topic))
	}
	for _, name := range names(a.hub) {
		var cfg ws.HubConfig
		if a.ownSecrets {
			cfg.Secrets = []string{rand.Text() + rand.Text()} // any will do
		}
		if err := ws.NewHub(rdb, name, cfg).Validate(); err != nil {
			return all, usageError(err.Error())
		}
		all = all.And(cfg.Access(name))
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
