package doctor

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/dedupe"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/probe"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/schedule"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// feature is what a program may need rights for.
type feature struct {
	name   string
	access redisio.Access
	lack   Severity // without the rights
}

// features returns all features, with the rights that they need.
func features() []feature {
	const k = "k"
	limits := writer.Tuning{MaxAge: time.Hour, HardCap: 1}
	return []feature{
		{"read as a member of a group", reader.GroupConfig{Key: k}.Access(k), Warning},
		{"write", writer.Config{Key: k}.Access(), Warning},
		{"follow a stream without a group", reader.TailConfig{Key: k}.Access(), Note},
		{"read a range", reader.RangeConfig{Key: k}.Access(), Note},
		{"limit a stream (MaxLen, MaxAge, HardCap)", writer.Config{Key: k, MaxLen: 1, Tuning: limits}.Access(), Note},
		{"limit a stream's memory (MaxBytes)",
			writer.Config{Key: k, Tuning: writer.Tuning{MaxBytes: 1 << 20}}.Access(), Note},
		{"drop duplicates (DedupeWindow)", writer.Config{Key: k, DedupeWindow: time.Hour}.Access(), Note},
		{"write together", writer.Config{Key: k, Tuning: writer.Tuning{Together: true}}.Access(), Note},
		{"wait for replicas", writer.Config{Key: k, Tuning: durable(1, false)}.Access(), Note},
		{"wait for the disk", writer.Config{Key: k, Tuning: durable(0, true)}.Access(), Note},
		{"schedule entries, and move them when they are due", schedule.Config{Key: k}.Access(), Note},
		{"tick", schedule.TickerConfig{Key: k}.Access(), Note},
		{"remember what is done (dedupe.Store)", dedupe.Config{Prefix: k}.Access(), Note},
		{"inspect streams", admin.AccessToInspect(k), Note},
		{"repair streams", admin.AccessToRepair(k), Note},
	}
}

func durable(replicas int, fsync bool) writer.Tuning {
	return writer.Tuning{Durability: writer.Durability{Replicas: replicas, Fsync: fsync}}
}

// trials are harmless calls of the commands that features need: they change no key, because they
// refer to missing entries or have a wrong argument. The server checks the rights first. KEY stands
// for a missing key. Transactions are tried apart.
var trials = map[string]string{
	"del": "KEY", "eval": "return_1 1 KEY", "exists": "KEY", "get": "KEY", "hdel": "KEY f", "hget": "KEY f",
	"hmget": "KEY f", "hset": "KEY f v odd", "memory|usage": "KEY", "pexpire": "KEY 1", "ping": "", "pttl": "KEY",
	"scan": "0 COUNT 1", "set": "KEY v WRONG", "time": "", "type": "KEY", "unwatch": "", "wait": "0 1",
	"waitaof": "0 0 1", "xack": "KEY g 1-1", "xadd": "KEY WRONG f v", "xautoclaim": "KEY g c 0 0",
	"xclaim": "KEY g c 0 1-1", "xdel": "KEY 1-1", "xgroup|create": "KEY g WRONG",
	"xgroup|createconsumer": "KEY g c", "xgroup|delconsumer": "KEY g c", "xgroup|setid": "KEY g 1-1",
	"xinfo|consumers": "KEY g", "xinfo|groups": "KEY", "xinfo|stream": "KEY", "xlen": "KEY", "xpending": "KEY g",
	"xrange": "KEY - + COUNT 1", "xread": "COUNT 1 STREAMS KEY 0",
	"xreadgroup": "GROUP g c COUNT 1 STREAMS KEY >", "xrevrange": "KEY + - COUNT 1", "xtrim": "KEY MAXLEN WRONG",
	"zadd": "KEY WRONG m", "zcard": "KEY", "zcount": "KEY 0 1", "zrange": "KEY 0 0", "zrangebyscore": "KEY 0 1",
	"zrem": "KEY m", "zremrangebyrank": "KEY 0 0", "zremrangebyscore": "KEY 0 1", "zscore": "KEY m",
}

