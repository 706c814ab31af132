package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// line is how an entry is printed: its id, and its data if it has nothing else, as what pipe writes; else all its fields.
func line(_ context.Context, m flow.Message[redisio.Fields]) (string, error) {
	if f := m.Value; len(f) == 1 && f[0].Name == "data" {
		return fmt.Sprintf("%s  %s", m.ID(), f[0].Value), nil
	}
	var b strings.Builder
	b.WriteString(m.ID() + " ")
	for _, f := range m.Value {
		fmt.Fprintf(&b, " %s=%q", f.Name, f.Value)
	}
	return b.String(), nil
}

// parseStart reads the -from flag.
func parseStart(s string) (redisio.Start, error) {
	switch s {
	case "now":
		return redisio.StartEnd(), nil
	case "0":
		return redisio.StartBeginning(), nil
	}
	if id, err := redisio.ParseID(s); err == nil {
		return redisio.StartID(id), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return redisio.StartTime(t), nil
	}
	return redisio.Start{}, fmt.Errorf("is neither now, 0, an id (as 1700000000000-0) nor a time (as 2026-01-31T15:04:05Z)")
}
