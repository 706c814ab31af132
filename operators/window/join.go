package window

import "time"

// JoinKind tells which values without a partner [operators.JoinWithin] passes on.
//
// [operators.JoinWithin]: https://pkg.go.dev/github.com/streamerson/streamerson-go/operators#JoinWithin
type JoinKind uint8

const (
	// Inner passes on pairs only. It is the default.
	Inner JoinKind = iota
	// Left passes on left values without a partner too.
	Left
	// Outer passes on all values without a partner too.
	Outer
)

// Join configures JoinWithin: L and R are the types of the left and the right values, K that of
// their keys.
type Join[L, R any, K comparable] struct {
	// Kind tells which values without a partner are passed on. Defaults to Inner.
	Kind JoinKind
	// LeftKey and RightKey return the keys. Only values with equal keys are partners. Required.
	LeftKey  func(L) K
	RightKey func(R) K
	// LeftTime and RightTime return the event times. Nil for both means processing time.
	LeftTime  func(L) time.Time
	RightTime func(R) time.Time
	// Before and After are by how much a right value may be older and newer than its left partner.
	// At least one must be positive.
	Before, After time.Duration
	// Slack, Idle and MaxAhead are those of Config.
	Slack, Idle, MaxAhead time.Duration
	// MaxHeld is the number of values that may wait for partners, on both sides together. When it is
	// reached, the value that would stop to wait first does so. Defaults to 1024.
	MaxHeld int
}
