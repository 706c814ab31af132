// Package jobs runs work in the background that a caller can follow and cancel.
//
//	type Picture struct{ URL string }
//	q := jobs.New[Picture, Thumbs](rdb, "thumbnails", jobs.Config{})
//	defer q.Close(ctx)
//	id, _, err := q.Submit(ctx, Picture{url}, jobs.Priority("high"))  // returns at once
//	err = q.Work(func(ctx context.Context, t jobs.Task[Picture, Thumbs]) (Thumbs, error) { … }).Run(ctx)
//	mux.Handle("/jobs", q.HTTP(jobs.HTTPConfig[Picture]{}))
//	mux.Handle("/jobs/{id}", q.HTTP(jobs.HTTPConfig[Picture]{}))
//
// # The words
//
// A [Queue] is a name in Redis, with a stream for each priority. A [Job] is the state of a job. Any
// process reads it with [Queue.Get], waits for its end with [Queue.Wait], follows it with
// [Queue.Watch], and cancels it with [Queue.Cancel]. States are kept for a time after the end
// (Config.Keep), and expire.
//
// A worker is a graph. [Queue.Work] makes the usual one: a function per job. [Queue.Source] is for
// graphs of your own: it emits a [Task] for each attempt of a job. A job is done when everything made
// of its task is done, as an entry of any source is. It is tried again as the fault policy of the
// graph says, up to Config.MaxAttempts times, and then is a dead letter of the stream. A handler that
// returns flow.Reject fails the job at once, and one that returns flow.RetryAfter chooses the delay.
//
// # Progress
//
// A graph that makes several messages of a task has progress without any code. The state has the
// number of messages that are done (Progress.Settled of Progress.Leaves) and the stages that work
// on them. It also has the last failure with the time of its retry. [Task.Progress] reports more.
//
// # What is promised
//
// A job is handled at least once, as entries of streams are: its effects must be idempotent. If a
// worker dies, another takes its jobs over when their lease expires. A completion and a cancel are
// decided in Redis: one of them wins, and the other gets an [*EndedError]. The result of a worker
// that was suspended and lost its job is dropped. A cancelled job that waits never starts; the
// context of a handler that works on one is done, with the cause [ErrCancelled].
//
// If a failover of Redis loses the latest changes of a state, the worker records them again.
//
// # Priorities
//
// Each priority has a weight. While all have jobs, a round takes as many jobs of each as its weight,
// highest first. With the weights 16, 4 and 1, a job with the lowest priority is next after at most
// 20 others. A worker has at most Config.Running jobs at a time, and takes no job before it can
// begin it, apart from one or few of each priority that it has read ahead.
//
// # Scheduled and recurring jobs
//
// [At] and [In] submit a job for later. [Queue.Sink] submits the messages of a graph, such as the
// ticks of source/cron, once each although ticks may be delivered twice.
//
// # Operating
//
// [Queue.Depths] counts what waits, runs, is scheduled and is dead, by priority; package metrics shows
// it to Prometheus. [Config.Access] has the rights of a Redis user; the command streams acl -jobs
// prints them. Dead letters are handled with package redisio/dead: a job that is written back begins
// again.
package jobs
