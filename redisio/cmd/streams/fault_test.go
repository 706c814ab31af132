package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
)

// A command uses an ID to its last digit.
func TestFault_D14_IDsToTheLastDigit(t *testing.T) {
	s := newStand(t)
	fill := func(ms int) {
		s.rdb.Del(t.Context(), s.key)
		for i := range 10 {
			s.add(t, s.key, fmt.Sprintf("%d-%d", ms, i+1), "n", "x")
		}
	}
	fill(0)
	if out := s.want(t, "trim KEY -before 0-4 -exact -yes", exitFine); out != "dropped 3 entries\n" {
		t.Errorf("trim: %q", out)
	}
	fill(5000)
	if out := s.want(t, "dead drop KEY -since 5000-5 -before 5000-7 -yes",
		exitFine); out != "dropped 2 dead letters\n" {
		t.Errorf("dead drop: %q", out)
	}
	fill(5000)
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	s.want(t, "reset KEY g -to 5000-4 -yes", exitFine)
	if at := s.rdb.XInfoGroups(t.Context(), s.key).Val()[0].LastDeliveredID; at != "5000-4" {
		t.Errorf("reset to %s", at)
	}
}

// An ambiguous point is refused, and so is one at which no entry can exist.
func TestFault_D14_RefusedPoints(t *testing.T) {
	s := newStand(t)
	s.add(t, s.key, "0-1", "n", "x")
	s.add(t, s.key, "0-2", "n", "x")
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "0-2").Err(); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"dead list KEY -since 30", "dead drop KEY -since 1732360000000 -yes", "dead drop KEY -id 5 -yes",
		"dead show KEY 5",
		"dead drop KEY -since 0-0 -yes", "dead drop KEY -before 0-0 -yes -stage x", "dead list KEY -since 2026-01",
		"dead list KEY -since 05-1",
		"dead list KEY -since -5m", "trim KEY -before 0 -yes", "trim KEY -before 0-0 -yes",
		"trim KEY -before 1969-12-31 -yes",
		"trim KEY -before -1h -yes", "trim KEY -before 4 -yes", "reset KEY g -to 30 -yes",
		"reset KEY g -to 1960-01-01 -yes",
	} {
		s.want(t, line, exitUsage)
	}
	if n := s.rdb.XLen(t.Context(), s.key).Val(); n != 2 {
		t.Errorf("%d entries are left", n)
	}
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	if out := s.want(t, "reset KEY g -yes -to "+future, exitFailed); !strings.Contains(out, "future") {
		t.Errorf("%q", out)
	}
}

func TestFault_D14_TimesAreLocalAndUTC(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-01-02":                "2026-01-01T23:00:00Z",
		"2026-01-02T03:04":          "2026-01-02T02:04:00Z",
		"2026-01-02T03:04:05":       "2026-01-02T02:04:05Z",
		"2026-01-02T03:04:05Z":      "2026-01-02T03:04:05Z",
		"2026-01-02T03:04:05-02:00": "2026-01-02T05:04:05Z",
		"90m":                       "2026-01-02T10:30:00Z",
	} {
		p, err := pointOf(text, now, cet)
		if got := p.at.UTC().Format(time.RFC3339); err != nil || got != want || p.id != redisio.IDAt(p.at) {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for zone, want := range map[*time.Location]string{
		cet:                             "2026-01-02T04:04:05+01:00 (03:04:05Z)",
		time.UTC:                        "2026-01-02T03:04:05Z",
		time.FixedZone("west", -4*3600): "2026-01-01T23:04:05-04:00 (2026-01-02T03:04:05Z)",
	} {
		if got := (&printer{zone: zone}).time(at); got != want {
			t.Errorf("%s: want %s", got, want)
		}
	}
}

// A command changes only what it has shown before the question, whatever was added meanwhile.
func TestFault_D14_PlansShowWhatIsTouched(t *testing.T) {
	s := newStand(t)
	s.graveyard(t)
	for i := range 10 {
		s.add(t, s.key, fmt.Sprintf("1767323000000-%d", i), "n", "x")
	}
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "1767323000000-6").Err(); err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{
		"plan-dead-drop":   "dead drop KEY:dead -graph billing",
		"plan-trim":        "trim KEY",
		"plan-trim-exact":  "trim KEY -exact -before 1767323000000-3",
		"plan-trim-groups": "trim KEY:dead",
		"plan-reset":       "reset KEY g -to 1767323000000-2",
		"plan-reset-end":   "reset KEY g -to end",
		"plan-reap":        "reap KEY g -dry-run",
	} {
		_, out, errs := s.do(t, line)
		golden(t, name, out+errs+"\n")
	}
	s.stdin = "y\n"
	add := func(key string) func() { return func() { s.add(t, key, "*", "data", "late", "dead:graph", "billing") } }
	s.asked = add(s.key + ":dead")
	if out := s.want(t, "dead drop KEY:dead -all", exitFine); !strings.Contains(out, "dropped 4 dead letters\n") {
		t.Errorf("%q", out)
	}
	if n := s.rdb.XLen(t.Context(), s.key+":dead").Val(); n != 1 {
		t.Errorf("%d dead letters are left", n)
	}
	s.asked = add(s.key)
	if out := s.want(t, "reset KEY g -to end", exitFine); !strings.Contains(out, "3 entries are skipped") {
		t.Errorf("%q", out)
	}
	if g, err := admin.FindGroup(t.Context(), s.rdb, s.key, "g"); err != nil || g.Lag != 1 {
		t.Errorf("%+v %v", g, err)
	}
	s.asked = func() {
		if err := s.rdb.XGroupSetID(t.Context(), s.key, "g", "$").Err(); err != nil {
			t.Error(err)
		}
	}
	if out := s.want(t, "trim KEY -exact", exitFine); !strings.Contains(out, "dropped 10 entries\n") {
		t.Errorf("%q", out)
	}
}

