package metrics

import (
	"math"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is a family of numbers. Parts with the same labels are merged.
type metric struct {
	*scope
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	merge func(a, b float64) float64
}

// scope is the labels of some metrics.
type scope struct {
	names   []string
	sorted  []int // the labels in the order of their names
	metrics int   // how many have it
}

// family are the metrics of one kind of part: they share a prefix and labels.
type family struct {
	prefix string
	*scope
}

// all has each metric, for Describe.
var all []*prometheus.Desc

func familyOf(prefix string, labels ...string) family { return family{prefix, scopeOf(labels)} }

func scopeOf(labels []string) *scope {
	s := &scope{names: labels}
	for _, name := range slices.Sorted(slices.Values(labels)) {
		s.sorted = append(s.sorted, slices.Index(labels, name))
	}
	return s
}

// metric makes a metric, with more labels than others of its family.
func (f family) metric(
	name, help string, more []string, kind prometheus.ValueType, merge func(a, b float64) float64,
) *metric {
	m := &metric{scope: f.scope, kind: kind, merge: merge}
	if len(more) > 0 {
		m.scope = scopeOf(slices.Concat(f.names, more))
	}
	m.metrics++
	m.desc = f.desc(name, help, more)
	return m
}

func (f family) desc(name, help string, more []string) *prometheus.Desc {
	d := prometheus.NewDesc("streamerson_"+f.prefix+"_"+name, help, slices.Concat(f.names, more), nil)
	all = append(all, d)
	return d
}

func sum(a, b float64) float64 { return a + b }

// total is a counter.
func (f family) total(name, help string, more ...string) *metric {
	return f.metric(name+"_total", help, more, prometheus.CounterValue, sum)
}

// now is a gauge that is the sum of its parts.
func (f family) now(name, help string, more ...string) *metric {
	return f.metric(name, help, more, prometheus.GaugeValue, sum)
}

// most is a gauge of which the largest part counts, and least one of which the smallest does.
func (f family) most(name, help string, more ...string) *metric {
	return f.metric(name, help, more, prometheus.GaugeValue, math.Max)
}

func (f family) least(name, help string, more ...string) *metric {
	return f.metric(name, help, more, prometheus.GaugeValue, math.Min)
}

var (
	graphs      = familyOf("graph", "graph")
	graphState  = graphs.now("state", "Graphs of this name in the state.", "state")
	graphReady  = graphs.least("ready", "1 if the graph works and its sources have their backends, else 0.")
	graphUptime = graphs.most("uptime_seconds", "Time since the graph was started.")
	graphStarts = graphs.total("starts", "Starts of the graph in this process.")
	graphFails  = graphs.total("failures", "Runs that ended because a stage failed too often.")

	sources         = familyOf("source", "graph", "stage")
	sourceRead      = sources.total("read_entries", "Entries read.")
	sourceSettled   = sources.total("settled_entries", "Entries settled, by outcome: dead are dead letters.", "outcome")
	sourceLost      = sources.total("lost_leases", "Entries that lost their lease before they settled.")
	sourceInFlight  = sources.now("in_flight_entries", "Entries read and not settled: used credits.")
	sourceMost      = sources.now("in_flight_limit_entries", "Largest number of entries in flight: credits.")
	sourceReadAhead = sources.now("read_ahead_entries", "Entries that may be in flight now, at the pace of the stages.")
	sourceBytes     = sources.now("free_bytes", "Bytes that may still be read: byte credits left.")
	sourceOldest    = sources.most("oldest_unsettled_seconds", "Time since the oldest unsettled entry was read.")
	sourceLag       = sources.most("lag_entries", "Entries that the whole group has not read yet.")
	sourcePending   = sources.most("pending_entries", "Entries that the whole group has read and not settled.")
	sourcePaused    = sources.most("paused", "1 if the source is paused, else 0.")

	stages        = familyOf("stage", "graph", "stage")
	stageInfo     = stages.most("info", "1. The kind of the stage is a label.", "kind")
	stageWorkers  = stages.now("workers", "Goroutines that may work for the stage at once.")
	stageIn       = stages.total("received_messages", "Messages that came into the stage.")
	stageOut      = stages.total("emitted_messages", "Messages that the stage passed on. For sinks: written.")
	stageFaults   = stages.total("faults", "Failed tries to handle a message, by kind.", "kind")
	stageRetries  = stages.total("retries", "Tries again after a fault.")
	stageEnded    = stages.total("failed_messages", "Messages that the stage gave up, by outcome.", "outcome")
	stageRestarts = stages.total("restarts", "Restarts of the stage after an error or a panic.")
	stageBusy     = stages.total("busy_seconds", "Time worked, summed over the workers.")
	stageBlocked  = stages.total("blocked_seconds", "Time waited for room on outgoing edges.")
	stageRetrying = stages.total("retrying_seconds", "Time waited before tries again.")
	stageEvents   = stages.total("events", "What readers and writers count, such as reconnects and late_acks.", "event")

	edges        = familyOf("edge", "graph", "from", "to")
	edgeMessages = edges.total("messages", "Messages sent over the edge.")
	edgeChunks   = edges.total("chunks", "Chunks sent over the edge.")
	edgeQueued   = edges.now("queued_chunks", "Chunks that wait.")
	edgeSize     = edges.now("capacity_chunks", "Chunks that can wait.")
	edgeBlocked  = edges.total("blocked_seconds", "Time that senders waited for room.")
)

var (
	services        = familyOf("service", "topic")
	serviceRequests = services.total("requests", "Requests, by outcome.", "outcome")
	serviceDropped  = services.total("dropped_replies", "Replies dropped because a client's mailbox was full.")
	serviceLatency  = services.desc("handler_duration_seconds",
		"How long handlers took, of answered and failed requests.", nil)

	clients       = familyOf("client", "topic")
	clientWaiting = clients.now("waiting_calls", "Calls that wait for a reply.")
	clientCalls   = clients.total("calls", "Calls, by kind and outcome.", "kind", "outcome")
	clientLatency = clients.desc("call_duration_seconds", "How long calls took, by kind and outcome.",
		[]string{"kind", "outcome"})

	hubs         = familyOf("hub", "hub")
	hubSockets   = hubs.now("sockets", "Open sockets, and those being opened.")
	hubRooms     = hubs.now("rooms", "Rooms that sockets of this process have joined.")
	hubOpened    = hubs.total("opened_sockets", "Sockets opened.")
	hubRefused   = hubs.total("refused_sockets", "Requests that were not upgraded.")
	hubClosed    = hubs.total("closed_sockets", "Sockets closed by the hub: slow or dead clients.", "reason")
	hubFrames    = hubs.total("received_frames", "Frames received.")
	hubBad       = hubs.total("bad_frames", "Frames that violate the protocol.")
	hubLimited   = hubs.total("limited_frames", "Frames delayed by a rate limit.")
	hubSaid      = hubs.total("said_messages", "Messages sent to the workers.")
	hubCalls     = hubs.total("calls", "Calls started by clients.")
	hubDelivered = hubs.total("delivered_messages", "Messages, counted once for each receiving socket.")
	hubDropped   = hubs.total("dropped_messages", "Messages dropped for slow sockets.")
	hubGaps      = hubs.total("gaps", "Gaps reported to clients.")
	hubUndecoded = hubs.total("undecoded_entries", "Entries of the log that could not be decoded.")

	events        = familyOf("sse", "stream")
	eventClients  = events.now("clients", "Connected clients of server-sent events.")
	eventStreams  = events.now("streams", "Streams that are read for clients.")
	eventsRefused = events.total("refused_clients", "Clients answered with 503 because there were too many.")
	eventsClosed  = events.total("closed_clients", "Clients disconnected, by reason: slow or broken.", "reason")

	queues        = familyOf("jobs", "queue", "priority")
	jobsWaiting   = queues.most("waiting", "Jobs that wait for a worker.")
	jobsTaken     = queues.most("taken", "Jobs that workers have: they run, are read ahead, or are tried again later.")
	jobsScheduled = queues.most("scheduled", "Jobs for later.")
	jobsDead      = queues.most("dead", "Dead letters.")

	routes        = familyOf("http", "topic", "type", "pattern")
	routeRequests = routes.total("requests", "Requests to routes, by outcome.", "outcome")
)
