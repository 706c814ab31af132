package dead

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Newest is All in reverse, also over several pages, and with each bound of a filter.
func TestNewest(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	var ids []string
	for i := range 2*deadPage + 10 {
		stage := "price"
		if i%3 == 0 {
			stage = "check"
		}
		ids = append(ids, bury(t, rdb, key, []string{"n", fmt.Sprint(i)}, Reason{Error: "x", Stage: stage}))
	}
	middle, err := redisio.ParseID(ids[50])
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Filter{
		"all": {}, "before": {Before: middle}, "from": {From: middle}, "stage": {Stage: "check"},
		"none": {Stage: "other"}, "empty": {From: redisio.ID{Ms: 1}, Before: redisio.ID{Ms: 2}},
	} {
		var want, got []string
		for _, d := range letters(t, rdb, key, f) {
			want = append(want, d.ID)
		}
		slices.Reverse(want)
		for d, err := range Newest(rig.Ctx(t), rdb, key, f) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, d.ID)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	for d, err := range Newest(rig.Ctx(t), rdb, key, Filter{Limit: 1}) {
		if err != nil || d.ID != ids[len(ids)-1] {
			t.Errorf("the newest is %s, %v", d.ID, err)
		}
	}
	for _, err := range Newest(rig.Ctx(t), rdb, key, Filter{Limit: -1}) {
		if err == nil {
			t.Error("it takes a negative limit")
		}
	}
}

// Fields of any bytes and number replace those of a dead letter, and each letter is replayed once.
func TestReplayAs(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	many := make(redisio.Fields, 5000)
	for i := range many {
		many[i] = redisio.Field{Name: fmt.Sprint(i), Value: []byte("v")}
	}
	for name, fields := range map[string]redisio.Fields{
		"binary":         {{Name: "da\x00ta", Value: []byte("\xff\x00\r\n")}, {Name: "", Value: nil}},
		"twice one name": {{Name: "a", Value: []byte("1")}, {Name: "a", Value: []byte("2")}},
		"large":          {{Name: "data", Value: []byte(strings.Repeat("x", 1<<20))}},
		"many":           many,
	} {
		t.Run(name, func(t *testing.T) {
			to := key + name
			id := bury(t, rdb, key, []string{"data", "old"}, Reason{Error: "x", Key: to})
			for want := range 2 {
				r, err := ReplayAs(rig.Ctx(t), rdb, key, id, fields, ReplayOptions{})
				if err != nil || r.Replayed != int64(1-want) || r.Gone != int64(want) {
					t.Errorf("call %d: %+v, %v", want+1, r, err)
				}
			}
			if d := cmp.Diff([][]string{flat(fields)}, entries(t, rdb, to)); d != "" {
				t.Errorf("(-want +got):\n%.300s", d)
			}
		})
	}
	if n := rdb.XLen(rig.Ctx(t), key).Val(); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	one := redisio.Fields{{Name: "a", Value: []byte("1")}}
	var wrong *redisio.ConfigError
	for name, call := range map[string]func(id string) error{
		"no fields": func(id string) error {
			_, err := ReplayAs(rig.Ctx(t), rdb, key, id, nil, ReplayOptions{To: "x"})
			return err
		},
		"no origin": func(id string) error {
			_, err := ReplayAs(rig.Ctx(t), rdb, key, id, one, ReplayOptions{})
			return err
		},
		"itself": func(id string) error {
			_, err := ReplayAs(rig.Ctx(t), rdb, key, id, one, ReplayOptions{To: key})
			return err
		},
	} {
		if err := call(bury(t, rdb, key, []string{"a", "b"}, Reason{})); !errors.As(err, &wrong) || wrong.Fix == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
