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
	short: "print the ACL SETUSER command with the least rights that a program needs",
	long: "Prints the ACL SETUSER command that gives a user exactly the rights that a program needs to read and\n" +
		"write these streams. It does not connect to a server. The command goes to standard output and notes go\n" +
		"to standard error, so it can be piped into redis-cli. The command sets no password. It revokes the\n" +
		"user's earlier commands, keys and selectors. It needs Redis 7.0 or later.\n\n" +
		"The programs of package gateways have roles. A role includes all keys of its topic or hub:\n\n" +
		"  -service TOPICS  handles, answers and forwards requests, writes dead letters, and publishes and reads\n" +
		"                   events.\n" +
		"  -client TOPICS   sends requests and control messages, and reads events and its own replies. Its\n" +
		"                   mailboxes are below \"{topic}:reply:NAME:\", where NAME is -user. It must equal\n" +
		"                   ClientConfig.User, which defaults to the user name of the Redis client. It can't read\n" +
		"                   requests of any client, nor replies to other users. Clients that must not see each\n" +
		"                   other's replies need different users.\n" +
		"  -hub HUBS        appends the messages of sockets, reads and appends the messages for them, and stores\n" +
		"                   the secret of the sessions. A hub with Calls also needs -client with their topic.\n" +
		"                   Its workers need -read {hub}:in -group workers -write {hub}:out -max-len -max-bytes.\n\n" +
		"-service, -client, -hub, -read, -tail, -range, -write, -ticks, -dedupe, -inspect and -repair accept\n" +
		"several names, separated by commas; the other flags apply to all of them. Readers warn of a server that\n" +
		"evicts streams if they may use INFO, which this command does not grant.",
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
		fs.StringVar(&a.service, "service", "", "`TOPICS` of the requests that the program handles")
		fs.StringVar(
			&a.replyTopics,
			"reply-topics",
			"",
			"other `TOPICS` with clients that -service answers (ReplyTopics)",
		)
		fs.StringVar(&a.client, "client", "", "`TOPICS` of the services that the program calls")
		fs.StringVar(&a.hub, "hub", "", "`HUBS` that the program serves")
		fs.BoolVar(
			&a.ownSecrets,
			"secrets",
			false,
			"-hub gets the secrets of its sessions from Secrets, not from Redis",
		)
		fs.StringVar(&a.read, "read", "", "`STREAMS` to read as a member of -group")
		fs.StringVar(&a.group, "group", "", "`NAME` of the consumer group of -read")
		fs.StringVar(
			&a.dead,
			"dead",
			"",
			"`STREAM` for dead letters of -read and -service (default the stream's name plus :dead)",
		)
		fs.BoolVar(&a.noDead, "no-dead", false, "-read writes no dead letters")
		fs.BoolVar(&a.noAck, "no-ack", false, "-read reads at most once")
		fs.BoolVar(
			&a.noDelayed,
			"no-delayed",
			false,
			"-read does not move scheduled entries to its streams (DelayedEvery negative)",
		)
		fs.BoolVar(&a.noReap, "no-reap", false, "-read does not delete dead consumers (ReapAfter negative)")
		fs.StringVar(&a.tail, "tail", "", "`STREAMS` to follow without a group")
		fs.StringVar(&a.ranges, "range", "", "`STREAMS` to read ranges of")
		fs.StringVar(&a.write, "write", "", "`STREAMS` to write to")
		fs.BoolVar(&a.maxLen, "max-len", false, "-write limits the length (MaxLen, MinID, HardCap)")
		fs.BoolVar(&a.maxAge, "max-age", false, "-write limits the age (MaxAge)")
		fs.BoolVar(&a.maxBytes, "max-bytes", false, "-write limits the memory (MaxBytes)")
		fs.BoolVar(&a.window, "dedupe-window", false, "-write skips duplicates (DedupeWindow)")
		fs.BoolVar(&a.replicas, "replicas", false, "-write waits for replicas (Durability.Replicas)")
		fs.BoolVar(&a.fsync, "fsync", false, "-write waits for the disk (Durability.Fsync; Redis 7.2)")
		fs.BoolVar(&a.later, "later", false, "-write schedules entries for later")
		fs.StringVar(&a.ticks, "ticks", "", "`STREAMS` to which a clock writes ticks")
		fs.StringVar(&a.dedupe, "dedupe", "", "`PREFIXES` of dedupe stores")
		fs.StringVar(&a.inspect, "inspect", "", "`PATTERNS` of streams that the user may inspect with this program")
		fs.StringVar(&a.repair, "repair", "", "`PATTERNS` of streams that the user may repair with this program")
		fs.BoolVar(&a.cluster, "cluster", false, "the server is a Redis Cluster")
		return a.print
	},
}

