// Package projection computes views from the events of an eventstore.Store, and keeps them up to date.
//
// # The words
//
//   - A [Projection] has a name, a version, and a function Apply that turns each event into changes of
//     hashes, lists and sorted sets in Redis. It follows the logs of all partitions of the store.
//   - The view is the data that it makes. Readers find the live build of it with [Projection.Live].
//   - A rebuild computes another build from the first event, next to the live one. When it has caught
//     up, one step makes it live. Readers see the old build or the new one, and no mixture.
//
// A projection is a graph of package flow: give it to app.Run, or run [Projection.Graph] with a
// supervisor. It has two branches per partition: one for the live build and one for the next.
//
//	balances, err := projection.New(rdb, store, projection.Config[Event]{
//		Name: "balances", Version: 1,
//		Apply: func(ctx context.Context, tx *view.Tx, e eventstore.Event[Event]) error {
//			if d, ok := e.Value.(Deposited); ok {
//				tx.HIncrBy("balance", e.Aggregate, d.Amount)
//			}
//			return nil
//		},
//	})
//	err = app.Run(ctx, balances, server)
//
// # What is promised
//
// The changes of an event and the position behind it are written in one script, which compares the
// position first. So each event changes a build once: after a crash, a lost reply or a failover, and if
// two processes compute the same. Other effects of Apply, such as a mail, happen at least once: use
// Event.MessageID to recognise a repetition.
//
// Any number of processes may run a projection. One of them computes a partition, and the others
// stand by: they take over when its claim has lapsed (Config.Lease), or at once when it has ended.
//
// Events of a partition are applied in order, one after the other. If Apply returns an error, the
// event is tried again, with growing pauses and without limit, and the later events of its partition
// wait. The inspection page shows it. flow.Skip leaves the event out. flow.Reject does not: there are
// no dead letters.
//
// # Changing the code
//
// Increase Version when Apply changes. The processes of the new version build the view from the first
// event, while those of the old version keep the live build up to date. When the new build has caught
// up, it becomes live, and the old one is dropped after a grace. [Projection.Rebuild] does the same
// without a new version. [Projection.Progress] tells how far it is. To go back to an older version,
// call Rebuild in a process of it: processes of a lower version leave a live build as it is.
package projection
