package main

import (
	"cmp"
	"crypto/rand"
	"flag"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/durable"
	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/gateways/scatter"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/dedupe"
	"github.com/streamerson/streamerson-go/redisio/eventstore"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/ratelimit"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/schedule"
	views "github.com/streamerson/streamerson-go/redisio/view"
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
		"                   Its workers need -read {hub}:in -group workers -write {hub}:out -max-len -max-bytes.\n" +
		"  -durable TOPICS  starts, writes, follows and stops durable replies, and serves them. Services also need\n" +
		"                   -service, and programs that start replies -client.\n" +
		"  -jobs QUEUES     submits, follows, cancels and works on jobs of the default priorities. For other ones\n" +
		"                   print Config.Access of gateways/jobs.\n\n" +
		"-store grants the rights to append to event stores, to load aggregates, and to compute and read views.\n" +
		"-scatter divides messages into parts and gathers the results, and -work works on the parts\n" +
		"(gateways/scatter).\n\n" +
		"-service, -client, -hub, -durable, -jobs, -store, -scatter, -work, -read, -tail, -range, -write, -ticks,\n" +
		"-dedupe, -limit, -inspect, -top and -repair accept several names, separated by commas; the other flags\n" +
		"apply to all of them. Readers warn of a server that evicts streams if they may use INFO, which this\n" +
		"command does not grant.",
	examples: []string{
		"acl -user billing -read orders -group billing -write invoices | redis-cli",
		"acl -user shipping -read orders -group shipping -dead orders:lost -cluster",
		"acl -user web -tail news -range news,archive",
		"acl -user feed -write orders -max-len -dedupe-window -replicas",
		"acl -user pricing -service orders",
		"acl -user shop -client orders,stock",
		"acl -user web -hub chat -client orders",
		"acl -user model -service answers -durable answers",
		"acl -user thumbs -jobs thumbnails",
		"acl -user geo -read places -group geo -limit limits:geocoder",
		"acl -user bank -store bank",
		"acl -user render -work tiles",
		"acl -user oncall -inspect 'orders*' -repair 'orders*'",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		for _, f := range aclTexts {
			fs.String(f[0], "", f[1])
		}
		for _, f := range aclSwitches {
			fs.Bool(f[0], false, f[1])
		}
		return aclFlags{fs}.print
	},
}

// aclTexts and aclSwitches are the flags that describe a program, with their help.
var (
	aclTexts = [][2]string{
		{"user", "the user's `NAME`"},
		{"service", "`TOPICS` of the requests that the program handles"},
		{"reply-topics", "other `TOPICS` with clients that -service answers (ReplyTopics)"},
		{"client", "`TOPICS` of the services that the program calls"},
		{"hub", "`HUBS` that the program serves"},
		{"durable", "`TOPICS` of the durable replies that the program starts, writes, follows or stops"},
		{"jobs", "`QUEUES` whose jobs the program submits, follows, cancels or works on"},
		{"store", "event `STORES` (eventstore.Config.Name) and their views that the program uses"},
		{"scatter", "`NAMES` of scatters whose parts the program sends and gathers"},
		{"work", "`NAMES` of scatters on whose parts the program works"},
		{"read", "`STREAMS` to read as a member of -group"},
		{"group", "`NAME` of the consumer group of -read"},
		{"dead", "`STREAM` for dead letters of -read and -service (default the stream's name plus :dead)"},
		{"tail", "`STREAMS` to follow without a group"},
		{"range", "`STREAMS` to read ranges of"},
		{"write", "`STREAMS` to write to"},
		{"ticks", "`STREAMS` to which a clock writes ticks"},
		{"dedupe", "`PREFIXES` of dedupe stores"},
		{"limit", "`KEYS` of the limits that the program shares with others (redisio/ratelimit)"},
		{"inspect", "`PATTERNS` of streams that the user may inspect with this program"},
		{"top", "`APPS` that the user may watch with top: Config.App of gateways/inspect"},
		{"repair", "`PATTERNS` of streams that the user may repair with this program"},
	}
	aclSwitches = [][2]string{
		{"secrets", "-hub gets the secrets of its sessions from Secrets, not from Redis"},
		{"no-dead", "-read writes no dead letters"},
		{"no-ack", "-read reads at most once"},
		{"no-delayed", "-read does not move scheduled entries to its streams (DelayedEvery negative)"},
		{"no-reap", "-read does not delete dead consumers (ReapAfter negative)"},
		{"max-len", "-write limits the length (MaxLen, MinID, HardCap)"},
		{"max-age", "-write limits the age (MaxAge)"},
		{"max-bytes", "-write limits the memory (MaxBytes)"},
		{"dedupe-window", "-write skips duplicates (DedupeWindow)"},
		{"replicas", "-write waits for replicas (Durability.Replicas)"},
		{"fsync", "-write waits for the disk (Durability.Fsync; Redis 7.2)"},
		{"later", "-write schedules entries for later"},
		{"end", "-write marks the end of its streams (gather.End), and -read ends there (Producers)"},
		{"cluster", "the server is a Redis Cluster"},
	}
)