// aclFlags are the flags that describe a program.
type aclFlags struct {
	user, read, group, dead, tail, ranges, write, ticks, dedupe, inspect, repair string

	service, replyTopics, client, hub string

	noDead, noAck, noDelayed, noReap, maxLen, maxAge, maxBytes, window, replicas, fsync, later, cluster, ownSecrets bool
}

// names splits a list at its commas.
func names(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func (a *aclFlags) print(c *call) error {
	if a.user == "" || strings.ContainsAny(a.user, " \t\r\n\"'\x00") {
		return usagef("no user: give -user NAME, a name without spaces and quotes")
	}
	access, err := a.access()
	if err != nil {
		return err
	}
	if len(access.Commands)+len(access.Selectors) == 0 {
		return usagef(
			"no rights: give -service, -client, -hub, -read, -tail, -range, -write, " +
				"-ticks, -dedupe, -inspect or -repair",
		)
	}
	if a.cluster {
		access = access.And(redisio.AccessToCluster())
		c.note("a cluster: run this command on every node, masters and replicas, because each has its own users")
	}
	line := strings.Join(append([]string{"ACL SETUSER", a.user, "on"}, access.Rules()...), " ")
	c.note(
		"a new user also needs a password: ACL SETUSER %s >PASSWORD; keep it with ACL SAVE or CONFIG REWRITE",
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

// access returns the rights for the flags.
func (a *aclFlags) access() (all redisio.Access, err error) {
	if (a.read == "") != (a.group == "") {
		return all, usagef("-read and -group need each other")
	}
	if a.dead != "" && (a.noDead || a.noAck) {
		return all, usagef("-dead can not be combined with -no-dead or -no-ack")
	}
	for _, key := range names(a.read) {
		cfg := reader.GroupConfig{Key: key, Group: a.group, AtMostOnce: a.noAck}
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
	writes, err := a.writes()
	if err != nil {
		return all, err
	}
	all = all.And(writes)
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

// writes returns the rights of writers.
func (a *aclFlags) writes() (all redisio.Access, err error) {
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
	return all, nil
}

// roles returns the rights of services, clients and hubs. Invalid flags give the same errors as the
// programs themselves.
func (a *aclFlags) roles() (all redisio.Access, err error) {
	if a.replyTopics != "" && a.service == "" {
		return all, usagef("-reply-topics needs -service")
	}
	if a.ownSecrets && a.hub == "" {
		return all, usagef("-secrets needs -hub")
	}
	if a.service != "" && a.noDead {
		return all, usagef("-no-dead can not be combined with -service, which writes dead letters")
	}
	rdb := redis.NewClient(&redis.Options{}) // only for Validate; never dials
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
			cfg.Secrets = []string{rand.Text() + rand.Text()} // any valid secret
		}
		if err := ws.NewHub(rdb, name, cfg).Validate(); err != nil {
			return all, usageError(err.Error())
		}
		all = all.And(cfg.Access(name))
	}
	return all, nil
}

// defaultDead returns the default key for the dead letters of source.Stream. In a cluster it is in
// the stream's hash slot.
func defaultDead(key string, cluster bool) string {
	if cluster && !strings.Contains(key, "{") {
		return "{" + key + "}:dead"
	}
	return key + ":dead"
}
