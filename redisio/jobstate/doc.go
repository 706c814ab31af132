// Package jobstate keeps the states of jobs in Redis. Package gateways/jobs is made of it.
//
// A job is an entry of a stream and a hash with its state. [Store.Submit] writes both in one step.
// The worker calls [Store.Begin] for each attempt, [Store.Report] while it works, and [Store.End].
// [Store.Cancel] may come at any time, from any process. Each of them is one script, so of a cancel
// and a completion one wins, and the other gets an [*EndedError]. A worker that has lost its job to
// another gets [ErrStale], and changes nothing.
//
// Each change is also an entry of the stream of notices, with all of the state but its result, so
// that any number of watchers need one read. A Store of the name thumbnails uses these keys, all in
// one slot:
//
//	{thumbnails}:jobs:normal    the stream of the jobs of a priority
//	{thumbnails}:job:<id>       the state of a job
//	{thumbnails}:key:<hash>     the ID of the job that has a unique key
//	{thumbnails}:notices        changes of states; kept for an hour, at most about 10,000
//	{thumbnails}:recent         the IDs of the newest jobs
//
// All of them expire.
package jobstate
