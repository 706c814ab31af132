// Package window has the words of windows. Tumbling, Sliding, Session and CountOf are kinds of
// windows. A Config tells how time passes, an Aggregate what is computed in each window, and a Result
// is what comes out. The operators are [operators.Window] and [operators.JoinWithin].
//
//	perMinute, late := operators.Window(views, window.Config[View, string]{
//		Windows: window.Tumbling(time.Minute),
//		Key:     func(v View) string { return v.Page },
//		Time:    func(v View) time.Time { return v.At },
//		Slack:   10 * time.Second,
//	}, window.Count[View]())
//
// # Time
//
// With Config.Time a stream has event time: a value belongs to the windows of the time that it
// carries. A window fires when the watermark reaches its end. The watermark of a source is the
// highest time of its values minus Slack. The watermark of the stage is the lowest of its sources,
// also if their streams were joined by FanIn before. Each source counts by itself, as the messages
// know where they come from:
//
//   - A source that has not delivered anything yet holds the watermark back. So do the others.
//   - A source without values for Idle, or one that has ended, no longer counts. If all are idle the
//     watermark is the highest of them. It stays there until values arrive or Quiet has passed.
//   - The watermark never goes back. A source that returns with older values is late.
//   - The watermark sees only values that reach the stage. A filter before it that drops all values
//     of a source makes this source look idle.
//   - A restarted stage has no watermark until values arrive. Their entries come again, because they
//     were not acked.
//
// Without Config.Time a value belongs to the windows of the time at which it arrives. The clock does
// not go back within a stage.
//
// # What happens to the entries
//
// A window keeps the entries of its values unsettled until it has fired. Its result carries them: they
// are acked when the result is. So nothing is lost when the process dies; another reads the entries
// again and computes the window again. The lease of a held entry is renewed as long as the process
// lives. When a drain starts, the entries of open windows go back, and the next process computes the
// windows as a whole. Open windows of a source that cannot deliver again fire an Early pane.
//
// The number of entries that may be held is MaxHeld. When it is reached, the window with the oldest
// entries fires an Early pane that carries its entries, and continues. Validate compares MaxHeld
// with the credits of the sources.
package window

import (
	"fmt"
	"time"
)

// Kind is a kind of windows.
type Kind uint8

const (
	// Time windows have a fixed size.
	Time Kind = iota + 1
	// Sessions end when no values come for a time.
	Sessions
	// Counts have a fixed number of values.
	Counts
)

// Windows tells which windows a stream is cut into. Tumbling, Sliding, Session and CountOf make one.
type Windows struct {
	Kind  Kind
	Size  time.Duration // of Time
	Every time.Duration // of Time: from the start of a window to that of the next
	Gap   time.Duration // of Sessions
	N     int           // of Counts
}

// Tumbling returns windows of the given size, one after the other. They start at multiples of size
// since 1970, in UTC.
func Tumbling(size time.Duration) Windows { return Sliding(size, size) }

// Sliding returns windows of the given size that start at all multiples of every since 1970. A value
// belongs to size/every windows, but is added only once: the windows share panes, which are merged.
func Sliding(size, every time.Duration) Windows { return Windows{Kind: Time, Size: size, Every: every} }

// Session returns windows that each begin with a value, and end when their key had no value for
// gap. A value that comes between two sessions of a key may join them.
func Session(gap time.Duration) Windows { return Windows{Kind: Sessions, Gap: gap} }

// CountOf returns windows of n values of a key.
func CountOf(n int) Windows { return Windows{Kind: Counts, N: n} }

// Config configures Window: T is the type of the values, K that of their keys.
type Config[T any, K comparable] struct {
	// Windows are the windows. Required.
	Windows Windows
	// Key returns the key of a value. Each key has windows of its own. Required.
	Key func(T) K
	// Time returns the event time of a value. Nil means processing time.
	Time func(T) time.Time
	// Slack is by how much a value may be older than the newest value of its source without being
	// late. Defaults to 0. With event time only.
	Slack time.Duration
	// Lateness is how long after its end, by the watermark, a window still accepts values. Each of
	// them fires a Late pane at once. Defaults to 0.
	Lateness time.Duration
	// Idle is after how long without values a source no longer holds back the watermark. It is
	// noticed up to a quarter later. Defaults to a minute. Negative means never.
	Idle time.Duration
	// Quiet is after how long without any value all open windows fire, as if their end was reached.
	// It is noticed up to a quarter later. Defaults to 0, which means never. For windows of event
	// time and of counts.
	Quiet time.Duration
	// MaxAhead is how far an event time may be ahead of the clock. A value further ahead would make
	// all others late. Defaults to 24 hours. Negative disables the limit.
	MaxAhead time.Duration
	// Early is how often a window that has changed fires an Early pane before its end. These panes
	// carry no entries; one that fails is dropped. Defaults to 0, which means never.
	Early time.Duration
	// MaxWindows is the largest number of windows, of all keys, that are open or accept late values.
	// Values that would open more go to the late branch. Defaults to 10,000.
	MaxWindows int
	// MaxHeld is the number of entries that open windows may hold. When it is reached, an Early pane
	// carries the oldest. Defaults to 1024.
	MaxHeld int
}

// Pane tells why a window fired.
type Pane string

const (
	// Early is a pane of a window that has not ended.
	Early Pane = "early"
	// OnTime is the pane of a window at its end.
	OnTime Pane = "on time"
	// Late is a pane after the end, for values that came late.
	Late Pane = "late"
)

// Result is what a window has computed. Each pane has the aggregate of all values of the window so
// far, so a later pane replaces an earlier one.
type Result[K comparable, R any] struct {
	Key K `json:"key"`
	// Start and End are the bounds of the window; End is not part of it. For a session, End is Gap
	// after the last value. For a count window both are times of values: the first and the last.
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Pane tells why the window fired, and Number how often it fired for this reason before.
	Pane   Pane `json:"pane"`
	Number int  `json:"number"`
	// N is the number of values.
	N int `json:"n"`
	// Value is the result of the aggregate.
	Value R `json:"value"`
}

// Window returns a name of the key's window. It is the same for all its panes, and in all processes.
func (r Result[K, R]) Window() string {
	return fmt.Sprintf("%v/%d-%d", r.Key, r.Start.UnixNano(), r.End.UnixNano())
}

// ID returns a name of the pane. It is the same each time the window is computed, so that a result
// written twice can be recognized.
func (r Result[K, R]) ID() string {
	return fmt.Sprintf("%s/%s-%d", r.Window(), r.Pane, r.Number)
}

// String returns the key, the window in UTC, the pane and the value.
func (r Result[K, R]) String() string {
	const layout = "15:04:05"
	return fmt.Sprintf(
		"%v %s-%s %s: %v",
		r.Key,
		r.Start.UTC().Format(layout),
		r.End.UTC().Format(layout),
		r.Pane,
		r.Value,
	)
}
