package gateways_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways"
)

// Polyfills say in the query what they had, each in its spelling. One lost 27 of 40 events.
func TestFault_G2_ResumeByQuery(t *testing.T) {
	b := newBoard(t, gateways.SSEConfig{From: "0"})
	var ids []string
	for i := range 5 {
		ids = append(ids, b.add(t, "n", "", fmt.Sprint(i)))
	}
	for query, want := range map[string][]string{
		"lastEventId=" + ids[3]:                              {"4"},
		"last-event-id=" + ids[3]:                            {"4"},
		"Last-Event-ID=" + ids[3]:                            {"4"},
		"last_event_id=" + ids[3]:                            {"4"},
		"lastEventID=" + ids[3]:                              {"4"},
		"evs_last_event_id=" + ids[3]:                        {"4"},
		"a=1&lastEventId=" + ids[2] + "&b=2":                 {"3", "4"},
		"last-event-id=" + ids[0] + "&lastEventId=" + ids[3]: {"4"}, // the page's, and the polyfill's behind it
		"lastEventId=" + ids[3] + "&lastEventId=":            {"4"},
		"lastEventId=%zz&lasteventid" + "=" + ids[3]:         {"4"},
		"lastEvent=" + ids[3]:                                {"0", "1", "2", "3", "4"},
	} {
		if diff := cmp.Diff(want, subscribe(t, b.url+"?"+query).data(len(want))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

// A streamed reply is not repeated for a client that names its last event in the query.
func TestFault_G2_StreamsByQuery(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gateways.ServeStream(w, r, func(yield func(int, error) bool) { yield(1, nil) })
	})
	if got := ask(h, asked("GET", "/?lastEventId=1", "")); got.status != http.StatusNoContent {
		t.Errorf("%+v", got)
	}
	if got := ask(h, asked("GET", "/?lastEventId=", "")); got.status != http.StatusOK {
		t.Errorf("%+v", got)
	}
}

// Some client libraries take each block for an event, and fail at one without data. The gateway
// sends no such block: retry is in the
// block of the first event, a heartbeat is a comment without an empty line, and an event moves the ID on.
func TestFault_G2_EachBlockIsAnEvent(t *testing.T) {
	var feed gateways.Feed
	b := newBoard(t, gateways.SSEConfig{Heartbeat: time.Millisecond,
		Feed: func(*http.Request) (gateways.Feed, error) { return feed, nil }})
	feed = gateways.Feed{Key: b.topic, Topics: []string{"mine"}}
	first := b.add(t, "n", "mine", "x")
	c := subscribe(t, b.url+"?lastEventId=0-0")
	var text strings.Builder
	until := func(what string) {
		t.Helper()
		for !strings.HasSuffix(text.String(), what) {
			line, err := c.lines.ReadString('\n')
			if err != nil {
				t.Fatalf("%v behind %q", err, text.String())
			}
			text.WriteString(line)
		}
	}
	until("data: x\n\n")
	until(":\n")
	other := b.add(t, "n", "another's", "y")
	until("data: {}\n\n")
	last := b.add(t, "n", "mine", "z")
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

// A client that says it had something still to come gets what comes from now on, and is told.
func TestFault_S7_CursorsOfTheFuture(t *testing.T) {
	b := newBoard(t, gateways.SSEConfig{})
	top := b.add(t, "n", "", "0")
	for _, id := range []string{"99999999999999-0", "99999999999999", "18446744073709551615-18446744073709551615"} {
		c := subscribe(t, b.url+"?lastEventId="+id)
		if strings.Contains(id, "-") {
			if m, _ := c.next(); m.Type != "gap" || m.ID != top {
				t.Errorf("%s: %+v", id, m)
			}
		}
		top = b.add(t, "n", "", id)
		if diff := cmp.Diff([]string{id}, c.data(1)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
		c.end()
		_, _ = io.Copy(io.Discard, c.body)
	}
}
