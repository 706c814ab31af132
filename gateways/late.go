package gateways

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
)

// lateReplies are replies that Redis has no memory for.
//
// Idea: a reply is written before its request is settled, and a settled request is what makes room.
// If all requests wait for their replies, none is ever written. So such a reply is put here, its
// request is settled and deleted, and the reply is written when there is room, until its caller has
// gone. If the process dies in between, the reply is lost, and its call times out.
type lateReplies chan flow.Message[Response]

// lateMost is how many replies wait. When there are more, their requests wait as well.
const lateMost = 512

// put takes a reply, if there is room here.
func (l lateReplies) put(m flow.Message[Response]) error {
	select {
	case l <- flow.NewMessage(m.Value, m.Meta()):
		return flow.Skip
	default:
		return whileWanted(m)
	}
}

// lateReply makes a message of one that waited.
func lateReply(_ context.Context, m flow.Message[flow.Message[Response]]) (flow.Message[Response], bool, error) {
	return flow.Derive(m, m.Value.Value).WithMeta(m.Value.Meta()), true, nil
}
