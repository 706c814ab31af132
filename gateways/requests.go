package gateways

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/source"
)

// Requests is a source of a topic's requests, for graphs that answer by Reply, with any operators
// between. It is source.Stream with the topic's key, and the group "service" unless the config
// names another. Settled requests are deleted and expired requests are skipped. A request becomes a
// dead letter if its reply address is not a client of the topic.
//
// Order: kept. Acks: when all results of the request are done, with Reply when the reply is
// written. Ends: by drain.
func Requests[T any](
	rdb redis.UniversalClient,
	topic string,
	cfg source.StreamConfig[T],
	opts ...flow.StageOption,
) flow.Source[T] {
	var wrong []flow.StageOption
	if err := slot.CheckTopic("Requests", topic); err != nil {
		wrong = append(wrong, flow.InvalidError(err))
	}
	cfg.Key, cfg.DeleteSettled = topic, !cfg.AtMostOnce
	cfg.Group = cmp.Or(cfg.Group, defaultGroup)
	in := source.Stream(rdb, cfg, append(wrong, opts...)...)
	from := []slot.Topic{slot.TopicOf(topic)}
	return flow.Step(in, "due", func() flow.StepFunc[T, T] {
		return func(_ context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			meta := m.Meta()
			if expired(meta.Deadline) {
				return m, false, nil
			}
			return m, true, checkAddress(meta.ReplyTo, from)
		}
	}, flow.OnFault(flow.DeadLetter))
}

