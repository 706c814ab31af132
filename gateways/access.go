package gateways

import (
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// Services and clients are the roles of a topic on a server with ACLs.
//
// Idea: a client appends requests and cannot read them. Each client has mailboxes below its own
// name. The commands that maintain the streams are in selectors, which have no command that returns
// an entry. A service may trim mailboxes, by XTRIM and by the MAXLEN of XADD, but cannot read them.
// So no client can read the requests or the replies of others. Redis checks the commands inside a
// script like any other, so EVAL adds no rights. All rights of a client are in selectors, because a
// user that has another role too must not use the commands of that role on the requests.
//
// The ID of a request is a secret, too: a copy of a request is answered with the reply that is kept
// for its ID. It is in requests, replies and control messages only.

// Access returns the rights of a service of the topic. The service may handle requests, hand them
// on, announce its types, write dead letters, and publish and read events. It may answer the
// topic's clients and those of ReplyTopics, and trim their mailboxes to MailboxBytes. These rights
// also suffice for a graph of Requests and Reply.
//
//	rdb.ACLSetUser(ctx, "pricing", append(gateways.ServiceConfig{}.Access("orders").Rules(), "on", ">password")...)
//
// The command redisio/cmd/streams acl -service prints the same.
func (c ServiceConfig) Access(topic string) redisio.Access {
	speech, _ := speak(c.Wire, "ServiceConfig", topic) // Validate reports what is wrong
	k := speech.keys
	dead := c.DeadKey
	if dead == "" {
		dead = k.Requests + ":dead"
	}
	group := reader.GroupConfig{Key: k.Requests, Group: c.Group, Tuning: reader.Tuning{DeleteSettled: speech.own}}
	a := group.Access(dead)
	if speech.shared != "" {
		replies := writer.Config{MaxLen: speech.most, Tuning: writer.Tuning{DropUnread: true}}
		return a.And(replies.Access(k.Replies...))
	}
	topics := []slot.Topic{k}
	for _, t := range c.ReplyTopics {
		topics = append(topics, slot.TopicOf(t))
	}
	mailboxes := redisio.Access{Commands: []string{"exists", "xadd"}}
	if c.MailboxBytes >= 0 {
		mailboxes.Commands = append(mailboxes.Commands, "memory|usage", "xlen", "xtrim")
	}
	for _, t := range topics {
		mailboxes.Appends = append(mailboxes.Appends, redisio.KeyPattern(t.Mailbox)+"*")
	}
	types := redisio.Access{
		Commands: []string{
			"eval",
			"pexpire",
			"time",
			"zadd",
			"zrangebyscore",
			"zrem",
			"zremrangebyrank",
			"zremrangebyscore",
		},
		Writes: []string{redisio.KeyPattern(k.Types)},
	}
	together := redisio.Access{Commands: []string{"exec", "multi"}}
	onward := writer.Config{Key: k.Requests, Tuning: writer.Tuning{OnlyExisting: true}}
	return a.And(onward.Access(), reader.TailConfig{Key: k.Control}.Access(), k.PublishEvents(), k.ReadEvents(),
		together, mailboxes.Apart(), types.Apart())
}

// Access returns the rights of a client of the topic. The client may call and send, read, trim and
// delete its own mailboxes, and read the topic's events. User must be the name of the user that
// receives the rights. Without a User the rights cover all mailboxes of the topic.
//
//	shop := gateways.ClientConfig{User: "shop"}
//	rdb.ACLSetUser(ctx, "shop", append(shop.Access("orders").Rules(), "on", ">password")...)
//
// A client can't read the requests, nor the mailboxes of other users. It can delete requests that
// wait, because clients tidy up while there is no service. The clients of StreamersonV1 share a
// stream of replies, and each can read those of all.
func (c ClientConfig) Access(topic string) redisio.Access {
	speech, _ := speak(c.Wire, "ClientConfig", topic) // Validate reports what is wrong
	k := speech.keys
	upkeep := []string{"eval", "xinfo|groups", "xlen", "xpending", "xtrim"}
	requests := redisio.Access{
		Commands: append([]string{"memory|usage", "xdel", "xinfo|consumers"}, upkeep...),
		Writes:   []string{redisio.KeyPattern(k.Requests)},
	}
	a := requests.Apart()
	if speech.shared != "" {
		return a.And(writer.Config{Key: k.Requests}.Access().Apart(),
			reader.TailConfig{Key: speech.shared}.Access().Apart())
	}
	control := redisio.Access{Commands: upkeep, Writes: []string{redisio.KeyPattern(k.Control)}}
	mailbox := redisio.Access{
		Commands: []string{"del", "pexpire", "xadd", "xinfo|stream", "xread", "xrevrange", "xtrim"},
		Writes:   []string{redisio.KeyPattern(k.Mailboxes(c.User)) + "*"},
	}
	sends := writer.Config{Key: k.Requests}.Access().And(writer.Config{Key: k.Control}.Access())
	return a.And(control.Apart(), mailbox.Apart(), sends.Apart(), k.ReadEvents().Apart())
}
