package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// needRoom is the memory that must be free before the promises are checked. They need a few MiB.
const needRoom = 16 << 20

// settings judges the settings of each node. It only reads them.
func (e *examination) settings(ctx context.Context) error {
	for i, n := range e.nodes {
		if err := n.readConfig(ctx); err != nil {
			return err
		}
		if i == 0 && len(n.config) == 0 {
			e.add(Finding{Check: "server/config", Severity: Note,
				Text: "the user may not use CONFIG GET, or the server has none: whether it saves snapshots is unknown",
				Fix:  "grant +config|get, or look at the settings save and appendonly yourself"})
		}
		if i == 0 {
			e.version()
		}
		e.role(n)
		e.eviction(n)
		e.room(n)
		e.clients(n)
		e.persistence(n)
	}
	return nil
}

// readConfig reads settings one by one: before Redis 7.0 CONFIG GET takes only one.
func (n *node) readConfig(ctx context.Context) error {
	pipe := n.rdb.Pipeline()
	var all []*redis.MapStringStringCmd
	for _, name := range []string{"appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy", "maxclients"} {
		all = append(all, pipe.ConfigGet(ctx, name))
	}
	if _, err := pipe.Exec(ctx); lost(err) != nil {
		return err
	}
	n.config = make(map[string]string)
	for _, cmd := range all {
		for name, value := range cmd.Val() {
			n.config[name] = value
		}
	}
	return nil
}

// number returns a number of INFO, or 0.
func (n *node) number(name string) int64 {
	v, _ := strconv.ParseInt(n.info[name], 10, 64) // 0 if the server does not say
	return v
}

// version judges the version. Only versions of Redis itself are comparable.
func (e *examination) version() {
	id := e.report.Server
	var major, minor int
	if _, err := fmt.Sscanf(id.Version, "%d.%d", &major, &minor); err != nil {
		return
	}
	switch {
	case id.Product == "miniredis":
		e.add(Finding{Check: "server/version", Severity: Warning,
			Text: "the in-process server keeps nothing on disk and differs from Redis",
			Fix:  "use it for tests and first runs only"})
	case id.Product != "redis":
	case major < 7:
		e.add(Finding{Check: "server/version", Severity: Warning,
			Text: "Redis " + id.Version + " is older than 7.0: deleted entries that are pending are not " +
				"reported, and rights can't be limited to reading or writing keys",
			Fix: "upgrade to Redis 7.2 or later"})
	case major == 7 && minor < 2:
		e.add(Finding{Check: "server/version", Severity: Note,
			Text: "before Redis 7.2 a consumer that waits for entries looks idle, and WAITAOF is missing",
			Fix:  "upgrade to Redis 7.2 or later if you use Durability.Fsync"})
	}
}

// role judges whether the node takes writes.
func (e *examination) role(n *node) {
	switch {
	case n.info["redis_mode"] == "sentinel":
		e.add(Finding{Check: "server/role", Severity: Problem, Node: n.addr,
			Text: "this is a Sentinel, which has no streams",
			Fix:  "add ?master_name=NAME to the URL: Connect then asks it for the master"})
		e.spare("it is a Sentinel")
	case n.info["role"] == "slave" || n.info["role"] == "" && e.report.Server.Role == "replica":
		e.add(Finding{Check: "server/role", Severity: Problem, Node: n.addr,
			Text: "this is a replica: writes and acks fail with READONLY",
			Fix:  "use the address of the master, or Sentinel (?master_name=)"})
		e.spare("it is a replica")
	case n.info["loading"] == "1":
		e.add(Finding{Check: "server/role", Severity: Warning, Node: n.addr,
			Text: "it is loading its data and refuses commands until it is done", Fix: "run the doctor again later"})
		e.spare("it is loading its data")
	}
}

// setting returns a setting, of INFO if CONFIG GET is not permitted.
func (n *node) setting(config, info string) string {
	if v, ok := n.config[config]; ok {
		return v
	}
	return n.info[info]
}

