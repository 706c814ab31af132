package sse

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

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
		return appendEvent(nil, e.ID, ev.Type, ev.Data), topics, nil
	}
}

// AppendEvent appends an event to a response of type text/event-stream. Invalid UTF-8 in the data is
// replaced. Neither id nor typ may contain a line break.
func AppendEvent(dst []byte, id, typ string, data []byte) []byte {
	return appendEvent(dst, id, typ, data)
}

// appendEvent appends an event. id and typ have no line breaks in them.
//
// Any line break in the data that browsers know starts another data line. So the data cannot
// contain a field or the end of an event.
func appendEvent(dst []byte, id, typ string, data []byte) []byte {
	if !utf8.Valid(data) {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	if dst == nil {
		dst = make([]byte, 0, len(id)+len(typ)+len(data)+32)
	}
	if id != "" {
		dst = append(dst, "id: "...)
		dst = append(dst, id...)
		dst = append(dst, '\n')
	}
	if typ != "" && typ != "message" {
		dst = append(dst, "event: "...)
		dst = append(dst, typ...)
		dst = append(dst, '\n')
	}
	for {
		line, rest := data, []byte(nil)
		i := bytes.IndexAny(data, "\r\n")
		if i >= 0 {
			line, rest = data[:i], data[i+1:]
			if data[i] == '\r' && len(rest) > 0 && rest[0] == '\n' {
				rest = rest[1:]
			}
		}
		dst = append(dst, "data: "...)
		dst = append(dst, line...)
		dst = append(dst, '\n')
		if i < 0 {
			return append(dst, '\n')
		}
		data = rest
	}
}