// aclFlags are the flags of one call.
type aclFlags struct{ *flag.FlagSet }

func (a aclFlags) text(name string) string { return a.Lookup(name).Value.String() }

func (a aclFlags) on(name string) bool { return a.text(name) == "true" }

// names returns the list that a flag has, split at its commas.
func (a aclFlags) names(name string) []string {
	return strings.FieldsFunc(a.text(name), func(r rune) bool { return r == ',' })
}

func (a aclFlags) print(c *call) error {
	if a.text("user") == "" || strings.ContainsAny(a.text("user"), " \t\r\n\"'\x00") {
		return usagef("no user: give -user NAME, a name without spaces and quotes")
	}
	access, err := a.access()
	if err != nil {
		return err
	}
	if len(access.Commands)+len(access.Selectors) == 0 {
		return usagef(
			"no rights: give -service, -client, -hub, -durable, -jobs, -store, -scatter, -work, -read, -tail, " +
				"-range, -write, -ticks, -dedupe, -limit, -inspect, -top or -repair",
		)
	}
	if a.on("cluster") {
		access = access.And(redisio.AccessToCluster())
		c.note("a cluster: run this command on every node, masters and replicas, because each has its own users")
	}
	line := strings.Join(append([]string{"ACL SETUSER", a.text("user"), "on"}, access.Rules()...), " ")
	c.note(
		"a new user also needs a password: ACL SETUSER %s >PASSWORD; keep it with ACL SAVE or CONFIG REWRITE",
		a.text("user"),
	)
	c.out.line("%s", line)
	return c.out.object(struct {
		User  string   `json:"user"`
		Rules []string `json:"rules"`
	}{a.text("user"), access.Rules()})
}

// access returns the rights for the flags.
func (a aclFlags) access() (all redisio.Access, err error) {
	if (a.text("read") == "") != (a.text("group") == "") {
		return all, usagef("-read and -group need each other")
	}
	if a.text("dead") != "" && (a.on("no-dead") || a.on("no-ack")) {
		return all, usagef("-dead can not be combined with -no-dead or -no-ack")
	}
	for _, key := range a.names("read") {
		cfg := reader.GroupConfig{Key: key, Group: a.text("group"), AtMostOnce: a.on("no-ack")}
		if a.on("no-delayed") {
			cfg.DelayedEvery = -1
		}
		if a.on("no-reap") {
			cfg.ReapAfter = -1
		}
		var dead []string
		if !a.on("no-dead") && !a.on("no-ack") {
			dead = append(dead, cmp.Or(a.text("dead"), defaultDead(key, a.on("cluster"))))
		}
		all = all.And(cfg.Access(dead...))
	}
	roles, err := a.roles()
	if err != nil {
		return all, err
	}
	all = all.And(roles)
	for _, key := range a.names("tail") {
		all = all.And(reader.TailConfig{Key: key}.Access())
	}
	for _, key := range a.names("range") {
		all = all.And(reader.RangeConfig{Key: key}.Access())
	}
	writes, err := a.writes()
	if err != nil {
		return all, err
	}
	all = all.And(writes)
	for _, key := range a.names("ticks") {
		all = all.And(schedule.TickerConfig{Key: key}.Access())
	}
	for _, prefix := range a.names("dedupe") {
		all = all.And(dedupe.Config{Prefix: prefix}.Access())
	}
	for _, key := range a.names("limit") {
		all = all.And(ratelimit.Config{Key: key}.Access())
	}
	for _, name := range a.names("store") {
		cfg := eventstore.Config[string]{Name: name}
		if err := cfg.Validate(); err != nil {
			return all, usageError(err.Error())
		}
		all = all.And(cfg.Access(), views.Config{Space: name}.Access(),
			redisio.Access{Commands: []string{"xinfo|stream", "xread"}}) // projections follow the logs
	}
	gathers, err := a.gathers()
	if err != nil {
		return all, err
	}
	all = all.And(gathers)
	if a.text("inspect") != "" || a.text("repair") != "" {
		all = all.And(admin.AccessToInspect(a.names("inspect")...))
	}
	for _, app := range a.names("top") {
		all = all.And(accessToTop(app))
	}
	if a.text("repair") != "" {
		all = all.And(admin.AccessToRepair(a.names("repair")...))
	}
	return all, nil
}

