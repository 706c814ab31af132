package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/gateways/internal/eventstream"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
)

// listed is how many jobs GET without an ID returns.
const listed = 100

// writeTimeout is how long a client may take to read an event.
const writeTimeout = 10 * time.Second

// wantsEvents reports whether the client accepts events.
func wantsEvents(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// events sends each state of a job, until it has ended. The ID of an event is the version. A client
// that reconnects after the end is answered with 204, which stops an EventSource.
func (h *handler[T, R]) events(w http.ResponseWriter, r *http.Request, j Job) error {
	seen, _ := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64) // 0 without one
	if j.State.Ended() && seen >= j.Version {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return h.follow(w, r, relay.Options{Topics: []string{j.ID}}, func(out *events) (over bool, err error) {
		if j, err = h.q.Get(r.Context(), j.ID); err != nil {
			return true, err
		}
		return j.State.Ended(), out.send(j)
	})
}

// list answers with the newest jobs, or with events of all jobs: the newest ones first, then each
// change.
func (h *handler[T, R]) list(w http.ResponseWriter, r *http.Request) error {
	recent := func() (all []Job, err error) {
		jobs, err := h.q.Recent(r.Context(), listed)
		if err != nil {
			return nil, err
		}
		all = []Job{}
		for _, j := range jobs {
			if h.admit(r, j) == nil {
				all = append(all, j)
			}
		}
		return all, nil
	}
	if !wantsEvents(r) {
		all, err := recent()
		if err != nil {
			return err
		}
		return reply(w, http.StatusOK, map[string][]Job{"jobs": all})
	}
	return h.follow(w, r, relay.Options{All: true}, func(out *events) (bool, error) {
		all, err := recent()
		for i := len(all) - 1; i >= 0 && err == nil; i-- {
			err = out.send(all[i])
		}
		return false, err
	})
}

// follow sends changes of jobs. now sends the current states: it is called first, and again when
// changes were missed.
func (h *handler[T, R]) follow(
	w http.ResponseWriter, r *http.Request, o relay.Options, now func(*events) (over bool, err error),
) error {
	if !h.enter() {
		return busy
	}
	defer h.watchers.Add(-1)
	o.Overflow, o.Idle = relay.DropOldest, h.cfg.Heartbeat
	l, err := h.q.listen(r.Context(), o)
	if err != nil {
		return err
	}
	defer l.Close()
	out := newEvents(w)
	over, err := now(out)
	if err != nil && !out.Begun() {
		return err
	}
	defer out.End()
	for err == nil && !over {
		if err = out.Flush(); err != nil {
			return nil // the client has gone
		}
		b, wrong := l.Next(r.Context())
		if wrong != nil {
			return nil // the client may reconnect elsewhere
		}
		if b.Gap != nil {
			over, err = now(out)
			continue
		}
		if len(b.Items) == 0 {
			out.Comment()
		}
		for i := range b.Items {
			over, err = h.change(r, out, b.Items[i].Value, o.All)
			if over || err != nil {
				break
			}
		}
	}
	if err == nil {
		_ = out.Flush() // the client may have gone
	}
	return nil
}

// change sends a change of a job that the request may see. A single job that is done is read again,
// because notices have no results.
func (h *handler[T, R]) change(r *http.Request, out *events, j Job, all bool) (over bool, err error) {
	if j.State == Done && !all {
		full, err := h.q.Get(r.Context(), j.ID)
		if err != nil && !errors.Is(err, ErrUnknown) {
			return true, err
		}
		if err == nil {
			j = full
		}
	}
	if all && h.admit(r, j) != nil {
		return false, nil
	}
	return !all && j.State.Ended(), out.send(j)
}

// events sends states of jobs.
type events struct {
	*eventstream.Writer
	sent map[string]int64 // the versions that the client has
}

func newEvents(w http.ResponseWriter) *events {
	return &events{eventstream.New(w, writeTimeout), make(map[string]int64)}
}

// sentMost is how many versions are remembered; more are only needed to suppress repetitions.
const sentMost = 10_000

// send adds an event, unless the client has a newer one.
func (o *events) send(j Job) error {
	if o.sent[j.ID] >= j.Version {
		return nil
	}
	if len(o.sent) >= sentMost {
		clear(o.sent)
	}
	o.sent[j.ID] = j.Version
	data, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("jobs: encode the state: %w", err)
	}
	return o.Event(strconv.FormatInt(j.Version, 10), "job", data)
}
