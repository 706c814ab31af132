package operators

import (
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// Overflow decides what happens to a message for which a bounded queue has no room.
type Overflow uint8

const (
	// Block makes the sender wait for room: backpressure.
	Block Overflow = iota
	// DropOldest makes room by dropping the message that has waited longest.
	DropOldest
	// DropNewest drops the message that finds no room.
	DropNewest
	// Fail is an error: of the message, or of the subscriber that is too slow.
	Fail
)

// String returns the policy's name.
func (o Overflow) String() string {
	if o > Fail {
		return "unknown"
	}
	return [...]string{"block", "drop oldest", "drop newest", "fail"}[o]
}

// known reports an unknown Overflow.
func (o Overflow) known(field string) flow.StageOption {
	if o <= Fail {
		return nil
	}
	return flow.Invalid(field, fmt.Sprintf("the unknown policy %d", o), "give Block, DropOldest, DropNewest or Fail")
}
