package operators

import "github.com/streamerson/streamerson-go/flow"

// Feedback makes a loop for work that takes several rounds. build receives the messages of in and
// those that come back. It returns what leaves the loop and what goes back. At most bound messages of
// in are in the loop at once, and those that come back have precedence over new ones, so the loop
// cannot block itself. A message has left when everything made of it has left the loop or is done.
//
// A loop may make several messages of one. If more than bound messages are on their way back, the
// others fail: the fault policy of the Feedback decides on them, without retries. Stages within the
// loop must not hold messages without a time limit; Validate reports them. A message that goes round
// for a long time should look at flow.DrainStarted, because a drain waits for it.
//
//	in    --1-----2--------|
//	back  -----1-----2--2--|
//	out   --------1-------2|
//
// Order: not kept. Acks: carried by what leaves, or by what is done in the loop.
// Holds: up to bound messages on their way back. Ends: when in has ended and all messages have left.
func Feedback[T, U any](
	in flow.Source[T], bound int, build func(loop flow.Source[T]) (out flow.Source[U], back flow.Source[T]),
	opts ...flow.StageOption,
) flow.Source[U] {
	return flow.Feedback(in, "feedback", bound, build, opts...)
}
