package ws

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
)

// recall has the listener want a room, and tells the client first what was said there since a
// cursor, if it asks for that.
//
// Idea: pages are read and told while the listener goes on. Only for the rest, and what comes
// meanwhile, the writer leaves the listener alone (see hush), so that nothing that is live
// overtakes what is past.
func (s *socket) recall(q *request, answer *reply) *fault {
	l, topic := s.listener.Load(), string(Room(q.room))
	_, joined := s.rooms[q.room]
	if q.since == "" {
		if !joined {
			l.Add(topic)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.hub.cfg.SendTimeout)
	defer cancel()
	past, err := l.Past(ctx, topic, q.since)
	if err == nil && joined {
		err = past.Until(l.Cursor()) // what is behind was not told yet, and will be
	}
	for err == nil && past.More() {
		err = s.past(ctx, q.id, past.Read)
	}
	if err == nil && !joined {
		s.hush(ctx)
		err = s.past(ctx, q.id, past.Join)
		s.unhush()
	}
	switch {
	case errors.As(err, new(*relay.CursorError)):
		return badCursor(q.id)
	case err != nil:
		return &fault{q.id, codeAway, "what was said before can't be read: try again"}
	}
	if g := past.Gap(); g != nil {
		answer.From, answer.To = g.From, g.To
	}
	return nil
}

// reading reads a part of what was said before.
type reading func(context.Context) ([]relay.Item[delivery], error)

// past tells what was said before.
func (s *socket) past(ctx context.Context, id string, read reading) error {
	items, err := read(ctx)
	if err != nil || len(items) == 0 {
		return err
	}
	name, _ := json.Marshal(id)
	for i := range items {
		if !s.put(asPast(items[i].Value.frame, name)) {
			return relay.ErrClosed
		}
	}
	return nil
}

var msgPrefix = []byte(`{"kind":"msg",`)

// asPast makes of the frame of a message one that answers a join. id is JSON.
func asPast(frame, id []byte) []byte {
	body := payload(frame)
	if !bytes.HasPrefix(body, msgPrefix) { // never: deliver makes them
		return frame
	}
	out := append([]byte(`{"kind":"past","id":`), id...)
	return seal(append(append(out, ','), body[len(msgPrefix):]...))
}

// payload is what a frame of seal says.
func payload(frame []byte) []byte {
	switch frame[1] {
	case 126:
		return frame[4 : 4+int(binary.BigEndian.Uint16(frame[2:]))]
	case 127:
		return frame[10:]
	}
	return frame[2:]
}

// hush keeps the writer from what the listener has, until unhush. It waits for what the writer is
// at.
func (s *socket) hush(ctx context.Context) {
	s.mu.Lock()
	s.hushed = true
	var quiet chan struct{}
	if s.polling {
		quiet = make(chan struct{})
		s.quiet = quiet
		if s.behind != nil {
			s.behind()
		}
	}
	s.mu.Unlock()
	if quiet != nil {
		select {
		case <-quiet:
		case <-ctx.Done():
		}
	}
}

func (s *socket) unhush() {
	s.mu.Lock()
	s.hushed = false
	s.stir()
	s.mu.Unlock()
}

// polled notes that the writer is done with what the listener had.
func (s *socket) polled() {
	s.mu.Lock()
	s.polling = false
	if s.quiet != nil {
		close(s.quiet)
		s.quiet = nil
	}
	s.mu.Unlock()
}
