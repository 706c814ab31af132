package jobstate

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// State is the state of a job.
type State string

const (
	// Scheduled means that the job waits for its time, and then until a worker begins it.
	Scheduled State = "scheduled"
	// Queued means that the job waits for a worker.
	Queued State = "queued"
	// Running means that a worker has begun an attempt. It also means that the worker died, until
	// another has taken the job over.
	Running State = "running"
	// Retrying means that the last attempt failed, and the next one waits for its time.
	Retrying State = "retrying"
	// Done means that the job succeeded.
	Done State = "done"
	// Failed means that the job was rejected, or that its last attempt failed.
	Failed State = "failed"
	// Cancelled means that the job was cancelled before it ended.
	Cancelled State = "cancelled"
)

// Ended reports whether the state is final.
func (s State) Ended() bool { return s == Done || s == Failed || s == Cancelled }

// Job is the state of a job with everything known of it. It has a JSON form.
type Job struct {
	ID       string `json:"id"`
	State    State  `json:"state"`
	Priority string `json:"priority"`
	// Key is the unique key of the job, and Owner the owner it was submitted for; "" without.
	Key   string `json:"key,omitempty"`
	Owner string `json:"-"`
	// Version grows with each change of the state, also if Redis has lost some of them in a failover.
	Version int64 `json:"version"`
	// Attempt is the number of the current or last attempt, counted from 1. An attempt begins when a
	// handler receives the job, so that one that a process did not survive counts too.
	Attempt int `json:"attempt,omitempty"`

	Submitted time.Time `json:"submitted"`
	Due       time.Time `json:"due,omitzero"`     // of a scheduled job
	Started   time.Time `json:"started,omitzero"` // the last attempt
	Ended     time.Time `json:"ended,omitzero"`

	Progress Progress `json:"progress,omitzero"`
	// Failure is the last failure of a handler. It stays while the job is tried again, and is nil
	// when the job is done.
	Failure *Failure `json:"failure,omitempty"`
	// Result is the result of a job that is done, as JSON. Notices and lists have none.
	Result json.RawMessage `json:"result,omitempty"`
}

// Progress is how far the current attempt of a job is.
type Progress struct {
	// Leaves is how many messages the worker's graph has made of the job, and Settled how many of
	// them are done.
	Leaves  int `json:"leaves,omitempty"`
	Settled int `json:"settled,omitempty"`
	// Stages are the names of the stages that work on the job.
	Stages []string `json:"stages,omitempty"`
	// Done, Total and Note are what the handler reported last.
	Done  int64  `json:"done,omitempty"`
	Total int64  `json:"total,omitempty"`
	Note  string `json:"note,omitempty"`
}

// Failure is a failed try of a job.
type Failure struct {
	Error string `json:"error"`
	Stage string `json:"stage,omitempty"` // that failed
	Tries int    `json:"tries,omitempty"` // of the stage, in this attempt
	// Retry is when the stage tries again, or the next attempt begins. Zero if nothing waits.
	Retry time.Time `json:"retry,omitzero"`
}

// Fraction returns how much of the job is done, from 0 to 1: what the handler reported, or else the
// share of the leaves that are settled.
func (j *Job) Fraction() float64 {
	p := j.Progress
	switch {
	case j.State == Done:
		return 1
	case p.Total > 0:
		return min(max(float64(p.Done)/float64(p.Total), 0), 1)
	case p.Leaves > 0:
		return float64(p.Settled) / float64(p.Leaves)
	}
	return 0
}

// fieldNames are the fields that of reads, apart from the result.
var fieldNames = []string{"id", "state", "priority", "key", "owner", "version", "attempt", "at", "due", "started",
	"ended", "leaves", "settled", "done", "total", "note", "stages", "error", "stage", "tries", "retry"}

// of reads the state of a job from the fields of its hash or of a notice. ok is false without an ID.
func of(fields map[string]string) (j Job, ok bool) {
	num := func(name string) int64 {
		n, _ := strconv.ParseInt(fields[name], 10, 64) // 0 if it is missing
		return n
	}
	at := func(name string) (t time.Time) {
		if ms := num(name); ms > 0 {
			t = time.UnixMilli(ms)
		}
		return t
	}
	j = Job{
		ID: fields["id"], State: State(fields["state"]), Priority: fields["priority"], Key: fields["key"],
		Owner: fields["owner"], Version: num("version"), Attempt: int(num("attempt")),
		Submitted: at("at"), Due: at("due"), Started: at("started"), Ended: at("ended"),
		Progress: Progress{Leaves: int(num("leaves")), Settled: int(num("settled")), Done: num("done"),
			Total: num("total"), Note: fields["note"]},
	}
	if stages := fields["stages"]; stages != "" {
		j.Progress.Stages = strings.Split(stages, "\n")
	}
	if text := fields["error"]; text != "" {
		j.Failure = &Failure{Error: text, Stage: fields["stage"], Tries: int(num("tries")), Retry: at("retry")}
	}
	if result := fields["result"]; result != "" {
		j.Result = json.RawMessage(result)
	}
	return j, j.ID != ""
}

// OfNotice reads the state of a job from a notice.
func OfNotice(e *redisio.Entry) (Job, bool) {
	fields := make(map[string]string, len(e.Fields))
	for i := range e.Fields {
		fields[e.Fields[i].Name] = string(e.Fields[i].Value)
	}
	return of(fields)
}

// errorMost is the most bytes of an error, a note or a name that is kept.
const errorMost = 2000

// cut bounds a text from outside.
func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), errorMost)], "") }

// pairs returns the fields of a Progress and a Failure; "" deletes a field.
func pairs(p *Progress, f *Failure) []any {
	var all []any
	number := func(name string, n int64) {
		all = append(all, name, text(n))
	}
	if p != nil {
		number("leaves", int64(p.Leaves))
		number("settled", int64(p.Settled))
		number("done", p.Done)
		number("total", p.Total)
		all = append(all, "note", cut(p.Note), "stages", cut(strings.Join(p.Stages, "\n")))
	}
	if f != nil {
		all = append(all, "error", cut(f.Error), "stage", cut(f.Stage))
		number("tries", int64(f.Tries))
		number("retry", max(f.Retry.UnixMilli(), 0)) // negative for the zero time
	}
	return all
}

// text returns a number as it is stored; "" for 0.
func text(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
