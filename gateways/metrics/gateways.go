package metrics

import (
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/gateways/ws"
)

// collectGateways adds the numbers of services, clients, hubs, event streams and routes.
func collectGateways(set *parts.Set, to *samples) {
	for _, s := range set.Services() {
		n, topic := s.Stats(), s.Topic()
		to.count(serviceRequests, n.Answered, topic, "answered")
		to.count(serviceRequests, n.Failed, topic, "failed")
		to.count(serviceRequests, n.Expired, topic, "expired")
		to.count(serviceRequests, n.Cancelled, topic, "cancelled")
		to.count(serviceRequests, n.HandedOn, topic, "handed_on")
		to.count(serviceDropped, n.Dropped, topic)
		to.took(serviceLatency, n.Took, topic)
	}
	for _, c := range set.Clients() {
		n := c.Stats()
		to.put(clientWaiting, float64(n.Waiting), c.Topic())
		collectCalls(c.Topic(), "call", n.Calls, to)
		collectCalls(c.Topic(), "stream", n.Streams, to)
		collectCalls(c.Topic(), "send", n.Sends, to)
	}
	for _, h := range set.Hubs() {
		collectHub(h.Name(), h.Stats(), to)
	}
	for _, h := range set.EventHandlers() {
		n, stream := h.Stats(), h.Key()
		to.put(eventClients, float64(n.Clients), stream)
		to.put(eventStreams, float64(n.Streams), stream)
		to.count(eventsRefused, uint64(n.Refused), stream)
		to.count(eventsClosed, uint64(n.Slow), stream, "slow")
		to.count(eventsClosed, uint64(n.Broken), stream, "broken")
	}
	for _, r := range set.Routes() {
		n, topic, typ, pattern := r.Stats(), r.Topic(), r.Type(), r.Pattern()
		to.count(routeRequests, n.Answered, topic, typ, pattern, "answered")
		to.count(routeRequests, n.Refused, topic, typ, pattern, "refused")
		to.count(routeRequests, n.Overloaded, topic, typ, pattern, "overloaded")
		to.count(routeRequests, n.Failed, topic, typ, pattern, "failed")
		to.count(routeRequests, n.Gone, topic, typ, pattern, "gone")
	}
}

// collectCalls adds calls by outcome. An outcome that never occurred has a counter, but no histogram.
func collectCalls(topic, kind string, calls [gateways.CallOutcomes]gateways.Latency, to *samples) {
	for i, l := range calls {
		outcome := gateways.CallOutcome(i).String()
		to.count(clientCalls, l.Count, topic, kind, outcome)
		if l.Count > 0 {
			to.took(clientLatency, l, topic, kind, outcome)
		}
	}
}

func collectHub(hub string, n ws.Stats, to *samples) {
	to.put(hubSockets, float64(n.Sockets), hub)
	to.put(hubRooms, float64(n.Rooms), hub)
	to.count(hubOpened, n.Opened, hub)
	to.count(hubRefused, n.Refused, hub)
	to.count(hubClosed, n.Slow, hub, "slow")
	to.count(hubClosed, n.Dead, hub, "dead")
	to.count(hubFrames, n.Received, hub)
	to.count(hubBad, n.Bad, hub)
	to.count(hubLimited, n.Limited, hub)
	to.count(hubSaid, n.Said, hub)
	to.count(hubCalls, n.Calls, hub)
	to.count(hubDelivered, n.Delivered, hub)
	to.count(hubDropped, n.Dropped, hub)
	to.count(hubGaps, n.Gaps, hub)
	to.count(hubUndecoded, n.Undecoded, hub)
}
