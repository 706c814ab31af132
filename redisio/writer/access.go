package writer

import (
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/acl"
)

// Access returns the rights that a Writer needs. keys are the streams that entries name, in
// addition to the writer's own. It omits the rights for XADD … IDMP, which Redis 8.6 has for a
// DedupeWindow. Without the right to XCFGSET and to the scratch keys a script drops duplicates.
func (c Config) Access(keys ...string) redisio.Access {
	if c.Key != "" {
		keys = append([]string{c.Key}, keys...)
	}
	a := redisio.Access{Commands: []string{"ping", "xadd"}, Appends: acl.Literals(keys)}.And()
	if c.Key != "" {
		a = a.And(redisio.Access{Commands: []string{"xlen"}})
	}
	if c.trims() && !c.plain() || c.HardCap > 0 || c.MaxBytes > 0 && !c.OnlyExisting {
		a = a.And(acl.Of(keys, "eval", "xinfo|groups", "xlen", "xpending", "xrange", "xtrim"))
	}
	if c.MaxBytes > 0 && c.OnlyExisting {
		a = a.And(redisio.Access{Commands: []string{"xlen", "xtrim"}})
	}
	if c.MaxBytes > 0 {
		a = a.And(acl.Of(nil, "memory|usage"))
	}
	if c.MaxAge > 0 {
		a = a.And(acl.Of(nil, "time"))
	}
	if c.DedupeWindow > 0 {
		once := make([]string, 0, 2*len(keys))
		for _, k := range keys {
			if o := onceKey(k); o != "" {
				once = append(once, o)
			}
		}
		a = a.And(
			acl.Of(
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
		a = a.And(acl.Of(nil, "exec", "multi"))
	}
	if c.Durability.Replicas > 0 {
		a = a.And(acl.Of(nil, "wait"))
	}
	if c.Durability.Fsync {
		a = a.And(acl.Of(nil, "waitaof"))
	}
	return a
}