// eviction judges what a full server deletes.
func (e *examination) eviction(n *node) {
	f := Finding{Check: "memory/eviction", Node: n.addr, Fix: "set maxmemory-policy noeviction, and maxmemory"}
	policy, bound := n.setting("maxmemory-policy", "maxmemory_policy"), n.number("maxmemory") > 0
	switch {
	case policy == "":
		return
	case policy == "noeviction":
		f.Text, f.Fix = "maxmemory-policy is noeviction: a full server refuses writes and deletes nothing", ""
	case strings.HasPrefix(policy, "allkeys-") && bound:
		f.Severity = Problem
		f.Text = "maxmemory-policy is " + policy + ": a full server deletes whole streams, with all that is pending"
	case strings.HasPrefix(policy, "allkeys-"):
		f.Severity = Warning
		f.Text = "maxmemory-policy is " + policy + ": with a maxmemory, a full server would delete whole streams"
	case bound:
		f.Severity = Warning
		f.Text = "maxmemory-policy is " + policy + ": a full server deletes keys with an expiry, such as those of " +
			"dedupe stores, mailboxes and sessions; streams stay"
	default:
		f.Severity = Note
		f.Text = "maxmemory-policy is " + policy + ", without effect while maxmemory is 0; streams would stay"
	}
	e.add(f)
}

// room judges how much memory is left.
func (e *examination) room(n *node) {
	most, used := n.number("maxmemory"), n.number("used_memory")
	f := Finding{Check: "memory/room", Node: n.addr}
	switch {
	case n.info["used_memory"] == "":
		return
	case most == 0:
		f.Severity = Note
		f.Text = "maxmemory is 0, no limit: " + mib(used) + " are used, and the host's memory is the limit"
		f.Fix = "set maxmemory below the host's memory, and limit the streams (MaxLen, MaxAge, MaxBytes)"
	case used >= most/10*9:
		f.Severity = Problem
		f.Text = mib(used) + " of " + mib(most) + " are used: writes will soon be refused (OOM), or keys deleted"
		f.Fix = "trim streams (streams trim, MaxLen, MaxAge, MaxBytes), or raise maxmemory"
	case used >= most/4*3:
		f.Severity = Warning
		f.Text = mib(used) + " of " + mib(most) + " are used"
		f.Fix = "limit the streams (MaxLen, MaxAge, MaxBytes), or raise maxmemory"
	default:
		f.Text = mib(used) + " of " + mib(most) + " are used"
	}
	e.add(f)
	if most > 0 && most-used < needRoom {
		e.spare("less than 16 MiB are free")
	}
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// clients judges how many more connections are possible.
func (e *examination) clients(n *node) {
	most, have := n.number("maxclients"), n.number("connected_clients")
	if v, err := strconv.ParseInt(n.config["maxclients"], 10, 64); err == nil {
		most = v
	}
	if most > 0 && have >= most/10*9 {
		e.add(Finding{Check: "clients/room", Severity: Problem, Node: n.addr,
			Text: fmt.Sprintf("%d of %d connections are used: a reader needs up to 7, a writer up to 16", have, most),
			Fix:  "raise maxclients, or stop clients that you do not need"})
	}
}

// persistence judges what survives a crash.
func (e *examination) persistence(n *node) {
	save, knowsSave := n.config["save"]
	aof := n.setting("appendonly", "aof_enabled")
	f := Finding{Check: "persistence/kept", Node: n.addr}
	const fix = "set appendonly yes (and appendfsync everysec), or use replicas and Durability.Replicas"
	switch {
	case aof == "":
		return
	case (aof == "yes" || aof == "1") && n.config["appendfsync"] == "no":
		f.Severity, f.Fix = Warning, "set appendfsync everysec"
		f.Text = "appendonly is on with appendfsync no: a crash of the host loses what its system has not written yet"
	case aof == "yes" || aof == "1":
		f.Text = "appendonly is on: a crash loses at most the last second"
		if n.config["appendfsync"] == "always" {
			f.Text = "appendonly is on with appendfsync always: a crash loses nothing that was confirmed"
		}
	case !knowsSave:
		f.Severity, f.Fix = Warning, fix
		f.Text = "appendonly is off: a crash loses what was written since the last snapshot, or everything"
	case save == "":
		f.Severity, f.Fix = Warning, fix
		f.Text = "neither appendonly nor save is on: a restart loses all streams, groups and scheduled entries"
	default:
		f.Severity, f.Fix = Warning, fix
		f.Text = "appendonly is off, save is " + strconv.Quote(save) + ": a crash loses what was written since the " +
			"last snapshot, and acked entries come back"
	}
	e.add(f)
	for _, field := range []string{"rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status"} {
		if n.info[field] == "err" {
			e.add(Finding{Check: "persistence/failing", Severity: Problem, Node: n.addr,
				Text: "the server could not write its data to disk (" + field + "): writes may be refused with MISCONF",
				Fix:  "see the server's log; often its disk is full"})
		}
	}
}
