package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/sse"
)

const (
	inboxMost = 200 // notes of a user that are kept
	keptFor   = 30 * 24 * time.Hour
)

// Inbox keeps the notes of each user, and which of them are read. It has two sorted sets for each
// user: notes, and IDs of read notes. Both only grow, so the order in which processes and tabs
// change them does not matter, and a note that is stored twice stays read. The server and the pages
// count alike: a note is unread if its ID is not in the second set.
type Inbox struct {
	rdb    redis.UniversalClient
	events *events.Publisher
	came   func(context.Context, Arrival) error
	marked func(context.Context, Marks) error
}

// The events for the pages of a user: a note has come, or notes were read.
type (
	Arrival struct {
		Note
		User string `json:"user"`
	}
	Marks struct {
		User string   `json:"user"`
		IDs  []string `json:"ids"`
	}
)

const changes = "notify-inbox" // the topic of the events for pages

func newInbox(rdb redis.UniversalClient) *Inbox {
	pub := events.NewPublisher(rdb, changes, events.PublisherConfig{MaxLen: 1000})
	return &Inbox{
		rdb:    rdb,
		events: pub,
		came:   events.Publish[Arrival](pub, "note", gateways.Keyed(func(a Arrival) string { return a.User })),
		marked: events.Publish[Marks](pub, "read", gateways.Keyed(func(m Marks) string { return m.User })),
	}
}

// Put stores a note for a user, and then shows it in the open pages. It may be repeated.
func (b *Inbox) Put(ctx context.Context, user string, n Note) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := b.add(ctx, key("inbox:"+user), n.At, string(text)); err != nil {
		return err
	}
	return b.came(ctx, Arrival{n, user})
}

// Read marks notes as read, in all tabs of the user.
func (b *Inbox) Read(ctx context.Context, user string, ids []string) error {
	if err := b.add(ctx, key("read:"+user), time.Now(), ids...); err != nil {
		return err
	}
	return b.marked(ctx, Marks{user, ids})
}

// add adds members to a sorted set, and bounds it.
func (b *Inbox) add(ctx context.Context, key string, at time.Time, members ...string) error {
	scored := make([]redis.Z, len(members))
	for i, m := range members {
		scored[i] = redis.Z{Score: float64(at.UnixMilli()), Member: m}
	}
	pipe := b.rdb.Pipeline()
	pipe.ZAddNX(ctx, key, scored...)
	pipe.ZRemRangeByRank(ctx, key, 0, -2*inboxMost-1) // twice: marks of notes that were just dropped do no harm
	pipe.Expire(ctx, key, keptFor)
	_, err := pipe.Exec(ctx)
	return err
}

// Content is what a page shows.
type Content struct {
	Notes  []Note   `json:"notes"` // the newest first
	Read   []string `json:"read"`
	Unread int      `json:"unread"`
}

// List returns the notes of a user.
func (b *Inbox) List(ctx context.Context, user string) (c Content, err error) {
	pipe := b.rdb.Pipeline()
	notes, read := pipe.ZRevRange(ctx, key("inbox:"+user), 0, inboxMost-1), pipe.ZRange(ctx, key("read:"+user), 0, -1)
	if _, err := pipe.Exec(ctx); err != nil {
		return c, err
	}
	c.Notes, c.Read = make([]Note, len(notes.Val())), read.Val()
	is := make(map[string]bool)
	for _, id := range c.Read {
		is[id] = true
	}
	for i, text := range notes.Val() {
		if err := json.Unmarshal([]byte(text), &c.Notes[i]); err != nil {
			return c, err
		}
		if !is[c.Notes[i].ID] {
			c.Unread++
		}
	}
	return c, nil
}

// userOf identifies the user of a browser. In this example the page names it. A real program takes
// the user from a session.
func userOf(r *http.Request) (gateways.Identity, error) {
	user := r.URL.Query().Get("user")
	if !isName(user) || user == everyone {
		return gateways.Identity{}, gateways.Errorf(gateways.CodeUnauthorized, "user missing, add ?user=ann")
	}
	return gateways.Identity{User: user}, nil
}

// feedOf returns the feed of a browser: the changes of its user's inbox.
func feedOf(_ *http.Request, who gateways.Identity) (sse.Feed, error) {
	return sse.Feed{Key: events.Key(changes), Topics: []string{who.User}}, nil
}
