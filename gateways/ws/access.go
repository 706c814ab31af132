package ws

import (
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// Access returns the rights of the processes of a hub, on a server with ACLs: to append to its
// events, to read its log and end sockets by it (Disconnect), and to share the secret of the
// sessions. With Secrets the last is left out. The client in Calls needs the rights of
// gateways.ClientConfig.Access besides.
//
//	rdb.ACLSetUser(ctx, "web", append(ws.HubConfig{}.Access("chat").Rules(), "on", ">password")...)
//
// The command redisio/cmd/streams acl -hub prints the same.
func (c HubConfig) Access(hub string) redisio.Access {
	c = c.withDefaults()
	k := keysOf(hub)
	in := writer.Config{
		Key:    k.in,
		MaxLen: c.MaxLen,
		Tuning: writer.Tuning{
			HardCap:  c.HardCap,
			WhenFull: writer.FullRefuse,
			MaxBytes: max(0, c.MaxBytes),
		},
		DedupeWindow: max(0, c.DedupeWindow),
	}
	a := in.Access().And(reader.TailConfig{Key: k.out}.Access(), reader.RangeConfig{Key: k.out}.Access(),
		writer.Config{Key: k.out}.Access())
	if len(c.Secrets) > 0 {
		return a
	}
	seal := redisio.Access{Commands: []string{"eval", "get", "set"}, Writes: []string{redisio.KeyPattern(k.seal)}}
	return a.And(seal.Apart())
}
