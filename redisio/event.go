package redisio

import (
	"time"
)

// EventKind says what a reader or a writer noticed.
type EventKind int

const (
	EventReconnecting    EventKind = iota + 1 // reads fail: Err says why, Wait how long until the next try
	EventReconnected                          // reads work again
	EventGroupRecreated                       // the group or the whole stream was gone and was made again at Position
	EventReclaimed                            // IDs of consumers without a live lease were taken over
	EventRecovered                            // IDs that were delivered to us in a lost reply, or to our name before, were taken
	EventTrimmed                              // Count entries were trimmed or deleted while pending: they are lost
	EventLeaseLost                            // IDs are somebody else's now; also given to OnLost
	EventStaleAcks                            // Count acks found nothing pending: acked before, or the group is a new one
	EventReaped                               // Count consumers of the past were deleted
	EventRenewFailed                          // leases could not be renewed: Err says why
	EventMoveFailed                           // scheduled entries are not moved: Err says why; for good if Wait is 0
	EventRestored                             // IDs that somebody had dropped from the pending list, though we had them, are pending again
	EventLateAcks                             // Count entries were somebody else's when they were settled: left alone
	EventStreamRecreated                      // the stream that a reader.Tail follows is another one: it goes on at its beginning
	EventEvictable                            // the server may delete keys when its memory is full (maxmemory-policy), streams and all: Err says which
	EventDropped                              // a writer dropped Count entries that a group had not read or not settled: they are lost
	EventTrimFailed                           // a writer could not trim: Err says why. It will try again
	// EventAskingLess: replies did not come, again and again, as when they are larger than a limit of the server
	// (client-output-buffer-limit) or of a proxy. From now on at most Count entries are asked for.
	// Err says how replies end.
	EventAskingLess
	// EventRefused: a server that worked before refuses us (NOAUTH, WRONGPASS), or a proxy gives an
	// answer that is not known: Err. It is tried again for Wait, and then permanent, see
	// RefusedFor.
	EventRefused
	// EventWithheld: not even a reply with the one entry IDs comes. It is handed out without its
	// fields, see Entry.Withheld.
	EventWithheld
	EventTickerWaits // a ticker can't tick for Wait: Err says why
	// EventDeadDropped: the dead-letter stream is at DeadMaxLen, and Count of its oldest letters were dropped.
	EventDeadDropped
	// EventHeldBack: a stream of Count entries is not trimmed as the writer's retention says, because
	// Group is not done with the oldest, and has not moved for a minute. Err is a *HeldBackError. A
	// group is named once, and again every ten minutes while that lasts.
	EventHeldBack
)

var EventNames = [...]string{"", "reconnecting", "reconnected", "group recreated", "reclaimed", "recovered",
	"trimmed while pending", "lease lost", "stale acks", "consumers reaped", "renewal failed", "scheduled entries not moved",
	"restored", "late acks", "stream recreated", "stream may be evicted",
	"dropped unread", "trimming failed", "replies cut off, asking for fewer entries", "refused, will try again",
	"entry too large to be read", "ticker waits", "dead letters dropped",
	"trimming held back by a group"}

func (k EventKind) String() string {
	if k > 0 && int(k) < len(EventNames) {
		return EventNames[k]
	}
	return "unknown event"
}

// Event is something a reader or a writer noticed that is worth a log line or a counter; never one per entry.
type Event struct {
	Kind     EventKind
	Key      string
	Group    string
	IDs      []string
	Count    int
	Position string // EventGroupRecreated: entries behind it are delivered
	// StreamGone with EventGroupRecreated: the stream was gone too, or is another one. What nobody
	// had read of it is lost.
	StreamGone bool
	Err        error
	Wait       time.Duration
}