func expired(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

// ReplyAddressError reports a request with a reply address that the service must not write to.
type ReplyAddressError struct{ Address string }

func (e *ReplyAddressError) Error() string {
	return fmt.Sprintf(
		"gateways: reply address %.80q belongs to another topic: allow it in ReplyTopics",
		e.Address,
	)
}

// checkAddress rejects reply addresses that the service must not write to.
func checkAddress(address string, from []slot.Topic) error {
	if address == "" {
		return nil
	}
	for _, t := range from {
		if t.Owns(address) {
			return nil
		}
	}
	return flow.Reject(&ReplyAddressError{address})
}

// ReplyConfig configures Reply and ReplyFailure. The zero value is the default.
type ReplyConfig struct {
	// MaxReply limits the bytes of a reply. A caller receives CodeReplyTooLarge instead of a larger
	// one. Defaults to 1 MiB. The maximum is 256 MiB.
	MaxReply int
	// MailboxBytes is the most memory that the unread replies of one client take in Redis. See
	// ServiceConfig. Defaults to 64 MiB, or to two replies of MaxReply if that is more. Negative
	// disables the limit.
	MailboxBytes int64
}

// Reply answers the requests that messages come from. It is the branch that ends a graph of
// Requests. The reply address travels with the message through all operators. A message made of
// several requests, such as a batch, answers all of them; operators.Unbatch restores the address of
// each value. Messages of requests that want no answer are settled when they arrive. A client that
// is gone receives nothing.
//
// A value that can't be encoded is answered with CodeInternal, one that is too large with
// CodeReplyTooLarge. The log has the details.
//
// Order: kept. Acks: when the reply is written. Values are sent as JSON; strings and bytes are sent
// unchanged.
func Reply[T any](
	in flow.Source[T],
	rdb redis.UniversalClient,
	topic string,
	cfg ReplyConfig,
	opts ...flow.StageOption,
) flow.Branch {
	codec := redisio.DefaultCodec[T]()
	return replyBy(in, rdb, topic, cfg, opts, func(v T) (Response, error) { return encoded(codec, v) })
}

// ReplyFailure answers failed requests, such as the second output of operators.Try, with the
// *RemoteError that the failure wraps, or else with CodeInternal.
func ReplyFailure[T any](
	in flow.Source[flow.Failure[T]], rdb redis.UniversalClient, topic string, cfg ReplyConfig, opts ...flow.StageOption,
) flow.Branch {
	return replyBy(
		in,
		rdb,
		topic,
		cfg,
		opts,
		func(v flow.Failure[T]) (Response, error) { return failureOf(remote(v.Err())), nil },
	)
}

func replyBy[T any](
	in flow.Source[T],
	rdb redis.UniversalClient,
	topic string,
	cfg ReplyConfig,
	opts []flow.StageOption,
	answer func(T) (Response, error),
) flow.Branch {
	from, most := []slot.Topic{slot.TopicOf(topic)}, cmp.Or(cfg.MaxReply, defaultMaxReply)
	wantedOpts := []flow.StageOption{flow.OnFault(flow.DeadLetter)}
	mistakes := redisio.MistakesOf("ReplyConfig")
	checkReplies(mistakes, most, cfg.MailboxBytes)
	if err := mistakes.Err(); err != nil {
		wantedOpts = append(wantedOpts, flow.InvalidError(err))
	}
	wanted := flow.Via(in, "wanted", func() flow.Handler[T, Response] {
		return flow.HandlerFunc[T, Response](
			func(ctx context.Context, m flow.Message[T], emit flow.Emit[Response]) error {
				r, err := answer(m.Value)
				if err != nil {
					flow.Logger(ctx).Error("reply: encoding a value failed", "id", m.Meta().MessageID, "error", err)
					r = failureOf(remote(err))
				}
				if r.kind == "" {
					r.kind = kindReply
				}
				fit(ctx, m.Meta().Type, m.Meta().MessageID, &r, most)
				return answers(flow.Derive(m, r), from, emit)
			},
		)
	}, wantedOpts...)
	box := boxing{maxReply: most, bytes: mailboxBudget(cfg.MailboxBytes, most), full: whileWanted}
	return flow.To(wanted, (&dialect{reply: nativeReplies}).replies(rdb, forever, box), opts...)
}

// answers emits a message for each request that wants the answer.
func answers[T any](m flow.Message[T], from []slot.Topic, emit flow.Emit[T]) error {
	meta := m.Meta()
	for i := range meta.Members {
		if err := answers(flow.Member(m, i, m.Value), from, emit); err != nil {
			return err
		}
	}
	if len(meta.Members) > 0 || meta.ReplyTo == "" {
		return nil
	}
	if err := checkAddress(meta.ReplyTo, from); err != nil {
		return err
	}
	emit(m)
	return nil
}

// mailboxLen limits the replies in a client's mailbox, so that a client that neither reads nor dies
// does not fill the server. MailboxBytes limits their size. Beyond it the oldest are lost: their
// calls time out, and a streamed reply that misses parts is interrupted.
const mailboxLen = 16_384

// defaultMailboxBytes is the default of MailboxBytes.
const defaultMailboxBytes = 64 << 20

// leastMailboxBytes is the least budget of a stream.
const leastMailboxBytes = 64 << 10

// checkReplies adds what is wrong with the limits of a configuration.
func checkReplies(m *redisio.Mistakes, maxReply int, mailbox int64) {
	m.Is(maxReply < 0 || maxReply > maxMaxReply, "MaxReply", maxReply,
		"choose up to 256 MiB, or leave it 0 for 1 MiB")
	m.Is(mailbox > 0 && mailbox < leastMailboxBytes, "MailboxBytes", mailbox,
		"choose 65536 or more, 0 for the default, or a negative number for no limit")
}

// mailboxBudget returns how many bytes a mailbox may take; 0 is no limit.
func mailboxBudget(n int64, maxReply int) int64 {
	switch {
	case n < 0, n > 0 && n < leastMailboxBytes: // the config reports the mistake
		return 0
	case n == 0:
		return max(defaultMailboxBytes, 2*int64(payloadFor(maxReply)))
	}
	return n
}

// boxing is how replies are put into mailboxes.
type boxing struct {
	maxReply int
	bytes    int64 // the budget of a mailbox; 0: no limit
	full     func(flow.Message[Response]) error
	told     func(redisio.Event) // may be nil
}

// whileWanted keeps a reply that there is no memory for, until its caller has left.
func whileWanted(m flow.Message[Response]) error {
	if expired(m.Meta().Deadline) {
		return flow.Skip
	}
	return nil
}

// lateReplies are replies that Redis had no memory for.
//
// Idea: a reply is written before its request is settled, and settling requests frees memory. If
// all requests wait for their replies, no reply is ever written. So such a reply is queued here,
// its request is settled and deleted, and the reply is written once there is memory, as long as its
// caller waits. If the process dies in between, the reply is lost and its call times out.
type lateReplies chan flow.Message[Response]

// lateMost is how many replies may be queued. Beyond it, requests wait as well.
const lateMost = 512

// put queues a reply if there is room.
func (l lateReplies) put(m flow.Message[Response]) error {
	select {
	case l <- flow.NewMessage(m.Value, m.Meta()):
		return flow.Skip
	default:
		return whileWanted(m)
	}
}

// lateReply returns the queued message.
func lateReply(_ context.Context, m flow.Message[flow.Message[Response]]) (flow.Message[Response], bool, error) {
	return flow.Derive(m, m.Value.Value).WithMeta(m.Value.Meta()), true, nil
}
