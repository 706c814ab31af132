package inspect

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/gateways/ws"
)

// PartReport is the state of a service, a client, a hub, a handler of events or a route.
type PartReport struct {
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`
	Figures []Figure `json:"figures"`
	// Took has the buckets of gateways.Latency: of a service its handlers, of a client its answered
	// calls.
	Took []uint64 `json:"took,omitempty"`
}

// Figure is a number of a part.
type Figure struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
	Now   bool   `json:"now,omitempty"` // a current value; else a count since the start
	Bad   bool   `json:"bad,omitempty"` // it should not grow
}

// partKinds are the kinds of parts, in the order of the page.
var partKinds = []string{"service", "client", "route", "hub", "events"}

// partsOf returns the state of all parts of a set, except graphs.
func partsOf(show *parts.Set) []PartReport {
	all := []PartReport{}
	for i, s := range show.Services() {
		all = append(all, servicePart(named(s, i), s.Stats()))
	}
	for i, c := range show.Clients() {
		all = append(all, clientPart(named(c, i), c.Stats()))
	}
	for i, e := range show.Routes() {
		all = append(all, PartReport{Kind: "route", Name: named(e, i), Figures: routeFigures(e.Stats())})
	}
	for i, h := range show.Hubs() {
		all = append(all, PartReport{Kind: "hub", Name: named(h, i), Figures: hubFigures(h.Stats())})
	}
	for i, h := range show.EventHandlers() {
		all = append(all, PartReport{Kind: "events", Name: named(h, i), Figures: eventFigures(h.Stats())})
	}
	return all
}

func total(name string, n uint64) Figure { return Figure{Name: name, Value: int64(n)} }

func wrong(name string, n uint64) Figure { return Figure{Name: name, Value: int64(n), Bad: true} }

func current(name string, n int) Figure { return Figure{Name: name, Value: int64(n), Now: true} }

func servicePart(name string, s gateways.ServiceStats) PartReport {
	return PartReport{Kind: "service", Name: name, Took: s.Took.Buckets[:], Figures: []Figure{
		total("answered", s.Answered), wrong("failed", s.Failed), wrong("expired", s.Expired),
		total("cancelled", s.Cancelled), total("handed on", s.HandedOn), wrong("replies dropped", s.Dropped),
	}}
}

func clientPart(name string, s gateways.ClientStats) PartReport {
	all := []Figure{current("waiting", s.Waiting)}
	for o := range gateways.CallOutcome(gateways.CallOutcomes) {
		all = append(all, Figure{
			Name:  strings.ReplaceAll(o.String(), "_", " "),
			Value: int64(s.Calls[o].Count + s.Streams[o].Count + s.Sends[o].Count),
			Bad:   o != gateways.CallAnswered && o != gateways.CallCancelled,
		})
	}
	return PartReport{Kind: "client", Name: name, Took: s.Calls[gateways.CallAnswered].Buckets[:], Figures: all}
}

func routeFigures(s web.EndpointStats) []Figure {
	return []Figure{
		total("answered", s.Answered), total("refused", s.Refused), wrong("overloaded", s.Overloaded),
		wrong("failed", s.Failed), total("caller gone", s.Gone),
	}
}

func hubFigures(s ws.Stats) []Figure {
	return []Figure{
		current("sockets", s.Sockets), current("rooms", s.Rooms),
		total("opened", s.Opened), total("refused", s.Refused),
		total("frames received", s.Received), total("calls", s.Calls), total("delivered", s.Delivered),
		wrong("dropped", s.Dropped), wrong("gaps", s.Gaps), wrong("too slow", s.Slow), total("timed out", s.Dead),
		wrong("bad frames", s.Bad), wrong("rate-limited", s.Limited), wrong("undecoded", s.Undecoded),
	}
}

func eventFigures(s sse.Stats) []Figure {
	return []Figure{
		current("clients", s.Clients), current("streams", s.Streams), wrong("refused", uint64(s.Refused)),
		wrong("too slow", uint64(s.Slow)), total("disconnected", uint64(s.Broken)),
	}
}

// named returns the name of a part. A part without a name of its own has a number.
func named(p any, i int) string {
	name := ""
	switch p := p.(type) {
	case interface{ Type() string }: // a route
		name = p.Type()
	case interface{ Topic() string }:
		name = p.Topic()
	case interface{ Name() string }:
		name = p.Name()
	case interface{ Key() string }:
		name = p.Key()
	}
	return cmp.Or(name, strconv.Itoa(i+1))
}
