package sse_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/sse"
)

// Polyfills send their last event ID in the query, each with another name. One lost 27 of 40
// events.
func TestFault_G2_ResumeByQuery(t *testing.T) {
	b := rig.NewBoard(t, sse.Config{From: "0"})
	var ids []string
	for i := range 5 {
		ids = append(ids, b.Add(t, "n", "", fmt.Sprint(i)))
	}
	for query, want := range map[string][]string{
		"lastEventId=" + ids[3]:                              {"4"},
		"last-event-id=" + ids[3]:                            {"4"},
		"Last-Event-ID=" + ids[3]:                            {"4"},
		"last_event_id=" + ids[3]:                            {"4"},
		"lastEventID=" + ids[3]:                              {"4"},
		"evs_last_event_id=" + ids[3]:                        {"4"},
		"a=1&lastEventId=" + ids[2] + "&b=2":                 {"3", "4"},
		"last-event-id=" + ids[0] + "&lastEventId=" + ids[3]: {"4"}, // the page's, then the polyfill's
		"lastEventId=" + ids[3] + "&lastEventId=":            {"4"},
		"lastEventId=%zz&lasteventid" + "=" + ids[3]:         {"4"},
		"lastEvent=" + ids[3]:                                {"0", "1", "2", "3", "4"},
	} {
		if diff := cmp.Diff(want, rig.Subscribe(t, b.URL+"?"+query).Data(len(want))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

// A streamed reply is not repeated for a client that names its last event in the query.
func TestFault_G2_StreamsByQuery(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sse.ServeStream(w, r, func(yield func(int, error) bool) { yield(1, nil) })
	})
	if got := rig.Ask(h, rig.Asked("GET", "/?lastEventId=1", "")); got.Status != http.StatusNoContent {
		t.Errorf("%+v", got)
	}
	if got := rig.Ask(h, rig.Asked("GET", "/?lastEventId=", "")); got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
}

// Some client libraries treat each block as an event, and fail at one without data. The gateway
// sends no such block. retry is in the block of the first event, a heartbeat is a comment without
// an empty line, and an event advances the ID.
func TestFault_G2_EachBlockIsAnEvent(t *testing.T) {
	var feed sse.Feed
	b := rig.NewBoard(t, sse.Config{Heartbeat: time.Millisecond,
		Feed: func(*http.Request, gateways.Identity) (sse.Feed, error) { return feed, nil }})
	feed = sse.Feed{Key: b.Topic, Topics: []string{"mine"}}
	first := b.Add(t, "n", "mine", "x")
	c := rig.Subscribe(t, b.URL+"?lastEventId=0-0")
	var text strings.Builder
	until := func(what string) {
		t.Helper()
		for !strings.HasSuffix(text.String(), what) {
			line, err := c.Lines.ReadString('\n')
			if err != nil {
				t.Fatalf("%v behind %q", err, text.String())
			}
			text.WriteString(line)
		}
	}
	until("data: x\n\n")
	until(":\n")
	other := b.Add(t, "n", "another's", "y")
	until("data: {}\n\n")
	last := b.Add(t, "n", "mine", "z")
	until("data: z\n\n")
	want := []string{"retry: 2000\nid: " + first + "\nevent: n\ndata: x",
		"id: " + other + "\nevent: keepalive\ndata: {}", "id: " + last + "\nevent: n\ndata: z"}
	var got []string
	for block := range strings.SplitSeq(strings.TrimSuffix(text.String(), "\n\n"), "\n\n") {
		got = append(got, strings.ReplaceAll(block, ":\n", ""))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A client with a cursor in the future receives new events, after a gap event.
func TestFault_S7_CursorsOfTheFuture(t *testing.T) {
	b := rig.NewBoard(t, sse.Config{})
	top := b.Add(t, "n", "", "0")
	for _, id := range []string{"99999999999999-0", "99999999999999", "18446744073709551615-18446744073709551615"} {
		c := rig.Subscribe(t, b.URL+"?lastEventId="+id)
		if strings.Contains(id, "-") {
			if m, _ := c.Next(); m.Type != "gap" || m.ID != top {
				t.Errorf("%s: %+v", id, m)
			}
		}
		top = b.Add(t, "n", "", id)
		if diff := cmp.Diff([]string{id}, c.Data(1)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
		c.End()
		_, _ = io.Copy(io.Discard, c.Body)
	}
}
