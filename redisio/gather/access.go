package gather

import (
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/acl"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// Access returns the rights to open, send, put, take and cancel, and to follow the notices. Origins
// and workers of package gateways/scatter need these; a worker also reads the stream of parts.
func (c Config) Access() redisio.Access {
	a := acl.Of([]string{c.Parts(), c.Notices()}, "eval", "hexists", "hincrby", "hmget", "hset", "pexpire",
		"pttl", "time", "xadd", "xlen")
	a.Writes = append(a.Writes, redisio.KeyPattern(c.Key(""))+"*")
	return a.And(reader.TailConfig{Key: c.Notices()}.Access())
}
