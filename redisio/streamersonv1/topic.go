package streamersonv1

import (
	"strings"
)

// Topic spells the keys of streamerson v1: a stream of requests, which it calls
// incoming, and one of replies.
//
//	<namespace>::<topic>[#<shard>]::CONSUMER_INCOMING
//	<namespace>::<topic>[#<shard>]::PRODUCER_OUTGOING
//
// Node's new Topic('x') is Topic{Namespace: "x"} here.
type Topic struct {
	Namespace string
	Topic     string // default "DEFAULT"
	Shard     string // default none
	// Spelling is the position of the shard. The parts of streamerson for Node disagree about it,
	// so choose the one of the part that you communicate with.
	Spelling ShardSpelling
}

// ShardSpelling is the position of the shard in a key.
type ShardSpelling int

const (
	// ShardInTopic: ns::topic#shard::CONSUMER_INCOMING, as Topic.consumerKey, groups and acks of
	// Node spell it. It is the default.
	ShardInTopic ShardSpelling = iota
	// ShardTwice: ns::topic#shard::CONSUMER_INCOMING#shard, as StreamConsumer and getWriteStream({topic, shard}) do.
	ShardTwice
	// ShardAtEnd: ns::topic::CONSUMER_INCOMING#shard, as dispatch of an awaiter does, and its reader of replies.
	ShardAtEnd
)

const defaultTopic = "DEFAULT"

// Incoming returns the key of the requests.
func (t Topic) Incoming() string { return t.key("CONSUMER_INCOMING") }

// Outgoing returns the key of the replies.
func (t Topic) Outgoing() string { return t.key("PRODUCER_OUTGOING") }

// Subtopic returns the topic named topic(name), in the same namespace. (Node lost the namespace of
// a topic made from a string.)
func (t Topic) Subtopic(name string) Topic {
	t.Topic = t.name() + "(" + name + ")"
	return t
}

func (t Topic) name() string {
	if t.Topic == "" {
		return defaultTopic
	}
	return t.Topic
}

func (t Topic) key(side string) string {
	var b strings.Builder
	b.WriteString(t.Namespace + "::" + t.name())
	if t.Shard != "" && t.Spelling != ShardAtEnd {
		b.WriteString("#" + t.Shard)
	}
	b.WriteString("::" + side)
	if t.Shard != "" && t.Spelling != ShardInTopic {
		b.WriteString("#" + t.Shard)
	}
	return b.String()
}
