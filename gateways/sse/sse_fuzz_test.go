package sse

import (
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/redisio"
)

// parsed reads a stream of events as in the HTML standard, with all three kinds of line breaks.
func parsed(text string) (events [][3]string) {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	var id, typ string
	var data []string
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if data != nil {
				events = append(events, [3]string{id, typ, strings.Join(data, "\n")})
			}
			typ, data = "", nil
		case name == "id" && !strings.Contains(value, "\x00"):
			id = value
		case name == "event":
			typ = value
		case name == "data":
			data = append(data, value)
		}
	}
	return events
}

// For any entry, clients receive one event with its ID, type and data, or no event.
func FuzzSSEEvent(f *testing.F) {
	for _, seed := range [][2]string{{"note", "a\nb"}, {"", ""}, {"x\ny", "z"}, {"gap", "{}"}, {" lead", " lead"}, {"ok", "a\r\rid: 1\r\n\r\n"}, {"\xff", "\xff\x00"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, typ, data string) {
		frame, topics, err := frameOf(func(*redisio.Entry) (Event, error) {
			return Event{Type: typ, Data: []byte(data), Topics: []string{"t"}}, nil
		})(&redisio.Entry{ID: "7-1"})
		if err != nil {
			if !strings.ContainsAny(typ, "\r\n\x00") && strings.ToValidUTF8(typ, "") == typ && typ != "gap" &&
				typ != "overflow" {
				t.Errorf("%q is refused: %v", typ, err)
			}
			return
		}
		got := parsed("id: 6-0\ndata: before\n\n" + string(frame) + "data: after\n\n")
		if typ == "message" {
			typ = ""
		}
		text := strings.ReplaceAll(strings.ReplaceAll(strings.ToValidUTF8(data, "\uFFFD"), "\r\n", "\n"), "\r", "\n")
		want := [][3]string{{"6-0", "", "before"}, {"7-1", typ, text}, {"7-1", "", "after"}}
		if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || len(topics) != 1 {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
