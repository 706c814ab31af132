package ws

import "github.com/streamerson/streamerson-go/redisio"

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
	in := redisio.WriterConfig{
		Key:          k.in,
		MaxLen:       c.MaxLen,
		HardCap:      c.HardCap,
		WhenFull:     redisio.FullRefuse,
		MaxBytes:     max(0, c.MaxBytes),
		DedupeWindow: max(0, c.DedupeWindow),
	}
	a := in.Access().And(redisio.TailConfig{Key: k.out}.Access(), redisio.RangeConfig{Key: k.out}.Access(),
		redisio.WriterConfig{Key: k.out}.Access())
	if len(c.Secrets) > 0 {
		return a
	}
	seal := redisio.Access{Commands: []string{"eval", "get", "set"}, Writes: []string{redisio.KeyPattern(k.seal)}}
	return a.And(seal.Apart())
}
