// Package operators has the stages that pipelines are built of: functions from one [flow.Source] to
// one or several others.
//
// An operator describes a stage and runs nothing. Its arguments are the source to read, then its
// own parameters, then options: [flow.Name], [flow.OnFault], [flow.Timeout], [flow.Async], and for
// operators that call a function on each value [flow.Workers], with [flow.Unordered] or
// [flow.KeyedBy]. Package failsafe has options for circuit breakers, bulkheads and hedges. A source
// can be used once; [FanOut] makes copies. [flow.Graph.Validate] reports mistakes, such as a nil
// function or a batch of zero, all at once.
//
//	words := operators.FlatMap(lines, split)
//	shards := operators.ByKey(words, 4, word, count)
//	g := flow.New("wordcount", flow.To(shards, out))
//
// # Which operator do I need
//
// Order compares the order of the output with that of the input. Acks says when an entry of the
// source is acknowledged. "Carried by an output" means that the entry is acknowledged when that
// output is, or at once without an output.
//
// Change values:
//
//	Map             turns each value into another                      kept                 carried by the output
//	MapMessage      is Map with id, key, headers, time and attempt     kept                 carried by the output
//	Filter          passes on the values for which keep is true        kept                 carried by what passes
//	FilterMap       is Filter and Map in one                           kept                 carried by what passes
//	FlatMap         turns each value into any number of others         kept                 when all outputs are
//	Tap             calls f with each value and passes it on unchanged kept                 carried by the output
//	Try             is Map with a second output for failures           kept on each output  carried by either output
//	Dedupe          drops messages that were handled before, by key    kept                 carried by what passes
//	Distinct        drops values whose key was seen before             kept                 carried by what passes
//
// Send messages to several places:
//
//	FanOut          copies each message to n outputs                   kept on each output  when all branches have
//	Split           sends each message to one of two outputs           kept on each output  carried by the output
//	Balance         sends each message to an output that has room      not kept             carried by the output
//	Partition       sends each key to one of n outputs                 kept on each output  carried by the output
//	ByKey           runs a sub-pipeline on each of n shards            kept within a key    as sub does
//	GroupBy         runs a sub-pipeline of its own for each key        kept within a key    as sub does
//	Case            sends values of one case to an output of their own kept on each output  carried by the output
//	DivertTo        sends the values for which when is true to a sink  kept on each output  carried by the output
//	AlsoTo          copies each message to a sink                      kept on each output  when output and sink are
//	WireTap         offers copies to a sink that does not matter       kept                 carried by the output
//	Unzip           sends the two values of a pair to an output each   kept on each output  when both outputs are
//	Feedback        makes a loop for work that takes several rounds    not kept             carried by what leaves
//
// Bring sources together:
//
//	FanIn           merges several sources of one type                 kept per input       carried by the output
//	MergePreferred  merges sources and reads the first first           kept per input       carried by the output
//	MergeWeighted   merges sources in proportion to weights            kept per input       carried by the output
//	MergeSorted     merges sorted sources into a sorted one            sorted               carried by the output
//	MergeSequence   puts messages into the order of their numbers      by number            carried by the output
//	Interleave      takes messages from its inputs in turn             kept                 carried by the output
//	Concat          passes on one source after the other               kept                 carried by the output
//	OrElse          passes on a second source if the first is empty    kept                 carried by the output
//	Zip             pairs the n-th message of a with the n-th of b     kept                 with its pair
//	WithLatest      combines each message with the latest of a side    kept                 carried by the output
//	CombineLatest   combines the latest values of two sources          of arrival           carried by the output
//
// Handle several values at once:
//
//	Batch           gathers values into slices of n                    kept                 when its batch is
//	BatchWeighted   is Batch with a limit by weight                    kept                 when its batch is
//	BatchAdaptive   is Batch with a size that it finds itself          kept                 when its batch is
//	MapBatch        turns the values of a batch into others            kept                 carried by the result
//	Unbatch         turns each slice into its values                   kept                 each value by itself
//
// Take a part of a stream:
//
//	Take            passes on the first n messages and then ends       kept                 carried by what passes
//	TakeWhile       passes on messages until f returns false           kept                 carried by what passes
//	Drop            drops the first n messages                         kept                 carried by what passes
//	DropWhile       drops messages until f returns false               kept                 carried by what passes
//
// Keep a state:
//
//	Scan            passes on the sum so far after each value          kept                 carried by the output
//	Fold            passes on the sum of all values at the end         there is one output  when it is added
//	Stateful        calls f with each value and its key's state        kept                 when all results are
//
// Compute per time, and join by time:
//
//	Window          computes an aggregate of each time and key         by the windows' ends when its windows have
//	JoinWithin      joins two streams by key and time                  by the later value   when all its results are
//
// Control the rate:
//
//	Throttle        makes the stream wait, to keep a rate              kept                 carried by the output
//	ThrottleCost    is Throttle with a cost per message                kept                 carried by the output
//	ThrottleShared  is Throttle with a limit that is shared            kept                 carried by the output
//	Buffer          lets the stream before it get ahead                kept                 carried by the output
//	Conflate        combines values while its output is busy           kept                 when its summary is
//	Extrapolate     invents values while its output waits              kept                 carried by the output
//
// Deal with time:
//
//	Delay           passes each message on after a time                by due time          carried by the output
//	Debounce        passes on the last value of a quiet key            kept within a key    carried by the output
//	Sample          passes on the last value of each interval          kept                 carried by the output
//	KeepAlive       adds values while no message comes                 kept                 carried by the output
//	Watchdog        stops the graph when the stream stalls             kept                 carried by the output
//
// # Other names
//
// Other libraries use other words for some operators.
//
//	Their name             In                         Here
//	collect                Pekko                      FilterMap
//	mapConcat              Pekko                      FlatMap
//	concatMap, mergeMap    Rx                         FlatMap
//	flatMapValues          Kafka Streams              FlatMap
//	mapAsync               Pekko                      Map with flow.Workers
//	do, peek, log          Rx, Kafka Streams, Pekko   Tap
//	recover, materialize   Pekko, Rx                  Try
//	broadcast, share       Pekko, Rx                  FanOut
//	partition (predicate)  Pekko                      Split
//	branch, side output    Kafka Streams, Flink       Split, Try
//	groupBy, keyBy         Rx, Flink                  GroupBy, ByKey
//	subFlow                Pekko                      GroupBy
//	selectKey, repartition Kafka Streams              Partition
//	rebalance              Flink                      Balance
//	merge, union           Rx, Pekko, Flink           FanIn
//	groupedWithin, buffer  Pekko, Rx                  Batch
//	groupedWeightedWithin  Pekko                      BatchWeighted
//	concatMapIterable      Rx                         Unbatch
//	collect (partial), ofType  Pekko, Rx              Case
//	divertTo               Pekko                      DivertTo
//	alsoTo, to and via     Pekko, Kafka Streams       AlsoTo
//	mergePrioritized       Pekko                      MergeWeighted
//	mergeComparing         Rx                         MergeSorted
//	concatLazy, prepend    Pekko                      Concat
//	startWith, concatWith  Rx                         Concat
//	switchIfEmpty          Rx                         OrElse
//	withLatestFrom         Rx                         WithLatest
//	side input, broadcast state  Flink                WithLatest
//	join with a GlobalKTable  Kafka Streams           WithLatest
//	zipLatest              Pekko, Rx                  CombineLatest
//	zipWith, zipN          Rx, Pekko                  Zip, Map
//	wireTap, observe       Pekko, fs2                 WireTap
//	iterate, expand        Flink, Rx                  Feedback
//	distinct               Rx                         Distinct
//	dropDuplicates         Flink                      Dedupe
//	fold, runningFold      Kotlin                     Fold, Scan
//	reduce, aggregate      Rx, Kafka Streams          Fold, Window
//	limit, skip            Pekko, Rx                  Take, Drop
//	process (function)     Flink, Kafka Streams       Stateful
//	statefulMap            Pekko                      Stateful, Scan
//	windowedBy             Kafka Streams              Window
//	windowTime, bufferTime Rx                         Window, Batch
//	intervalJoin           Flink                      JoinWithin
//	rateLimit              Rx                         Throttle
//	debounceTime           Rx                         Debounce
//	auditTime, sampleTime  Rx                         Sample
//	batch (while busy)     Pekko                      Conflate
//	expand                 Pekko                      Extrapolate
//	keepAlive, heartbeat   Pekko                      KeepAlive
//	idleTimeout, initialTimeout  Pekko                Watchdog
//	completionTimeout      Pekko                      Watchdog
//	onBackpressureBuffer   Reactor                    Buffer
//	onBackpressureDrop, onBackpressureLatest  Reactor  Buffer
//
// # Hubs
//
// Hubs connect graphs of one process while they run:
//
//	MergeHub      merges producers that come and go                  kept per producer   with the consumer's
//	BroadcastHub  copies to subscribers that come and go             kept per producer   all subscribers, or at once
//	PartitionHub  sends each key to one of the subscribers           kept per key        with the subscriber's
//
// # Diagrams
//
// The documentation of each operator has a diagram of its inputs and outputs, one line for each.
// Time goes from left to right:
//
//	in   --1--2--x--3--|
//	out  -----(12)-----3|
//
// A dash is time in which nothing happens. A digit or a letter is a value, and x a message that
// fails. (12) is one message made of 1 and 2, and | is the end. Words behind a line explain it.
//
// Each operator's documentation ends with four facts: the order of its output, when entries are
// acknowledged, what it holds in memory, and when its output ends.
//
// Stages with Workers keep the order as well, unless Unordered or KeyedBy is given. A retried
// message keeps its place, and the messages behind it wait.
//
// # Contracts
//
// Tests prove for each operator:
//
//   - Its result does not depend on chunks and delays.
//   - A stuck consumer stops it, with bounded memory.
//   - Stops and drains at any point lose nothing.
//   - A fault concerns its element only.
//   - Each entry is settled once.
//
// This prints how many tests have proven each promise:
//
//	go test ./operators -run TestTable -v
//
// Your own operators can run the same suite: see flowtest.TestOperator and flowtest.TestWired.
//
// # Writing an operator
//
// This package uses only the public API of package flow, so your operators can do whatever these
// do. An operator is a function that passes a [flow.Handler] to [flow.Via]. Create its state in the
// factory given to Via, so that a restarted stage starts afresh. A message that is neither emitted
// nor kept with [flow.Hold] is done when the handler returns.
//
//	func Changes[T comparable](in flow.Source[T], opts ...flow.StageOption) flow.Source[T] {
//		return flow.Via(in, "changes", func() flow.Handler[T, T] {
//			var last T
//			return flow.HandlerFunc[T, T](func(_ context.Context, m flow.Message[T], emit flow.Emit[T]) error {
//				if m.Value != last {
//					last = m.Value
//					emit(m)
//				}
//				return nil // neither emitted nor held: done
//			})
//		}, opts...)
//	}
package operators