// Keys and names that are not text can be distinguished in JSON, and inspected.
func TestFault_D14_BinaryKeys(t *testing.T) {
	s := newStand(t)
	key := s.key + "\xff\xfe"
	s.add(t, key, "1-1", "na\xffme", "va\xfflue")
	if err := s.rdb.XGroupCreate(t.Context(), key, "g\xff", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g\xff", Consumer: "c\xff",
		Streams: []string{key, ">"}}).Err(); err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	for line, want := range map[string]string{
		"ls KEY* -json":                "keyBase64 " + b64([]byte(key)),
		"peek " + key + " -json":       "nameBase64 " + b64([]byte("na\xffme")),
		"groups " + key + " -json":     "groupBase64 " + b64([]byte("g\xff")),
		"lag " + key + " g\xff -json":  "keyBase64 " + b64([]byte(key)),
		"pending " + key + " g\xff":    `c\xff`,
		"trim " + key + " -dry-run":    `group g\xff has not settled`,
		"reap " + key + " g\xff":       "deleted 0 consumers",
		"ls KEY*":                      `KEY\xff\xfe`,
		"dead list " + key:             "1-1",
		"peek " + key + ":none":        `there is no stream "KEY\xff\xfe:none"`,
		"peek " + key:                  `  na\xffme = va\xfflue`,
		"trim " + key + ":none -yes":   "no such key",
		"groups " + key + ":none":      "no such key",
		"lag " + key + " none":         `"KEY\xff\xfe" has no group "none"`,
		"reset " + key + " none -to 0": `"KEY\xff\xfe"`,
	} {
		_, out, errs := s.do(t, line)
		text := out + errs
		if name, value, ok := strings.Cut(want, " "); ok && strings.HasSuffix(name, "Base64") {
			var all any
			if err := json.Unmarshal([]byte(out), &all); err != nil {
				t.Errorf("%s: %v in %s", line, err, out)
			}
			want = fmt.Sprintf("%q:%q", name, value)
		}
		if !strings.Contains(text, want) {
			t.Errorf("%s: no %s in\n%s", line, want, text)
		}
	}
}

func TestFault_O3_Plurals(t *testing.T) {
	s := newStand(t)
	s.add(t, s.key, "1-1", "n", "x")
	s.add(t, s.key, "1-2", "n", "x")
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "1-1").Err(); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"reset KEY g -to end -dry-run":                    "1 entry would be skipped",
		"reset KEY g -to start -dry-run":                  "1 entry would be delivered again",
		"trim KEY -exact -dry-run":                        "would drop 1 entry of 2",
		"dead drop KEY -id 1-1 -dry-run":                  "would drop 1 dead letter\n",
		"dead replay KEY -id 1-1 -to x -create -dry-run":  "would replay 1 dead letter to",
		"dead replay KEY -limit 2 -to x -create -dry-run": "would replay 2 dead letters to",
		"dead list KEY -id 9-9":                           "none such",
		"reap KEY g":                                      "deleted 0 consumers",
	} {
		if out := s.want(t, line, exitFine); !strings.Contains(out, want) {
			t.Errorf("%s: %q, want %q", line, out, want)
		}
	}
	for _, step := range [][2]string{
		{"reset KEY g -to end -yes", "1 entry is skipped"},
		{"trim KEY -exact -yes -before 1-2", "dropped 1 entry\n"},
		{"dead drop KEY -id 1-2 -yes", "dropped 1 dead letter\n"},
	} {
		if out := s.want(t, step[0], exitFine); !strings.Contains(out, step[1]) {
			t.Errorf("%s: %q, want %q", step[0], out, step[1])
		}
	}
	if diff := cmp.Diff([]string{"1 x", "2 xs", "≥1 xs"}, []string{plural(1, "x", "xs"), plural(2, "x", "xs"),
		pluralOf(1, true, "x", "xs")}); diff != "" {
		t.Error(diff)
	}
}
