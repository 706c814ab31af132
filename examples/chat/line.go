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
	maxText  = 1000 // letters of a text
	maxLines = 30   // line breaks in a text
)

// said is a message from a page. Its types are say (in a room, or to a user), typing, here, bye (the
// user leaves the room) and past (a request for the stored lines).
type said struct {
	Text string `json:"text,omitempty"` // say
	To   string `json:"to,omitempty"`   // say, past: a user, instead of a room
}

// heard is a message with the id and the time of its entry in the log.
type heard struct {
	ws.Event[said]
	id string    // of the entry, and so of the line: pages drop a second line with the same id
	at time.Time // when it was written
}

// line is one text of a conversation.
type line struct {
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
	From string    `json:"from"`
	To   string    `json:"to,omitempty"` // a user; "" in a room
	Room string    `json:"room,omitempty"`
	Me   bool      `json:"me,omitempty"` // an action: "/me waves"
	Text string    `json:"text"`
}

// written converts a message into a line. An error is for its author.
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
	case strings.HasPrefix(text, "//"): // a text that begins with a slash
		l.Text = text[1:]
	case command == "/me":
		l.Me, l.Text = true, rest
	case command == "/msg":
		l.To, l.Text, _ = strings.Cut(rest, " ")
		l.To, l.Text = strings.TrimPrefix(l.To, "@"), strings.TrimSpace(l.Text)
		if l.To == "" {
			return l, errors.New("write /msg, a name and a text")
		}
	default:
		return l, fmt.Errorf("unknown command %s: use /me or /msg, or // for a leading slash", command)
	}
	if l.Text == "" {
		return l, errors.New("the line is empty")
	}
	switch {
	case l.To != "":
		l.Room = ""
	case l.Room == "":
		return l, errors.New("choose a room or a user")
	}
	return l, nil
}

// cleanText removes characters that would break other users' pages, and refuses texts that are too
// long.
func cleanText(s string) (string, error) {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case r == '\r',
			r == utf8.RuneError,
			unicode.IsControl(r),
			r >= '\u202a' && r <= '\u202e',
			r >= '\u2066' && r <= '\u2069': // they change the direction of the text
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

// checkName returns what is wrong with the name of a user or a room.
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
