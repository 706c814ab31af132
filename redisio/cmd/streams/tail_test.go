package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
)

func TestTail(t *testing.T) {
	s := newStand(t)
	for i := range 4 {
		s.add(t, s.key, fmt.Sprintf("1767323045007-%d", i), "data", fmt.Sprint(i))
	}
	tail := func(line string) []string {
		t.Helper()
		var shown []string
		for l := range strings.Lines(s.want(t, line, exitFine)) {
			if v, ok := strings.CutPrefix(l, "  data = "); ok {
				shown = append(shown, strings.TrimSpace(v))
			}
		}
		return shown
	}
	for line, want := range map[string][]string{
		"tail KEY -from start -count 2":           {"0", "1"},
		"tail KEY -from 1767323045007-1 -count 2": {"2", "3"},
	} {
		if diff := cmp.Diff(want, tail(line)); diff != "" {
			t.Errorf("%s: %s", line, diff)
		}
	}
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "1767323045007-0").Err(); err != nil {
		t.Fatal(err)
	}
	before := s.rdb.XInfoGroups(t.Context(), s.key).Val()
	if diff := cmp.Diff([]string{"1", "2", "3"}, tail("tail KEY -group g -peek -count 3")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, s.rdb.XInfoGroups(t.Context(), s.key).Val()); diff != "" {
		t.Errorf("-peek changed the group: %s", diff)
	}
	if diff := cmp.Diff([]string{"1"}, tail("tail KEY -group g -count 1")); diff != "" {
		t.Error(diff)
	}
	if g := s.rdb.XInfoGroups(t.Context(), s.key).Val()[0]; g.Pending != 0 || g.LastDeliveredID != "1767323045007-1" ||
		g.Consumers != 0 {
		t.Errorf("%+v", g)
	}
	if diff := cmp.Diff([]string{"0"}, tail("tail KEY -group new -create -count 1")); diff != "" {
		t.Error(diff)
	}
	late := tail("tail KEY -group newer -create -from 1767323045007-2 -count 1")
	if diff := cmp.Diff([]string{"3"}, late); diff != "" {
		t.Error(diff)
	}
	s.want(t, "tail KEY -group nobody", exitFailed)
	s.want(t, "tail KEY -group nobody -peek", exitFailed)
	for _, line := range []string{"tail KEY -n -1", "tail KEY -count -1", "tail KEY -n 1 -from start", "tail KEY -peek",
		"tail KEY -from start -group g", "tail KEY -create", "tail KEY -lease 1m", "tail KEY -group g -lease 1ms",
		"tail KEY -from 30"} {
		s.want(t, line, exitUsage)
	}
}

// A group with other members is joined after a question only, because they receive less then.
func TestTailJoinsMembers(t *testing.T) {
	s := newStand(t)
	s.add(t, s.key, "1-1", "data", "a")
	s.add(t, s.key, "1-2", "data", "b")
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "w1",
		Streams: []string{s.key, ">"}, Count: 1}).Err(); err != nil {
		t.Fatal(err)
	}
	if out := s.want(t, "tail KEY -group g -count 1", exitRefused); !strings.Contains(out, "has 1 member, which") {
		t.Errorf("%s", out)
	}
	if out := s.want(t, "tail KEY -group g -count 1 -yes -json", exitFine); !strings.Contains(out,
		`{"id":"1-2","deliveries":1,"fields":[{"name":"data","value":"b"}]}`) {
		t.Errorf("%s", out)
	}
	if p := s.rdb.XPending(t.Context(), s.key, "g").Val(); p.Count != 1 || p.Consumers["w1"] != 1 {
		t.Errorf("%+v", p)
	}
}

// An entry that could not be printed is not acked.
func TestTailAcksWhatItPrinted(t *testing.T) {
	s := newStand(t)
	s.add(t, s.key, "1-1", "data", "a")
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	env := func(string) string { return s.url }
	if code := run(t.Context(), []string{"tail", s.key, "-group", "g"},
		stdio{strings.NewReader(""), broken{}, &errs, env, cet}); code != exitFailed {
		t.Errorf("exit code %d\n%s", code, &errs)
	}
	if p := s.rdb.XPending(t.Context(), s.key, "g").Val(); p.Count != 1 || p.Consumers[redisio.ReleasedConsumer] != 1 {
		t.Errorf("%+v", p)
	}
}

// broken is a pipe without a reader.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
