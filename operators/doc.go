// Package operators has the stages that pipelines are made of: functions from a [flow.Source] to one or several others.
//
// An operator describes a stage and runs nothing. It takes the source it reads first, then what it does, then options:
// [flow.Name], [flow.OnFault], [flow.Timeout], [flow.Async], and for those that call a function on each value
// [flow.Workers], with [flow.Unordered] or [flow.KeyedBy]. A source is used once; [FanOut] makes
// copies. Mistakes, such as a nil function or a batch of zero, are found by [flow.Graph.Validate],
// all at once.
//
//	words := operators.FlatMap(lines, split)
//	shards := operators.ByKey(words, 4, word, count)
//	g := flow.New("wordcount", flow.To(shards, out))
//
// # The operators
//
// Order says how the messages of the output stand to those of the input. Acks says what has to
// happen for an entry of the source to be acknowledged: carried means that what comes out has to
// be, and what does not come out is done.
//
//	Operator     What it does                                        Order               Acks
//	Map          turns each value into another                       kept                carried
//	MapMessage   Map, with id, key, headers, time and attempt        kept                carried
//	Filter       passes on the values that a function wants          kept                carried
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
//	Dedupe       drops what has been handled before                  kept                carried
//
// Each operator's documentation ends with four facts: what becomes of the order, when entries are acknowledged, what it
// keeps in memory, and when its output ends.
//
// Order is kept by stages with Workers as well, unless Unordered or KeyedBy is given. A message
// that is tried again keeps its place, and those behind it wait.
//
// # An operator of your own
//
// This package uses nothing but the public side of package flow, so what it does, your operators
// can do. A function with a [flow.Handler] and [flow.Via] is all there is to one. State belongs
// into the factory that Via is given, so that a stage that is restarted starts afresh; what neither
// goes on by emit nor is kept by [flow.Hold] is done when the handler returns.
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
