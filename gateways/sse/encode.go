package sse

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/streamerson/streamerson-go/gateways/internal/eventstream"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
)

// nativeEvent converts a native entry into an event.
func nativeEvent(e *redisio.Entry) (Event, error) {
	var env redisio.Envelope
	data, err := wire.Native.Decode(e, &env)
	if err != nil {
		return Event{}, err
	}
	ev := Event{Type: env.Type, Data: data}
	if env.Key != "" {
		ev.Topics = []string{env.Key}
	}
	return ev, nil
}

// frameOf returns a function that encodes entries for clients. It copies everything it keeps of an
// entry.
func frameOf(event func(*redisio.Entry) (Event, error)) func(*redisio.Entry) ([]byte, []string, error) {
	return func(e *redisio.Entry) ([]byte, []string, error) {
		ev, err := event(e)
		switch {
		case err != nil:
			return nil, nil, err
		case strings.ContainsAny(ev.Type, "\r\n\x00") || !utf8.ValidString(ev.Type):
			return nil, nil, fmt.Errorf("gateways: invalid event type %.60q: use one line of text", ev.Type)
		case ev.Type == "gap" || ev.Type == "overflow" || ev.Type == keepalive:
			return nil, nil, fmt.Errorf("gateways: event type %q is reserved", ev.Type)
		}
		topics := make([]string, len(ev.Topics))
		for i, t := range ev.Topics {
			topics[i] = strings.Clone(t)
		}
		return eventstream.Append(nil, e.ID, ev.Type, ev.Data), topics, nil
	}
}
