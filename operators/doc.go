// Package operators has the stages that pipelines are built of: functions from one [flow.Source] to
// one or several others.
//
// An operator describes a stage and runs nothing. Its arguments are the source to read, then its
// own parameters, then options: [flow.Name], [flow.OnFault], [flow.Timeout], [flow.Async], and for
// operators that call a function on each value [flow.Workers], with [flow.Unordered] or
// [flow.KeyedBy]. A source can be used once; [FanOut] makes copies. [flow.Graph.Validate] reports
// mistakes, such as a nil function or a batch of zero, all at once.
//
//	words := operators.FlatMap(lines, split)
//	shards := operators.ByKey(words, 4, word, count)
//	g := flow.New("wordcount", flow.To(shards, out))
//
// # The operators
//
// Order compares the order of the output with that of the input. Acks tells when an entry of the
// source is acknowledged: carried means when its output is acknowledged, or at once if it has no
// output.
//
//	Operator     What it does                                        Order               Acks
//	Map          turns each value into another                       kept                carried
//	MapMessage   Map, with id, key, headers, time and attempt        kept                carried
//	Filter       passes on the values that a function keeps          kept                carried
//	FilterMap    Filter and Map in one                               kept                carried
//	FlatMap      turns each value into any number of others          kept                all outputs
//	Tap          shows each value to a function                      kept                carried
//	Try          Map, with a branch for what fails                   kept per output     carried
//	FanOut       copies each message to n outputs                    kept per output     all branches
//	FanIn        brings several sources together                     kept per input      carried
//	Partition    sends each key to one of n outputs                  kept per key        carried
//	Balance      sends each message to an output that has room       not kept            carried
//	Split        sends each message to one of two outputs            kept per output     carried
//	ByKey        runs a sub-pipeline on each of n shards             kept per key        as the sub-pipeline's
//	Batch        gathers values into slices, by count and age        kept                with the batch
//	BatchBytes   Batch, with a limit by size too                     kept                with the batch
//	Unbatch      turns slices into their values                      kept                all values
//	Throttle     makes messages wait, to keep a rate                 kept                carried
//	Dedupe       drops messages handled before                       kept                carried
//
// Hubs connect graphs of one process while they run:
//
//	MergeHub      merges producers that come and go                  kept per producer   with the consumer's
//	BroadcastHub  copies to subscribers that come and go             kept per producer   all subscribers, or at once
//	PartitionHub  sends each key to one of the subscribers           kept per key        with the subscriber's
//
// Each operator's documentation ends with four facts: the order of its output, when entries are
// acknowledged, what it holds in memory, and when its output ends.
//
// Stages with Workers keep the order as well, unless Unordered or KeyedBy is given. A retried
// message keeps its place, and the messages behind it wait.
//
// # Writing an operator
//
// This package uses only the public API of package flow, so your operators can do whatever these
// do. An operator is a function that passes a [flow.Handler] to [flow.Via]. Create its state in the
// factory given to Via, so that a restarted stage starts afresh. A message that is neither emitted
// nor kept with [flow.Hold] is done when the handler returns.
//
//	func Distinct[T any, K comparable](in flow.Source[T], key func(T) K, opts ...flow.StageOption) flow.Source[T] {
//		return flow.Via(in, "distinct", func() flow.Handler[T, T] {
//			seen := make(map[K]struct{})
//			return flow.HandlerFunc[T, T](func(_ context.Context, m flow.Message[T], emit flow.Emit[T]) error {
//				k := key(m.Value)
//				if _, dup := seen[k]; !dup {
//					seen[k] = struct{}{}
//					emit(m)
//				}
//				return nil // neither emitted nor held: done
//			})
//		}, opts...)
//	}
package operators
