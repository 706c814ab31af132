package gateways

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
)

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
