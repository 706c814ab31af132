package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

const whenHelp = "a time (2026-01-31T15:04:05Z; local without a zone), how long ago (90m, 48h) or an entry's whole ID"

// point is a place in a stream: an entry's ID, or a time.
type point struct {
	id redisio.ID // of the entry, or the smallest ID of that time
	at time.Time  // zero if it was given as an ID
}

// pointOf parses a time, an age or an ID. A time without a zone is in zone. A bare number is
// refused, because it could be an ID, seconds or milliseconds.
func pointOf(text string, now time.Time, zone *time.Location) (point, error) {
	if text != "" && strings.Trim(text, "0123456789") == "" {
		return point{}, usagef(
			"%s is a bare number: write an ID (%s-0) or an age with a unit (%ss)",
			text,
			text,
			text,
		)
	}
	if ago, err := time.ParseDuration(text); err == nil {
		if ago < 0 {
			return point{}, usagef("%s is in the future: write the age without a sign", text)
		}
		return pointAt(now.Add(-ago), text)
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return pointAt(t, text)
		}
	}
	id, err := parseID(text)
	return point{id: id}, err
}

func pointAt(t time.Time, text string) (point, error) {
	if t.UnixMilli() <= 0 {
		return point{}, usagef("%s is before 1970: no entry is that old", text)
	}
	return point{redisio.IDAt(t), t}, nil
}

// parseID parses a complete ID.
func parseID(text string) (redisio.ID, error) {
	id, err := redisio.ParseID(text)
	if err != nil || id.String() != text {
		return redisio.ID{}, usagef("%q is not an entry ID: write all of it, such as 1732360000000-0", text)
	}
	return id, nil
}

// pointFlag is a flag with a point as its value. It is parsed when the command runs, because only
// then the zone is known.
type pointFlag string

func (f *pointFlag) String() string { return string(*f) }

func (f *pointFlag) Set(text string) error {
	*f = pointFlag(text)
	if _, err := pointOf(text, time.Now(), time.UTC); err != nil {
		return fmt.Errorf("%w; write %s", err, whenHelp)
	}
	return nil
}

// point parses the flag; it returns the zero point if it is not set.
func (f *pointFlag) point(c *call) (point, error) {
	if *f == "" {
		return point{}, nil
	}
	return pointOf(string(*f), c.now, c.out.zone)
}

// end parses a flag that ends a range: entries must exist before it.
func (f *pointFlag) end(c *call) (redisio.ID, error) {
	p, err := f.point(c)
	if err == nil && *f != "" && p.id.IsZero() {
		err = usagef("-before %s: no entry is before it", string(*f))
	}
	return p.id, err
}

// position parses the new position of a group.
func position(text string, now time.Time, zone *time.Location) (redisio.Start, error) {
	switch text {
	case "start", "beginning", "0":
		return redisio.StartBeginning(), nil
	case "end", "$":
		return redisio.StartEnd(), nil
	}
	p, err := pointOf(text, now, zone)
	switch {
	case err != nil:
		return redisio.Start{}, usagef("-to %q: %v; write start, end, %s (the last one delivered)", text, err, whenHelp)
	case p.at.IsZero():
		return redisio.StartID(p.id), nil
	}
	return redisio.StartTime(p.at), nil
}

// when formats the time of an ID, local and in UTC.
func (p *printer) when(id redisio.ID) string { return p.time(id.Time()) }

// time formats a time, local and in UTC.
func (p *printer) time(t time.Time) string {
	local, utc := t.In(p.zone), t.UTC()
	text := local.Format(time.RFC3339)
	if _, offset := local.Zone(); offset == 0 {
		return utc.Format(time.RFC3339)
	}
	if local.Format(time.DateOnly) != utc.Format(time.DateOnly) {
		return text + " (" + utc.Format(time.RFC3339) + ")"
	}
	return text + " (" + utc.Format("15:04:05Z") + ")"
}

// id formats an ID and its time.
func (p *printer) id(id redisio.ID) string {
	if id.IsZero() {
		return "0-0, the beginning"
	}
	return id.String() + ", " + p.when(id)
}
