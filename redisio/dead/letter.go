package dead

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/scan"
)

// The fields that a dead letter has after those of its entry. Names with this prefix are reserved:
// formats skip them.
const (
	deadPrefix   = "dead:"
	deadError    = "dead:error"
	deadCause    = "dead:cause" // once per wrapped error, from the outermost to the root
	deadStack    = "dead:stack"
	deadGraph    = "dead:graph"
	deadStage    = "dead:stage"
	deadAttempts = "dead:attempts"
	deadID       = "dead:id"
	deadFrom     = "dead:key"
	deadGroup    = "dead:group"
	deadTime     = "dead:time"
	deadReplayed = "dead:replayed"
)

// A dead letter is bounded, because there may be many.
const (
	maxErrorText = 4 * 1024 // bytes
	maxCauseText = 1024     // bytes of one
	maxCauses    = 16
	maxUnwraps   = 64 // errors visited: trees of joined errors may be wide
	maxStack     = 4 * 1024
)

// Reason describes why, where and when an entry was dead-lettered. An unknown field is zero, as in
// dead letters of other programs.
type Reason struct {
	Error    string    // the text of the error
	Causes   []string  // the errors it wraps, from the outermost to the root: text, and type if it is informative
	Stack    string    // of a panic, its upper part
	Graph    string    // the graph that gave up
	Stage    string    // of the graph
	Attempts int64     // deliveries, by the server's count
	ID       string    // of the entry in the stream it came from
	Key      string    // that stream
	Group    string    // that gave up: other groups may have settled the entry
	Time     time.Time // when, by the clock of the process that gave up
	Replayed time.Time // time of an earlier replay, see ReplayOptions.KeepReason
}

// NewReason returns a Reason with the texts of an error and of the errors it wraps. The caller adds
// the rest.
func NewReason(err error) Reason {
	if err == nil {
		return Reason{}
	}
	return Reason{Error: bounded(err.Error(), maxErrorText), Causes: causes(err)}
}

// causes returns the texts of the errors that err wraps, the first branch of joined errors first.
func causes(err error) (texts []string) {
	seen := 0
	var walk func(error, string)
	walk = func(err error, above string) {
		var inner []error
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			inner = []error{e.Unwrap()}
		case interface{ Unwrap() []error }:
			inner = e.Unwrap()
		}
		for _, e := range inner {
			if seen++; e == nil || seen > maxUnwraps || len(texts) == maxCauses {
				continue
			}
			text := e.Error()
			name := fmt.Sprintf("%T", e)
			if strings.HasPrefix(name, "*fmt.") || strings.HasPrefix(name, "*errors.") {
				name = "" // the type of a wrapper, not of the cause
			}
			switch {
			case name != "":
				texts = append(texts, bounded(name+": "+text, maxCauseText))
			case text != above: // otherwise the error above has the same text
				texts = append(texts, bounded(text, maxCauseText))
			}
			walk(e, text)
		}
	}
	walk(err, err.Error())
	return texts
}

// bounded returns at most n bytes of text, as valid UTF-8.
func bounded(text string, n int) string {
	if len(text) > n {
		text = text[:n] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}

// Fields returns the fields that a dead letter has after those of its entry, for
// [reader.DeadLetter].
func (r Reason) Fields() redisio.Fields {
	f := make(redisio.Fields, 0, 10+len(r.Causes))
	add := func(name, value string) {
		if value != "" {
			f = append(f, redisio.Field{Name: name, Value: []byte(value)})
		}
	}
	add(deadError, bounded(r.Error, maxErrorText))
	for _, c := range r.Causes[:min(len(r.Causes), maxCauses)] {
		add(deadCause, bounded(c, maxCauseText))
	}
	add(deadStack, bounded(r.Stack, maxStack))
	add(deadGraph, r.Graph)
	add(deadStage, r.Stage)
	if r.Attempts > 0 {
		add(deadAttempts, strconv.FormatInt(r.Attempts, 10))
	}
	add(deadID, r.ID)
	add(deadFrom, r.Key)
	add(deadGroup, r.Group)
	add(deadTime, stamp(r.Time))
	return f
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// DeadEntry is an entry of a dead-letter stream. Its slices are shared: see [redisio.Batch].
type Entry struct {
	redisio.Entry // as stored; ID is the dead letter's own
	// the fields that the entry had in its own stream, in order; nil if it was trimmed before it
	// died
	Original redisio.Fields
	Reason   Reason // zero if another program wrote it: then all fields are original
}

// newEntry separates the original fields from the reason.
//
// Idea: the reason comes last, because it is appended to all other fields. An entry that died in a
// stream of dead letters has two reasons, and only the last belongs to this letter. An entry that
// was replayed with its reason and died again also has two, and both belong to it. There the later
// reason begins with dead:replayed.
func newEntry(e redisio.Entry) Entry {
	d := Entry{Entry: e}
	end := len(e.Fields)
	for {
		from := reasonFrom(e.Fields[:end])
		reason := e.Fields[from:end]
		if end == len(e.Fields) {
			d.Reason = parseReason(reason)
		}
		end = from
		if _, replayed := reason.Get(deadReplayed); !replayed {
			break
		}
	}
	d.Original = e.Fields[:end:end]
	return d
}

// reasonFrom returns where the last reason begins. A reason has names with our prefix, each once,
// except that several causes may follow each other.
func reasonFrom(f redisio.Fields) int {
	from := len(f)
	seen := make(map[string]struct{}, 12)
	for from > 0 {
		name := f[from-1].Name
		if !strings.HasPrefix(name, deadPrefix) {
			break
		}
		if _, twice := seen[name]; twice && (name != deadCause || f[from].Name != deadCause) {
			break
		}
		seen[name] = struct{}{}
		from--
		if name == deadReplayed {
			break
		}
	}
	return from
}

func parseReason(f redisio.Fields) (r Reason) {
	for i := range f {
		v := scan.String(f[i].Value)
		switch f[i].Name {
		case deadError:
			r.Error = v
		case deadCause:
			r.Causes = append(r.Causes, v)
		case deadStack:
			r.Stack = v
		case deadGraph:
			r.Graph = v
		case deadStage:
			r.Stage = v
		case deadAttempts:
			r.Attempts, _ = strconv.ParseInt(v, 10, 64) // another program may have written it
		case deadID:
			r.ID = v
		case deadFrom:
			r.Key = v
		case deadGroup:
			r.Group = v
		case deadTime:
			r.Time, _ = time.Parse(time.RFC3339Nano, v)
		case deadReplayed:
			r.Replayed, _ = time.Parse(time.RFC3339Nano, v)
		}
	}
	return r
}