// rights finds out which features the user has no rights for.
func (e *examination) rights(ctx context.Context) error {
	refused, err := e.try(ctx)
	if err != nil {
		return err
	}
	fine := true
	for _, f := range features() {
		var missing, unknown []string
		for _, command := range f.access.Commands {
			switch refused[command] {
			case noRight:
				missing = append(missing, command)
			case noCommand:
				unknown = append(unknown, strings.ToUpper(command))
			}
		}
		if len(missing) > 0 {
			fine = false
			e.add(Finding{Check: "rights/" + f.name, Severity: f.lack,
				Text: "the user can not " + f.name + ": no right to " + strings.ToUpper(strings.Join(missing, ", ")),
				Fix:  "if the program needs it: ACL SETUSER " + e.user(ctx) + " +" + strings.Join(missing, " +")})
		}
		if len(unknown) > 0 {
			e.add(Finding{Check: "rights/" + f.name, Severity: f.lack,
				Text: "the server can not " + f.name + ": it has no " + strings.Join(unknown, ", "),
				Fix:  "if the program needs it, use a newer server, or one that has all of Redis"})
		}
	}
	if fine {
		e.add(Finding{Check: "rights", Text: "the user has all rights that features need"})
	}
	for _, needed := range []string{"xadd", "del", "xlen"} {
		if refused[needed] != allowed {
			e.spare("the user has no right to " + strings.ToUpper(needed) + ", and throw-away keys must be deleted")
		}
	}
	return nil
}

// answer is how the server answers a trial.
type answer int

const (
	allowed answer = iota
	noRight
	noCommand
)

// try tries all commands.
func (e *examination) try(ctx context.Context) (map[string]answer, error) {
	refused, keys, key := make(map[string]answer), false, e.key()
	pipe := e.rdb.Pipeline()
	cmds := make(map[string]*redis.Cmd)
	for command, args := range trials {
		call := []any{}
		for _, word := range strings.Fields(strings.ReplaceAll(command, "|", " ") + " " + args) {
			call = append(call, strings.ReplaceAll(strings.ReplaceAll(word, "KEY", key), "return_1", "return 1"))
		}
		cmd := redis.NewCmd(ctx, call...)
		if i := slices.Index(call, any(key)); i > 0 {
			cmd.SetFirstKeyPos(int8(i)) // go-redis does not know it for XREAD
		}
		cmds[command] = cmd
		_ = pipe.Process(ctx, cmd) // only queues
	}
	if _, err := pipe.Exec(ctx); lost(err) != nil {
		return nil, err
	}
	_ = e.rdb.Del(ctx, key).Err() // a fork may have accepted a wrong argument
	for command, cmd := range cmds {
		switch err := cmd.Err(); {
		case err == nil:
		case fault.NoCommand(err):
			refused[command] = noCommand
		case fault.Forbids(err) && fault.IsKeyFault(err): // the command is permitted
			keys = true
		case fault.Forbids(err):
			refused[command] = noRight
		}
	}
	if keys {
		e.add(Finding{Check: "rights/keys", Severity: Note,
			Text: "the user has no rights for throw-away keys, which begin with \"" + e.o.Prefix + "{contract:\"",
			Fix:  "set a prefix with which the keys of the user begin, as orders"})
		e.spare("the user has no rights for throw-away keys")
	}
	return refused, e.tryTransactions(ctx, refused)
}

// tryTransactions uses a client of its own: without the right to EXEC a connection stays in its
// transaction.
func (e *examination) tryTransactions(ctx context.Context, refused map[string]answer) error {
	single, ok := e.rdb.(*redis.Client)
	if !ok || e.report.Server.Mode == "sentinel" {
		return nil // MULTI would have to be tried on all nodes
	}
	o := *single.Options()
	o.PoolSize, o.MinIdleConns = 1, 0
	apart := redis.NewClient(&o)
	defer apart.Close()
	may, err := probe.Transacts(ctx, apart)
	if err != nil {
		return lost(err)
	}
	if !may {
		refused["multi"], refused["exec"] = noRight, noRight
	}
	other := redis.NewClient(&o)
	defer other.Close()
	if err := other.Do(ctx, "watch", e.key()).Err(); fault.Forbids(err) && !fault.IsKeyFault(err) {
		refused["watch"] = noRight
	} else if err := lost(err); err != nil {
		return err
	}
	return nil
}

// user returns the name of the user, for people.
func (e *examination) user(ctx context.Context) string {
	name, err := e.rdb.Do(ctx, "acl", "whoami").Text()
	if c, ok := e.rdb.(*redis.Client); err != nil && ok {
		name = c.Options().Username
	}
	if name == "" {
		return "NAME"
	}
	return name
}
