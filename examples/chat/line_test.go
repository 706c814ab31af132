package main

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways/ws"
)

func say(room, to, text string) heard {
	return heard{
		Event: ws.Event[said]{Kind: ws.Said, User: "Ann", Room: room, Type: "say", Value: said{Text: text, To: to}},
		id:    "1-0",
	}
}

func TestWritten(t *testing.T) {
	for _, c := range []struct {
		room, to, text string
		want           line
	}{
		{"lobby", "", "  hello\tthere \n", line{Room: "lobby", Text: "hello\tthere"}},
		{"lobby", "", "/me  waves", line{Room: "lobby", Me: true, Text: "waves"}},
		{"lobby", "", "//me is a command", line{Room: "lobby", Text: "/me is a command"}},
		{"lobby", "", "/msg Bob  see you", line{To: "Bob", Text: "see you"}},
		{"lobby", "", "/msg @Bob see you", line{To: "Bob", Text: "see you"}},
		{"", "Bob", "psst", line{To: "Bob", Text: "psst"}},
		{"", "Bob", "/me winks", line{To: "Bob", Me: true, Text: "winks"}},
		{"lobby", "", "a\x00b\x1b[31mc\r\nd\u202ee", line{Room: "lobby", Text: "ab[31mc\nde"}},
		{"lobby", "", "<script>", line{Room: "lobby", Text: "<script>"}},
	} {
		c.want.ID, c.want.From = "1-0", "Ann"
		got, err := written(say(c.room, c.to, c.text))
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.text, diff)
		}
	}
	for _, c := range []struct{ room, to, text, why string }{
		{"lobby", "", "", "is empty"},
		{"lobby", "", " \x00\u202e ", "is empty"},
		{"lobby", "", "/me", "is empty"},
		{"lobby", "", "/msg Bob", "is empty"},
		{"lobby", "", "/msg", "a name"},
		{"lobby", "", "/shrug", "unknown command /shrug"},
		{"", "", "to whom", "choose a room or a user"},
		{"lobby", "", strings.Repeat("é", maxText+1), "up to 1000 letters"},
		{"lobby", "", "a" + strings.Repeat("\n", maxLines+1) + "b", "up to 30 times"},
	} {
		if l, err := written(say(c.room, c.to, c.text)); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%.20q: %v, %+v", c.text, err, l)
		}
	}
}

// FuzzWritten: for any input, a line is short and has a receiver. It contains nothing that changes
// how other users' pages look.
func FuzzWritten(f *testing.F) {
	f.Add("lobby", "", "/msg @Bob /me \u2066x")
	f.Add("", "Bob", "//\r\n\xff")
	f.Fuzz(func(t *testing.T, room, to, text string) {
		l, err := written(say(room, to, text))
		if err != nil {
			return
		}
		if l.Text == "" || utf8.RuneCountInString(l.Text) > maxText || !utf8.ValidString(l.Text) ||
			(l.To == "") == (l.Room == "") {
			t.Errorf("%+v", l)
		}
		if strings.ContainsFunc(l.Text, func(r rune) bool {
			return unicode.IsControl(r) && r != '\n' && r != '\t' || r == '\u202e' || r == '\u2067'
		}) {
			t.Errorf("%q", l.Text)
		}
	})
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"Ann", "ann-2", "Zoë", "a.b_c", "李", strings.Repeat("x", 20)} {
		if err := checkName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", " ", "a b", "@ann", "-ann", "a@b", "a:b", "<b>", "a\n", "a\u202eb", "\xff",
		strings.Repeat("x", 21)} {
		if checkName(bad) == nil {
			t.Errorf("%q is a name", bad)
		}
	}
}
