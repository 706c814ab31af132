package transcript_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/transcript"
)

func TestPost(t *testing.T) {
	eachServer(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb, transcript.Config{})
		spec := transcript.Spec{Kind: transcript.Log, ContentType: "t", Values: [][]byte{[]byte("first")}}
		if info, created, err := s.Create(t.Context(), "a", spec); err != nil || !created || info.Last.Seq != 1 {
			t.Fatalf("%+v, %v, %v", info, created, err)
		}
		if _, err := s.Claim(t.Context(), "a", ""); !errors.Is(err, transcript.ErrForeign) {
			t.Errorf("a claim of a log: %v", err)
		}
		one := [][]byte{[]byte("x")}
		for i, step := range []struct {
			post transcript.Post
			want transcript.Verdict
		}{
			{transcript.Post{Values: one, ContentType: "other"}, transcript.WrongType},
			{transcript.Post{Values: one, ContentType: "t", Seq: "09"}, transcript.Accepted},
			{transcript.Post{Values: one, ContentType: "t", Seq: "09"}, transcript.SeqBehind},
			{transcript.Post{Values: one, ContentType: "t", Seq: "1"}, transcript.Accepted},
			{transcript.Post{Values: one, ContentType: "t", Producer: "p", Num: 1}, transcript.Gap},
			{transcript.Post{Values: one, ContentType: "t", Producer: "p"}, transcript.Accepted},
			{transcript.Post{Values: one, ContentType: "t", Producer: "p"}, transcript.Again},
			{transcript.Post{Values: one, ContentType: "t", Producer: "p", Epoch: 2, Num: 1}, transcript.BadEpoch},
			{transcript.Post{Values: one, ContentType: "t", Producer: "p", Epoch: 2}, transcript.Accepted},
			{transcript.Post{Values: one, ContentType: "t", Producer: "p", Epoch: 1, Num: 7}, transcript.Stale},
			{transcript.Post{Values: one, ContentType: "t", Producer: "p", Epoch: 2, Num: 1, Close: true}, transcript.Accepted},
			{transcript.Post{Values: one, ContentType: "t", Producer: "p", Epoch: 2, Num: 1, Close: true}, transcript.Again},
			{transcript.Post{Values: one, ContentType: "t"}, transcript.Closed},
			{transcript.Post{Close: true}, transcript.Again},
		} {
			if got, err := s.Post(t.Context(), "a", step.post); err != nil || got.Verdict != step.want {
				t.Errorf("step %d: %+v, %v, want %s", i, got, err, step.want)
			}
		}
		want(t, show(t, s, "a", redisio.ID{}), "1:first 2:x 3:x 4:x 5:x 6:x end(done)")
	})
}

// A log forgets the producer that has not written for the longest time.
func TestProducers(t *testing.T) {
	eachServer(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb, transcript.Config{})
		spec := transcript.Spec{Kind: transcript.Log, ContentType: "t"}
		if _, _, err := s.Create(t.Context(), "a", spec); err != nil {
			t.Fatal(err)
		}
		post := func(producer string, num int64, want transcript.Verdict) {
			t.Helper()
			got, err := s.Post(t.Context(), "a", transcript.Post{Values: [][]byte{{1}}, ContentType: "t",
				Producer: producer, Num: num})
			if err != nil || got.Verdict != want {
				t.Errorf("%s %d: %+v, %v", producer, num, got, err)
			}
		}
		post("busy", 0, transcript.Accepted)
		post("idle", 0, transcript.Accepted)
		post("busy", 1, transcript.Accepted)
		for i := range 99 {
			post(fmt.Sprint(i), 0, transcript.Accepted)
		}
		post("busy", 1, transcript.Again)
		post("idle", 1, transcript.Gap)
	})
}
