package flow

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// EventKind is a kind of Event.
type EventKind string

const (
	// EventStarted is the start of the graph.
	EventStarted EventKind = "started"
	// EventFault is a failed message.
	EventFault EventKind = "fault"
	// EventRestart means that a stage has failed and its region is restarted.
	EventRestart EventKind = "restart"
	// EventPaused and EventResumed are calls of Running.Pause and Running.Resume.
	EventPaused  EventKind = "paused"
	EventResumed EventKind = "resumed"
	// EventDraining means that the sources have stopped reading.
	EventDraining EventKind = "draining"
	// EventStopping means that an error stops the graph.
	EventStopping EventKind = "stopping"
	// EventEnded is the end of the graph, with the error that Wait returns.
	EventEnded EventKind = "ended"
)

const (
	maxEventText  = 1 << 10 // bytes of an error that an Event keeps
	recentFaults  = 64
	recentChanges = 64
)

// Event is a failed message of a running graph, or a change in the graph's life. Fields that do not
// apply are zero.
type Event struct {
	Time  time.Time     `json:"time"`
	Kind  EventKind     `json:"kind"`
	Stage string        `json:"stage,omitempty"`
	ID    string        `json:"id,omitempty"`    // of the message's entry
	Tries int           `json:"tries,omitempty"` // of a fault: see Fault; of a restart: its number
	Do    string        `json:"do,omitempty"`    // what is done about a fault: the name of its Action
	After time.Duration `json:"after,omitempty"` // the wait before a retry, a redelivery or a restart
	Error string        `json:"error,omitempty"` // the first 1 KiB
}

// recent holds the last events of a run. Faults and changes are bounded separately, so that many
// faults leave the changes.
type recent struct {
	mu      sync.Mutex
	faults  []Event
	changes []Event
}

// Recent returns the last 64 faults and the last 64 changes in the life of the graph, oldest first.
// A message that is retried at a stage is one fault there: its latest.
func (r *Running) Recent() []Event {
	r.recent.mu.Lock()
	all := slices.Concat(r.recent.changes, r.recent.faults)
	r.recent.mu.Unlock()
	slices.SortStableFunc(all, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return all
}

// changed records a change in the life of the graph.
func (r *recent) changed(e Event, err error) {
	e.Time, e.Error = time.Now(), textOf(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = pushed(r.changes, e, recentChanges)
}

// faulted records a fault. It replaces the retry that the same message had before.
func (r *recent) faulted(f *Fault, d Decision) {
	e := Event{
		Time: time.Now(), Kind: EventFault, Stage: f.Stage, ID: f.Meta.ID, Tries: f.Tries,
		Do: d.Do.String(), After: d.After, Error: textOf(f.Err),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Tries > 1 {
		before := slices.IndexFunc(r.faults, func(old Event) bool {
			return old.Stage == e.Stage && old.ID == e.ID && old.Tries == e.Tries-1
		})
		if before >= 0 {
			r.faults = slices.Delete(r.faults, before, before+1)
		}
	}
	r.faults = pushed(r.faults, e, recentFaults)
}

// pushed adds an event behind at most n-1 earlier ones.
func pushed(to []Event, e Event, n int) []Event {
	if len(to) >= n {
		to = slices.Delete(to, 0, len(to)-n+1)
	}
	return append(to, e)
}

// textOf returns the beginning of an error's text. An Error method that panics has no other
// consequence.
func textOf(err error) (text string) {
	if err == nil {
		return ""
	}
	defer func() {
		if v := recover(); v != nil {
			text = "the error's text: " + recovered(v).Error()
		}
	}()
	text = strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(text) > maxEventText {
		text = strings.ToValidUTF8(text[:maxEventText], "") + "…"
	}
	return text
}
