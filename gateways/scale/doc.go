// Package scale tells an autoscaler how many seconds of work wait in Redis Streams.
//
//	h := scale.New(rdb, scale.Config{Targets: map[string][]scale.Stream{
//		"billing": {{Key: "orders", Group: "billing"}},
//	}})
//	mux.Handle("GET /scale", h)
//
//	GET /scale?target=billing
//	{"target":"billing","backlog_seconds":12.4,"streams":[…]}
//
// All comes from Redis. So the handler may run in a small deployment of its own, or in any other
// process, and its figure is right while the target has no replicas.
//
// # The figure
//
// The backlog of a group is the greater of two durations:
//
//   - the age of the oldest entry that the group has not read yet;
//   - the unsettled entries, read or not, divided by the rate at which the group settles entries.
//
// The backlog of a target is that of its slowest stream. Config.Max bounds it.
//
// The rate is learned from the group's progress between two questions. It is kept in Redis next to
// the stream, and expires after a week. While entries wait, it is a moving average over about a minute. While none
// wait, it only grows, because an idle group could do more than it does. So it is known at zero
// replicas, as that of the replicas that were there before. Without a rate the age alone counts, and
// a group with unsettled entries has a backlog of at least a second.
//
// Special cases:
//
//   - No stream: the backlog is 0.
//   - No group: all entries of the stream wait, because the first replica creates the group. A group
//     that starts at the end of its stream makes this 0 with its first replica.
//   - Unknown lag, after entries were deleted or trimmed: up to 10,000 entries are counted. With more,
//     the backlog is at least what they take, and the answer has lag_at_least.
//   - An entry that fails for hours and is delivered again and again counts as one unsettled entry,
//     whatever its age. Its age does not count, because more replicas would not help.
//   - IDs that are no times, such as 1-0, have no age. IDs in the future have none either.
//   - Redis is away, or refuses: the answer is 503 within Config.Timeout. Autoscalers then keep the
//     number of replicas.
//
// # KEDA
//
// The file scaledobject.yaml is a complete example for the metrics-api scaler:
//
//	triggers:
//	  - type: metrics-api
//	    metricType: Value
//	    metadata:
//	      url: http://scale.default.svc:8080/scale?target=billing
//	      valueLocation: backlog_seconds
//	      targetValue: "30"
//	      activationTargetValue: "0"
//
// The metricType is Value, not AverageValue: the rate is that of all replicas, so with twice the
// target value twice the replicas are needed. The targetValue is how many seconds an entry may wait.
// With an activationTargetValue of 0 any entry starts the first replica.
package scale
