package main

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Delivery is what a provider gets: one note, or several as a digest.
type Delivery struct {
	ID      string `json:"id"` // the idempotency key: the provider accepts each once
	Channel string `json:"channel"`
	User    string `json:"user"`
	Notes   []Note `json:"notes"`

	at time.Time // not before
}

// key returns a Redis key of this program. All share a slot, so transactions may touch several.
func key(name string) string { return "{" + topic + "}:" + name }

// brief is how the sources of this example read. The lease is short, so that another process soon
// takes over from one that was killed. Finished entries are deleted, so the length of a stream is
// the number of deliveries that wait.
func brief() reader.Tuning {
	return reader.Tuning{Lease: 3 * time.Second, DeleteSettled: true}
}

// router stores each note in the inboxes of its receivers, and makes the deliveries that they want.
// Any number of processes share the work. After a crash a note is routed again: inboxes and digests
// keep it once, and providers know the ID of a delivery.
func router(rdb redis.UniversalClient, inbox *Inbox, people People, digests Digests, log *slog.Logger) *flow.Graph {
	notes := source.Stream(rdb, source.StreamConfig[Note]{
		Key: events.Key(topic), Group: "router", Tuning: reader.Tuning{Lease: 3 * time.Second},
	}, flow.Name("notes"))
	deliveries := operators.FlatMap(notes, func(ctx context.Context, n Note, emit func(Delivery)) error {
		users, err := people.Receivers(ctx, n)
		if err != nil {
			return err
		}
		for _, user := range users {
			if err := inbox.Put(ctx, user, n); err != nil {
				return err
			}
			wanted, err := people.Preferences(ctx, user)
			if err != nil {
				return err
			}
			if slices.Contains(wanted.Kinds[n.Kind], digest) {
				if err := digests.Add(ctx, user, n, wanted.Quiet); err != nil {
					return err
				}
			}
			at := wanted.Quiet.after(time.Now())
			for _, channel := range wanted.Kinds[n.Kind] {
				if channel != digest {
					emit(Delivery{channel + ":" + user + ":" + n.ID, channel, user, []Note{n}, at})
				}
			}
		}
		return nil
	}, flow.Name("route"))
	return flow.New("router", flow.To(deliveries, sink.Stream(rdb, sink.StreamConfig[Delivery]{
		KeyFor: func(m flow.Message[Delivery]) string { return key(m.Value.Channel) },
		At:     func(m flow.Message[Delivery]) time.Time { return m.Value.at }, // in quiet hours
	}, flow.Name("channels"))), flow.Log(log))
}
