// Package metrics shows the parts of a program to Prometheus.
//
//	show := parts.New().Service(orders).Client(stock)
//	prometheus.MustRegister(metrics.New(show))
//	http.Handle("/metrics", promhttp.Handler())
//
//	ctx = show.Watch(ctx) // graphs that start with ctx are shown
//
// A graph's numbers come from its Snapshot, so they cost it nothing between scrapes. A scrape asks
// Redis for the lag and the pending entries of all sources and the depths of all queues of jobs at
// once, for at most a second (see Within). Numbers that Redis does not tell in time are absent, never 0 or -1.
//
// A scrape of 50 graphs of 30 stages (1.5 MB of text) took 52 ms on a server with two cores. At the
// default scrape interval of 15 s that is 0.35 % of one core. A busy graph of ten stages ran 0.4 %
// slower when it was scraped each second (BenchmarkScrape, BenchmarkScrapedGraph).
//
// Labels are names that a program gives: graph, stage, the ends of an edge (from, to), topic, hub,
// stream, queue, priority, type, pattern, kind, outcome, event and reason. No label comes from users' data. Parts
// with the same labels are added up, such as two clients of a topic. Counters of a graph continue
// when it is started again in the process.
//
// The file dashboard.json is a dashboard for Grafana, and alerts.yml has alert rules for Prometheus,
// with tests in alerts_test.yml.
//
// # What do I look at when lag grows?
//
// Lag is streamerson_source_lag_entries: entries in the stream that the group has not read. Each
// process of a group reports the lag of the whole group, so use max, not sum. If the lag grows, the
// group settles less than arrives. Ask, in this order:
//
//  1. Does the graph run? streamerson_graph_ready is 0 if a source has lost Redis.
//     streamerson_graph_state says whether it is paused or drains. streamerson_graph_failures_total
//     counts runs that gave up, and the log says why.
//  2. Does it settle anything? See the rate of streamerson_source_settled_entries_total. If it is 0
//     and streamerson_source_oldest_unsettled_seconds grows, a handler hangs or retries for ever:
//     streamerson_stage_retries_total and streamerson_stage_faults_total name the stage. The label
//     kind of the faults is error, panic, timeout, rejected, postponed, permanent or undecodable. A
//     kind other than error appears with its first fault.
//  3. Are the credits used up? If streamerson_source_in_flight_entries is near
//     streamerson_source_in_flight_limit_entries, or streamerson_source_free_bytes is near 0, the
//     source waits for the graph: go on with 4. If not, the source waits for Redis: see 6.
//  4. Which stage is the bottleneck? The rate of streamerson_stage_busy_seconds_total, divided by
//     streamerson_stage_workers, is the share of the time that a stage works. The stage near 1 limits
//     the graph. It is behind the last edge of which streamerson_edge_queued_chunks is near
//     streamerson_edge_capacity_chunks, and whose senders wait
//     (streamerson_edge_blocked_seconds_total). Give it more flow.Workers, batch what it asks of a
//     database, or start more processes. Package gateways/scale starts them by itself.
//  5. Is it busy with failing? A high rate of streamerson_stage_retries_total, or of
//     streamerson_stage_retrying_seconds_total, means that what the handler calls is away or slow.
//     More workers make that worse. Entries of streamerson_source_settled_entries_total with the
//     outcome dead are dead letters: list and replay them with the command streams.
//  6. Is it Redis? streamerson_stage_events_total counts reconnects, asking_less (replies are cut
//     off), renew_failures, late_acks and write_retries. With streamerson_source_lost_leases_total
//     above 0 the process stood still for longer than its lease: see its CPU limits.
//  7. Is nothing wrong? Then more arrives than before: compare
//     streamerson_source_read_entries_total with last week, and scale.
//
// A pending count (streamerson_source_pending_entries) that is much larger than the entries in
// flight of all processes means entries of dead processes. They are taken over when their leases
// expire; see the events reclaimed and recovered.
//
// # What do I look at when calls fail?
//
// streamerson_client_calls_total counts calls by outcome. With overloaded, the client has refused
// them because they would have waited too long: add processes of the service. With timed_out, see
// streamerson_service_requests_total. If its outcome expired grows as well, the service is too
// slow. If nothing grows, no process serves the topic. The metric
// streamerson_service_handler_duration_seconds distinguishes a slow handler from a full queue. It
// is the time in the handlers alone, so calls that take much longer wait for a worker. With
// unavailable, Redis or all processes of the service are away.
// streamerson_client_call_duration_seconds has the latencies, and streamerson_http_requests_total
// says what callers of HTTP routes noticed. For WebSockets see
// streamerson_hub_dropped_messages_total and streamerson_hub_closed_sockets_total, for server-sent
// events streamerson_sse_closed_clients_total.
package metrics
