package main

import (
	"strings"
	"testing"
)

func TestSchedule(t *testing.T) {
	s := newStand(t)
	if out := s.want(t, "schedule list KEY", exitFine); !strings.Contains(out, `nothing is scheduled for "KEY"`) {
		t.Errorf("%s", out)
	}
	s.want(t, "produce KEY a -n 250 -delay 1h -type reminder", exitFine)
	if out := s.want(t, "schedule list KEY -limit 120", exitFine); strings.Count(out, "reminder") != 120 ||
		!strings.Contains(out, "first 120 of 250 only") {
		t.Errorf("%s", out)
	}
	out := s.want(t, "schedule list KEY -limit 1000 -json", exitFine)
	if strings.Count(out, `"type":"reminder"`) != 250 || strings.Contains(out, `"fields"`) {
		t.Errorf("%s", out)
	}
	if out := s.want(t, "schedule list KEY -limit 1 -fields", exitFine); !strings.Contains(out, "  data = a\n") {
		t.Errorf("%s", out)
	}
	_, id, _ := strings.Cut(out, `{"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	left := func(want int64) {
		t.Helper()
		if n := s.rdb.ZCard(t.Context(), "{"+s.key+"}:later").Val(); n != want {
			t.Errorf("%d are left, want %d", n, want)
		}
	}
	left(250)
	for _, line := range []string{"schedule cancel KEY", "schedule cancel KEY x -all", "schedule list KEY -limit 0",
		"schedule", "schedule what"} {
		s.want(t, line, exitUsage)
	}
	if out := s.want(t, "schedule cancel KEY "+id+" none -dry-run", exitFine); !strings.Contains(out, id+", due ") ||
		!strings.Contains(out, "would cancel 1 entry\n1 not found") {
		t.Errorf("%s", out)
	}
	if out := s.want(t, "schedule cancel KEY -all", exitRefused); !strings.Contains(
		out,
		"and 230 more\nCancel 250 entries",
	) {
		t.Errorf("%s", out)
	}
	left(250)
	out = s.want(t, "schedule cancel KEY "+id+" none -yes -json", exitFine)
	if out != `{"cancelled":1,"missing":1}`+"\n" {
		t.Errorf("%s", out)
	}
	left(249)
	s.stdin = "y\n"
	if out := s.want(t, "schedule cancel KEY -all", exitFine); !strings.HasSuffix(strings.TrimSpace(out), "[y/N]") &&
		!strings.Contains(out, "cancelled 249 entries") {
		t.Errorf("%s", out)
	}
	left(0)
	if out := s.want(t, "schedule cancel KEY "+id, exitFine); !strings.Contains(
		out,
		"cancelled 0 entries\n1 not found",
	) {
		t.Errorf("%s", out)
	}
}
