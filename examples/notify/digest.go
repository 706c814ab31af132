package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Digests collects notes until a user's quiet time begins: none has come for a while. Then one mail
// has all of them. They wait in Redis rather than in a process, because any process may get a user's
// next note.
type Digests struct {
	rdb   redis.UniversalClient
	quiet time.Duration
}

const (
	digestMost = 500 // notes of one digest; a user who gets more receives the newest
	longest    = 20  // quiet times that a note waits at most, if the user is never quiet
)

// Add adds a note to the next digest of a user, which is not sent in quiet hours. It may be repeated.
func (d Digests) Add(ctx context.Context, user string, n Note, q Quiet) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	notes := key("digest:" + user)
	pipe := d.rdb.Pipeline()
	pipe.ZAddNX(ctx, notes, redis.Z{Score: float64(n.At.UnixMilli()), Member: text})
	pipe.ZRemRangeByRank(ctx, notes, 0, -digestMost-1)
	pipe.Expire(ctx, notes, keptFor)
	oldest := pipe.ZRangeWithScores(ctx, notes, 0, 0)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	due := time.Now().Add(d.quiet).UnixMilli()
	if first := oldest.Val(); len(first) > 0 {
		due = min(due, int64(first[0].Score)+longest*d.quiet.Milliseconds())
	}
	due = q.after(time.UnixMilli(due)).UnixMilli()
	return d.rdb.ZAdd(ctx, key("digests"), redis.Z{Score: float64(due), Member: user}).Err()
}

// graph sends the digests that are due. Every process may look: a digest is sent once.
func (d Digests) graph(log *slog.Logger) *flow.Graph {
	ticks := source.Every(min(d.quiet, time.Second), func(at time.Time) time.Time { return at })
	send := func(ctx context.Context, at time.Time) error {
		users, err := d.rdb.ZRangeByScore(ctx, key("digests"),
			&redis.ZRangeBy{Min: "-inf", Max: strconv.FormatInt(at.UnixMilli(), 10)}).Result()
		for _, user := range users {
			err = errors.Join(err, d.send(ctx, user))
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("digests are not sent, the next tick tries again", "error", err)
		}
		return nil
	}
	return flow.New("digests", flow.To(ticks, sink.Func(send, flow.Name("send"))), flow.Log(log))
}

// send turns the notes of a user into one delivery by mail. One transaction writes the delivery and
// removes its notes. It fails, and the next tick tries again, if another process has changed them.
func (d Digests) send(ctx context.Context, user string) error {
	notes := key("digest:" + user)
	err := d.rdb.Watch(ctx, func(tx *redis.Tx) error {
		texts, err := tx.ZRange(ctx, notes, 0, -1).Result()
		if err != nil {
			return err
		}
		mail := Delivery{Channel: "mail", User: user, Notes: make([]Note, len(texts))}
		members, ids := make([]any, len(texts)), sha256.New()
		for i, text := range texts {
			if err := json.Unmarshal([]byte(text), &mail.Notes[i]); err != nil {
				return err
			}
			members[i] = text
			ids.Write([]byte(mail.Notes[i].ID))
		}
		mail.ID = "digest:" + user + ":" + hex.EncodeToString(ids.Sum(nil)[:6])
		fields, _, err := redisio.Native(redisio.JSON[Delivery]()).Encode(nil, nil, &redisio.Envelope{}, mail)
		if err != nil {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			if len(texts) > 0 {
				values := make([]any, 0, 2*len(fields))
				for _, f := range fields {
					values = append(values, f.Name, f.Value)
				}
				pipe.XAdd(ctx, &redis.XAddArgs{Stream: key("mail"), Values: values})
				pipe.ZRem(ctx, notes, members...)
			}
			pipe.ZRem(ctx, key("digests"), user)
			return nil
		})
		return err
	}, notes)
	if errors.Is(err, redis.TxFailedErr) {
		return nil
	}
	return err
}
