package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
)

// editedValue is a field of an edited dead letter. With Of alone the field stays as it is, byte for
// byte.
type editedValue struct {
	Of     *int    `json:"of,omitempty"`   // the field of the dead letter that it was
	Name   string  `json:"name,omitempty"` // of a new field
	Text   *string `json:"text,omitempty"` // the new value; or
	Base64 []byte  `json:"base64,omitempty"`
}

// change replays, edits or drops dead letters.
func (l *letters) change(ctx context.Context, q *request) outcome {
	f, n := dead.Filter{IDs: slices.Compact(slices.Sorted(slices.Values(q.IDs)))}, int64(0)
	var err error
	switch q.Do {
	case ActDrop:
		if n, err = dead.Drop(ctx, l.rdb, q.Key, f, dead.DropOptions{}); err == nil {
			o := outcome{OK: true, Text: count(int(n), "dead letter", "dead letters") + " dropped."}
			return o.gone(int64(len(f.IDs)) - n)
		}
		return failed(count(int(n), "dead letter", "dead letters")+" dropped.", err)
	case ActEdit:
		return l.edit(ctx, q)
	}
	r, err := dead.Replay(ctx, l.rdb, q.Key, f, dead.ReplayOptions{To: q.To})
	return replayed(&r, err)
}

// edit replays a dead letter with other values.
func (l *letters) edit(ctx context.Context, q *request) outcome {
	d, err := dead.Find(ctx, l.rdb, q.Key, q.IDs[0])
	if errors.Is(err, dead.ErrNoEntry) {
		return outcome{}.gone(1)
	}
	if err != nil {
		return failed("Nothing was changed.", err)
	}
	fields, err := edited(d.Original, q.Values)
	if err != nil {
		return outcome{Text: "Nothing was changed: " + err.Error()}
	}
	r, err := dead.ReplayAs(ctx, l.rdb, q.Key, d.ID, fields, dead.ReplayOptions{To: q.To})
	return replayed(&r, err)
}

// edited returns the fields of an edited dead letter.
func edited(old redisio.Fields, values []editedValue) (redisio.Fields, error) {
	if len(values) == 0 {
		return nil, errors.New("an entry needs at least one field")
	}
	fields := make(redisio.Fields, 0, len(values))
	for _, v := range values {
		f := redisio.Field{Name: v.Name}
		if v.Of != nil {
			if *v.Of < 0 || *v.Of >= len(old) {
				return nil, fmt.Errorf("it has no field %d", *v.Of)
			}
			f = old[*v.Of]
		}
		switch {
		case v.Text != nil && v.Base64 != nil:
			return nil, fmt.Errorf("the field %.40q has a text and base64: use one", f.Name)
		case v.Text != nil:
			f.Value = []byte(*v.Text)
		case v.Base64 != nil:
			f.Value = v.Base64
		case v.Of == nil:
			return nil, fmt.Errorf("the new field %.40q has no value", f.Name)
		}
		if v.Of == nil && strings.HasPrefix(f.Name, "dead:") {
			return nil, errors.New("names that begin with dead: are reserved")
		}
		fields = append(fields, f)
	}
	return fields, nil
}

// replayed puts the report of a replay into words.
func replayed(r *dead.ReplayReport, err error) outcome {
	text := count(int(r.Replayed), "dead letter", "dead letters") + " replayed"
	if targets := slices.Sorted(maps.Keys(r.To)); len(targets) == 1 && r.Replayed > 0 {
		text += " to " + cut(targets[0], maxWords)
	} else if len(targets) > 1 {
		text += fmt.Sprintf(" to %d streams", len(targets))
	}
	o := outcome{OK: true, Text: text + "."}.gone(r.Gone)
	if r.Empty > 0 {
		o.OK = false
		o.Lines = append(o.Lines, count(int(r.Empty), "has", "have")+
			" no fields, because the entry was trimmed before it died: drop it.")
	}
	if wrong := (*redisio.ConfigError)(nil); errors.As(err, &wrong) && r.NoOrigin > 0 {
		o.OK = false
		o.Lines = append(o.Lines, count(int(r.NoOrigin), "does", "do")+
			" not name a stream: open it, and name the stream to write to.")
	} else if err != nil {
		f := failed(o.Text, err)
		f.Lines = append(o.Lines, f.Lines...)
		return f
	}
	return o
}

// gone adds dead letters that were not there.
func (o outcome) gone(n int64) outcome {
	if n > 0 {
		o.OK = false
		o.Lines = append(o.Lines, count(int(n), "was gone", "were gone")+": replayed or dropped meanwhile.")
		if o.Text == "" {
			o.Text = "Nothing was changed."
		}
	}
	return o
}

// failed is the outcome of an action that Redis did not complete.
func failed(text string, err error) outcome {
	return outcome{Text: text, Lines: []string{
		"Then Redis failed: " + short(err.Error()),
		"What is still in the list was perhaps not done. Repeat it when Redis answers: nothing is written twice.",
	}}
}
