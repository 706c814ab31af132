package operators

import (
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// GroupBy runs a sub-pipeline of its own for each key. It calls sub once, when the blueprint is
// built, with the messages of a key as its source. Each key gets its own state of the stages. The
// stages must have one input, one output and no workers, which Validate checks. The keys share one
// goroutine (see flow.Nest), so the stage cannot deadlock. But while a message waits for a retry,
// or in a Throttle, all keys wait. To spread keys over goroutines use ByKey.
//
// A key's sub-pipeline ends when the key had no message for idle. It also ends when it was used
// least recently and another key would be one more than most. At its end it passes on what it holds,
// as a Batch does; the next message of the key begins a new one. A Take inside ends only its key,
// until then. An error or a panic of key, and a key that is not equal to itself (NaN), is a fault of
// the message.
//
//	in   --a1--b2--a3--b4--|
//	out  ----------(a1,a3)--(b2,b4)|  batches of 2
//
// Order: kept within a key, as far as sub keeps it. Acks: as sub does.
// Holds: what sub holds, for each of up to most keys. Ends: when in ends, after the sub-pipelines.
func GroupBy[T, U any, K comparable](
	in flow.Source[T], key func(T) K, most int, idle time.Duration,
	sub func(of flow.Source[T]) flow.Source[U], opts ...flow.StageOption,
) flow.Source[U] {
	return flow.Nest(in, "group-by", key, most, idle, sub, with(opts, flow.Async())...)
}
