package ws

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
)

// recall subscribes the listener to a room. If the request has a since, the client first receives
// the room's messages from there.
//
// Idea: pages of past messages are read and sent while the listener continues. Only for the last
// page, and for messages that arrive meanwhile, the writer does not poll the listener (see hush),
// so that no live message overtakes a past one.
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
		err = past.Until(l.Cursor()) // later messages have not been sent yet, and will be
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
		return &fault{q.id, codeAway, "cannot read past messages: try again"}
	}
	if g := past.Gap(); g != nil {
		answer.From, answer.To = g.From, g.To
	}
	return nil
}

// reading reads a page of past messages.
type reading func(context.Context) ([]relay.Item[delivery], error)

// past reads a page of past messages and sends it.
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

// asPast turns the frame of a message into one that answers a join. id is JSON.
func asPast(frame, id []byte) []byte {
	body := payload(frame)
	if !bytes.HasPrefix(body, msgPrefix) { // never: deliver makes them
		return frame
	}
	out := append([]byte(`{"kind":"past","id":`), id...)
	return seal(append(append(out, ','), body[len(msgPrefix):]...))
}

// payload returns the payload of a frame made by seal.
func payload(frame []byte) []byte {
	switch frame[1] {
	case 126:
		return frame[4 : 4+int(binary.BigEndian.Uint16(frame[2:]))]
	case 127:
		return frame[10:]
	}
	return frame[2:]
}

// hush stops the writer from polling the listener until unhush. It waits until a running poll is
// done.
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

// polled marks the end of the writer's poll.
func (s *socket) polled() {
	s.mu.Lock()
	s.polling = false
	if s.quiet != nil {
		close(s.quiet)
		s.quiet = nil
	}
	s.mu.Unlock()
}
