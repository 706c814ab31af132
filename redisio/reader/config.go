package reader

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// GroupConfig configures a Group. Key and Group are required. The zero value of each other field is
// its default.
type GroupConfig struct {
	Key   string // the stream
	Group string // the consumer group; created, with the stream, if missing

	// Consumer is the name of this reader in the group. Defaults to host-pid-random, which is
	// unique for each reader and each run. With a fixed name, the reader first takes the entries
	// that an earlier run left pending. Two live readers must never share a name.
	Consumer string

	// Start is the position where a new group begins. Defaults to the beginning of the stream.
	Start redisio.Start

	// AtMostOnce reads without pending entries: at most once, three times cheaper for the server.
	// Delivered entries are never delivered again, and Ack, Nack and Release do nothing.
	AtMostOnce bool

	// MaxDeliveries is the largest number of deliveries of an entry that is never settled. After
	// them the reader returns the entry once more, with Deliveries above MaxDeliveries. The caller
	// then moves it to the dead letters. If other clients raised the count, the entry is delivered
	// once before that. With a low value Read returns the entries of dead readers in smaller
	// groups. Defaults to 0, without a limit.
	MaxDeliveries int

	// Wait is how long Open retries while Redis is unreachable. Defaults to 0: one try, plus a few
	// more if the connection breaks during it. Once open, the reader reconnects for as long as Read
	// is called.
	Wait time.Duration

	// OnEvent receives the reader's events. OnLost receives the IDs of entries with a lost lease:
	// another consumer handles them now. Both are called from the reader's goroutines and must not
	// block.
	OnEvent func(redisio.Event)
	OnLost  func(ids []string)

	Tuning
}

// Tuning is the part of a GroupConfig that most programs leave at its defaults. source.Stream has
// the same fields.
type Tuning struct {
	// Block is how long one read waits on the server, and so the delay until the reader notices the
	// end of its context, or a source a drain. Defaults to 1 s, at most 2 s. An idle reader asks a
	// server or proxy that ignores BLOCK ten times a second.
	Block time.Duration

	// MaxCount is the maximum number of entries in one reply. Defaults to 1000.
	MaxCount int

	// Lease is how long an entry stays with a reader that does not renew it. The reader renews held
	// entries every third of it. Entries of any consumer that are idle for longer are reclaimed.
	// Defaults to 30 s, at most 30 days. Use the same value in all readers of a group.
	Lease time.Duration

	// ReclaimEvery is the longest interval between searches for entries without a live lease, such
	// as those of a reader that died. Defaults to half the lease, at most 30 days. Entries that
	// another reader released are found within a second.
	ReclaimEvery time.Duration

	// DeleteSettled deletes entries from the stream when they are acked or dead-lettered, once
	// every other group has read and settled them. The stream then holds the entries that are not
	// settled, and at most one more per reader. Defaults to false: acked entries stay until the
	// writers' retention drops them. Set it in all readers of a group. Do not set it if others read
	// the stream without a group, such as Tail, or if a group that begins in the past will be added
	// later.
	DeleteSettled bool

	// DeadMaxLen is the approximate maximum length of the dead-letter stream. The oldest letters
	// are dropped first and reported, see EventDeadDropped. Defaults to 100,000. Negative keeps
	// all.
	DeadMaxLen int64

	// ReapAfter is the idle time after which other consumers without pending entries are deleted
	// from the group. Defaults to 1 h. Negative disables it.
	ReapAfter time.Duration

	// DelayedEvery is the shortest interval at which the reader looks for entries scheduled for the
	// stream (see schedule.Scheduler), by any process, and moves due ones. While nothing is
	// scheduled it looks every 5 s. Defaults to 1 s. Negative disables it.
	DelayedEvery time.Duration

	// OnLostGroup is the reaction to a deleted group or stream. Defaults to LostGroupResume.
	OnLostGroup LostGroup

	// Capabilities are the newer features that reads may use: Claim and MaxSize. By default Open
	// detects them with commands that need no additional rights and change nothing. &Capabilities{}
	// disables all, as on Redis 7.0. Delivery is the same with and without. If the server turns out
	// to lack a given feature, the reader stops using it.
	Capabilities *redisio.Capabilities
}

// longestLease is the largest lease. It is far below values that overflow.
const longestLease = 30 * 24 * time.Hour

func (c GroupConfig) withDefaults() GroupConfig {
	c.Block = cmp.Or(c.Block, time.Second)
	c.MaxCount = cmp.Or(c.MaxCount, 1000)
	c.Lease = cmp.Or(c.Lease, 30*time.Second)
	c.ReclaimEvery = cmp.Or(c.ReclaimEvery, c.Lease/2)
	c.ReapAfter = cmp.Or(c.ReapAfter, time.Hour)
	c.DeadMaxLen = cmp.Or(c.DeadMaxLen, 100_000)
	c.DelayedEvery = cmp.Or(c.DelayedEvery, time.Second)
	return c
}

// Validate returns all mistakes at once, each as a *ConfigError. It needs no server.
func (c GroupConfig) Validate() error {
	m := redisio.MistakesOf("GroupConfig")
	m.Empty("Key", c.Key, "name the stream to read")
	m.Empty("Group", c.Group, "name the consumer group; readers that share work share its name")
	validateReads(m, c.Block, c.MaxCount)
	m.Is(c.Lease < 0 || c.Lease > 0 && c.Lease < 30*time.Millisecond || c.Lease > longestLease, "Lease", c.Lease,
		"choose longer than a renewal takes and up to 720h, or leave it 0 for 30s; it can't be switched off")
	m.Is(c.ReclaimEvery < 0 || c.ReclaimEvery > longestLease, "ReclaimEvery", c.ReclaimEvery,
		"choose up to 720h, or leave it 0 for half the lease; it can't be switched off")
	m.Negative("MaxDeliveries", int64(c.MaxDeliveries), "leave it 0 for no limit")
	m.If(c.DeleteSettled && c.AtMostOnce, "DeleteSettled", "is set for reads at most once",
		"drop one of them: without acknowledgements nothing is settled")
	m.Is(c.DelayedEvery > 0 && c.DelayedEvery < time.Millisecond, "DelayedEvery", c.DelayedEvery,
		"choose 1ms or more, leave it 0 for 1s, or make it negative for never")
	m.Is(c.OnLostGroup < LostGroupResume || c.OnLostGroup > LostGroupFail, "OnLostGroup", int(c.OnLostGroup),
		"choose one of the LostGroup constants")
	m.Negative("Wait", int64(c.Wait), "leave it 0 to fail at once")
	return m.Err()
}

// validateReads checks the fields that Group and Tail have in common.
func validateReads(m *redisio.Mistakes, block time.Duration, maxCount int) {
	m.Is(block < 0 || block > 2*time.Second || block > 0 && block < time.Millisecond, "Block", block,
		"choose 1ms to 2s: a blocked read can't be interrupted")
	m.Negative("MaxCount", int64(maxCount), "leave it 0 for 1000")
}

// newConsumerName returns a unique name: host, process and a random part.
func newConsumerName() string {
	host, _ := os.Hostname() // an empty host is fine: the random part makes the name unique
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	host = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, host)
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), hex.EncodeToString(random[:]))
}
