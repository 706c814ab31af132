package redisio

import (
	"time"
)

// EventKind is the kind of an event.
type EventKind int

const (
	EventReconnecting    EventKind = iota + 1 // reads fail: Err is the cause, Wait the time until the next try
	EventReconnected                          // reads work again
	EventGroupRecreated                       // the group or the stream was missing and was created again at Position
	EventReclaimed                            // IDs were taken over from consumers without a live lease
	EventRecovered                            // IDs were recovered from a lost reply or an earlier run
	EventTrimmed                              // Count entries are lost: trimmed or deleted while pending
	EventLeaseLost                            // IDs belong to another consumer now; OnLost receives them too
	EventStaleAcks                            // Count acked entries were not pending: acked before, or the group is new
	EventReaped                               // Count idle consumers were deleted
	EventRenewFailed                          // leases could not be renewed: Err is the cause
	EventMoveFailed                           // scheduled entries are not moved: Err is the cause; final if Wait is 0
	EventRestored                             // held IDs were missing in the pending list and are pending again
	EventLateAcks                             // Count entries belonged to another consumer when settled: left unchanged
	EventStreamRecreated                      // the stream of a reader.Tail was replaced: it continues at the beginning
	EventEvictable                            // the maxmemory-policy lets the server evict streams: Err names it
	EventDropped                              // a writer dropped Count entries that a group had not read or settled
	EventTrimFailed                           // a writer could not trim and retries: Err is the cause
	// EventAskingLess: replies failed repeatedly, for example because they exceed a limit of the
	// server (client-output-buffer-limit) or of a proxy. From now on a read asks for at most Count
	// entries. Err is the last error.
	EventAskingLess
	// EventRefused: a server that worked before refuses us (NOAUTH, WRONGPASS), or a proxy gives an
	// unknown answer. Err is that answer. It is retried for Wait and is permanent afterwards, see
	// RefusedFor.
	EventRefused
	// EventWithheld: not even a reply with the single entry IDs arrives. The entry is returned
	// without its fields, see Entry.Withheld.
	EventWithheld
	EventTickerWaits // a ticker can't tick for Wait: Err is the cause
	// EventDeadDropped: the dead-letter stream reached DeadMaxLen, and its Count oldest letters
	// were dropped.
	EventDeadDropped
	// EventHeldBack: a stream of Count entries is not trimmed to the writer's retention. Group
	// still needs the oldest entries and has made no progress for a minute. Err is a
	// *HeldBackError. Each group is reported once, and again every ten minutes while this lasts.
	EventHeldBack
	EventLimiterWaits // a ratelimit.Limiter gets no answer and retries for Wait: Err is the cause
)

// eventNames are the texts of the kinds, in order.
var eventNames = [...]string{"", "reconnecting", "reconnected", "group recreated", "reclaimed", "recovered",
	"trimmed while pending", "lease lost", "stale acks", "consumers reaped", "renewal failed",
	"scheduled entries not moved",
	"restored", "late acks", "stream recreated", "stream may be evicted",
	"dropped unread", "trimming failed", "replies cut off, asking for fewer entries", "refused, will try again",
	"entry too large to be read", "ticker waits", "dead letters dropped",
	"trimming held back by a group", "rate limiter waits"}

func (k EventKind) String() string {
	if k > 0 && int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "unknown event"
}

// Event is a notable incident of a reader or a writer, to be logged or counted. Events never occur
// once per entry.
type Event struct {
	Kind     EventKind
	Key      string
	Group    string
	IDs      []string
	Count    int
	Position string // EventGroupRecreated: entries after it are delivered
	// StreamGone is set with EventGroupRecreated if the stream was missing too, or was replaced.
	// Its unread entries are lost.
	StreamGone bool
	Err        error
	Wait       time.Duration
}

// EventKinds is the number of kinds of events, with the zero kind.
const EventKinds = len(eventNames)
