package main

import (
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

const whenHelp = "a time (2026-01-31T15:04:05Z, 2026-01-31), how long ago (90m, 48h) or an entry's ID"

// moment reads a time in one of the ways that people write it.
func moment(text string, now time.Time) (time.Time, bool) {
	if ago, err := time.ParseDuration(text); err == nil && text != "0" {
		return now.Add(-ago), true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// timeFlag is a flag's value that is a time or an ID.
type timeFlag struct{ time.Time }

func (f *timeFlag) String() string { return "" }

func (f *timeFlag) Set(text string) error {
	if t, ok := moment(text, time.Now()); ok {
		f.Time = t
		return nil
	}
	id, err := redisio.ParseID(text)
	if err != nil {
		return usagef("write %s", whenHelp)
	}
	f.Time = id.Time()
	return nil
}

// position reads where to set a group.
func position(text string, now time.Time) (redisio.Start, error) {
	switch text {
	case "start", "beginning", "0":
		return redisio.StartBeginning(), nil
	case "end", "$":
		return redisio.StartEnd(), nil
	}
	if id, err := redisio.ParseID(text); err == nil {
		return redisio.StartID(id), nil
	}
	if t, ok := moment(text, now); ok {
		return redisio.StartTime(t), nil
	}
	return redisio.Start{}, usagef("-to %q: write start, end, %s (the last one delivered)", text, whenHelp)
}
