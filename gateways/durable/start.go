package durable

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/transcript"
)

// headerID is the header of a request that names its durable reply.
const headerID = "durable-reply"

type idKey struct{}

// Start returns a function that requests a durable reply with values of type T, and returns its ID
// at once. The reply can be
// followed and stopped immediately, also before a handler has begun. For errors see
// gateways.Client.Do; after an error there is no reply.
func Start[Q, T any](
	c *gateways.Client, r *Replies, typ string, opts ...gateways.CallOption,
) func(context.Context, Q) (id string, err error) {
	start := StartAs[Q, T](c, r, typ, opts...)
	return func(ctx context.Context, q Q) (string, error) {
		id := strings.ToLower(rand.Text())
		if err := start(ctx, id, q); err != nil {
			return "", err
		}
		return id, nil
	}
}

// StartAs is Start with an ID that the caller chooses, of up to 512 bytes. If there is a reply of
// this ID, the function does nothing, so it may be repeated. If the process dies within the call,
// the reply may exist without a request; it then expires after Config.TTL.
func StartAs[Q, T any](
	c *gateways.Client, r *Replies, typ string, opts ...gateways.CallOption,
) func(ctx context.Context, id string, q Q) error {
	named := gateways.HeaderFor(headerID, func(ctx context.Context, _ Q) string {
		id, _ := ctx.Value(idKey{}).(string)
		return id
	})
	contentType := redisio.DefaultCodec[T]().ContentType()
	send := gateways.Send[Q](c, typ, append([]gateways.CallOption{named}, opts...)...)
	return func(ctx context.Context, id string, q Q) error {
		if r.err != nil {
			return r.err
		}
		_, created, err := r.store.Create(ctx, id, transcript.Spec{ContentType: contentType})
		if err != nil || !created {
			return err
		}
		if err = send(context.WithValue(ctx, idKey{}, id), q); err == nil {
			return nil
		}
		// A request that was written nevertheless finds no reply and is skipped.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if gone := r.store.Delete(ctx, id); gone != nil && !errors.Is(gone, ErrUnknown) {
			return errors.Join(err, gone)
		}
		return err
	}
}
