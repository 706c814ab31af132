package held

// Idea of this file: an entry of ours that is not pending for us may be pending for another, who
// has taken it over: it is lost to us. Or it is pending for nobody. Then either another took it
// over and is done with it, or somebody deleted the consumer, or the group, and another reader made
// that again. Others take over what has no live lease only. So while our lease had not lapsed, by
// our own clock, which began to run before the server's did, it can only be the latter, and we put
// the entry back into the pending list. Else the former is nearly always true. Where this is wrong,
// because somebody took entries by hand and finished them, it costs a duplicate and loses nothing.
//
// What was given back is open to all when it has fallen due, and its absence says nothing by
// itself. It stays in doubt until the next look at those whose leases live, and at our consumer: if
// one of them is missing, the list was lost, and all comes back.

// Ask is what is asked for an entry: its idle time, with how many deliveries to restore it, 0 for not at all, and the
// number of the delivery that does not count, 0 if all do.
type Ask struct {
	Id            string
	Idle, N, Undo int64
	Free          int64 // 1: move it to ReleasedConsumer; 2: to SuspectsConsumer
}
