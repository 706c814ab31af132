package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/streamerson/streamerson-go/gateways/ws"
)

const (
	maxText  = 1000 // letters of a line
	maxLines = 30   // line breaks in it
)

// said is what a page says, of type say (in a room, or to somebody), typing, here, bye (I leave
// this room) or past (tell me again).
type said struct {
	Text string `json:"text,omitempty"` // say
	To   string `json:"to,omitempty"`   // say, past: a user, instead of a room
}

// heard is what somebody has said, with what the log knows of it: workers make lines of it.
type heard struct {
	ws.Event[said]
	id string    // of the entry, and so of the line: a line that comes twice can be told by it
	at time.Time // when it was written
}

// line is one of a conversation.
type line struct {
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
	From string    `json:"from"`
	To   string    `json:"to,omitempty"` // a user; "" in a room
	Room string    `json:"room,omitempty"`
	Me   bool      `json:"me,omitempty"` // an action: "/me waves"
	Text string    `json:"text"`
}

// written makes a line of what somebody said. An error is for the one who said it.
func written(h heard) (line, error) {
	l := line{ID: h.id, At: h.at, From: h.User, To: h.Value.To, Room: h.Room}
	text, err := cleanText(h.Value.Text)
	if err != nil {
		return l, err
	}
	command, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case !strings.HasPrefix(text, "/"):
		l.Text = text
	case strings.HasPrefix(text, "//"): // what begins with a slash
		l.Text = text[1:]
	case command == "/me":
		l.Me, l.Text = true, rest
	case command == "/msg":
		l.To, l.Text, _ = strings.Cut(rest, " ")
		l.To, l.Text = strings.TrimPrefix(l.To, "@"), strings.TrimSpace(l.Text)
		if l.To == "" {
			return l, errors.New("write /msg, a name, and what to tell")
		}
	default:
		return l, fmt.Errorf("unknown command %s: use /me or /msg, or // for a leading slash", command)
	}
	if l.Text == "" {
		return l, errors.New("that line says nothing")
	}
	switch {
	case l.To != "":
		l.Room = ""
	case l.Room == "":
		return l, errors.New("say it in a room, or to somebody")
	}
	return l, nil
}

// cleanText takes out what would upset other people's pages, and refuses what is too long.
func cleanText(s string) (string, error) {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case r == '\r',
			r == utf8.RuneError,
			unicode.IsControl(r),
			r >= '\u202a' && r <= '\u202e',
			r >= '\u2066' && r <= '\u2069': // that turn text around
			return -1
		}
		return r
	}, s))
	switch {
	case utf8.RuneCountInString(s) > maxText:
		return "", fmt.Errorf("a line has up to %d letters", maxText)
	case strings.Count(s, "\n") > maxLines:
		return "", fmt.Errorf("a line breaks up to %d times", maxLines)
	}
	return s, nil
}

// checkName says what is wrong with the name of a user, or of a room.
func checkName(s string) error {
	if n := utf8.RuneCountInString(s); n < 1 || n > 20 || !utf8.ValidString(s) {
		return errors.New("a name has 1 to 20 letters")
	}
	for i, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && (i == 0 || r != '-' && r != '_' && r != '.') {
			return errors.New("a name has letters and digits, and . - _ inside")
		}
	}
	return nil
}