// gathers returns the rights of both ends of scatters, and to the ends of streams.
func (a aclFlags) gathers() (all redisio.Access, err error) {
	if a.on("end") {
		for _, key := range slices.Concat(a.names("read"), a.names("write")) {
			all = all.And(gather.EndConfig{Key: key}.Access())
		}
	}
	for _, end := range []string{"scatter", "work"} {
		for _, name := range a.names(end) {
			cfg := scatter.Config[string, string]{Name: name}
			if err := cfg.Validate(); err != nil {
				return all, usageError(err.Error())
			}
			if end == "work" {
				all = all.And(cfg.AccessWork())
			} else {
				all = all.And(cfg.AccessOut())
			}
		}
	}
	return all, nil
}

// writes returns the rights of writers.
func (a aclFlags) writes() (all redisio.Access, err error) {
	for _, key := range a.names("write") {
		cfg := writer.Config{Key: key}
		if a.on("max-len") {
			cfg.MaxLen = 1
		}
		if a.on("max-bytes") {
			cfg.MaxBytes = 64 << 20
		}
		if a.on("max-age") {
			cfg.MaxAge = time.Hour
		}
		if a.on("dedupe-window") {
			cfg.DedupeWindow = time.Hour
		}
		if a.on("replicas") {
			cfg.Durability.Replicas = 1
		}
		cfg.Durability.Fsync = a.on("fsync")
		if err := cfg.Validate(); err != nil {
			return all, err
		}
		all = all.And(cfg.Access())
		if a.on("later") {
			all = all.And(schedule.Config{Key: key}.Access())
		}
	}
	return all, nil
}

// roles returns the rights of services, clients, hubs and queues of jobs. Invalid flags give the same errors as the
// programs themselves.
func (a aclFlags) roles() (all redisio.Access, err error) {
	if a.text("reply-topics") != "" && a.text("service") == "" {
		return all, usagef("-reply-topics needs -service")
	}
	if a.on("secrets") && a.text("hub") == "" {
		return all, usagef("-secrets needs -hub")
	}
	if a.text("service") != "" && a.on("no-dead") {
		return all, usagef("-no-dead can not be combined with -service, which writes dead letters")
	}
	rdb := redis.NewClient(&redis.Options{}) // only for Validate; never dials
	defer rdb.Close()
	for _, topic := range a.names("service") {
		cfg := gateways.ServiceConfig{
			DeadKey:     cmp.Or(a.text("dead"), defaultDead(topic, a.on("cluster"))),
			ReplyTopics: a.names("reply-topics"),
		}
		if err := gateways.NewService(rdb, topic, cfg).Validate(); err != nil {
			return all, usageError(err.Error())
		}
		all = all.And(cfg.Access(topic))
	}
	for _, topic := range a.names("client") {
		cfg := gateways.ClientConfig{User: a.text("user")}
		if err := gateways.NewClient(rdb, topic, cfg).Validate(); err != nil {
			return all, usageError(err.Error())
		}
		all = all.And(cfg.Access(topic))
	}
	for _, name := range a.names("hub") {
		var cfg ws.HubConfig
		if a.on("secrets") {
			cfg.Secrets = []string{rand.Text() + rand.Text()} // any valid secret
		}
		if err := ws.NewHub(rdb, name, cfg).Validate(); err != nil {
			return all, usageError(err.Error())
		}
		all = all.And(cfg.Access(name))
	}
	for _, topic := range a.names("durable") {
		var cfg durable.Config
		if err := durable.New(rdb, topic, cfg).Validate(); err != nil {
			return all, usageError(err.Error())
		}
		all = all.And(cfg.Access(topic))
	}
	for _, name := range a.names("jobs") {
		if err := jobs.New[string, string](rdb, name, jobs.Config{}).Validate(); err != nil {
			return all, usageError(err.Error())
		}
		all = all.And(jobs.Config{}.Access(name))
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
