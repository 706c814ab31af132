// Package inspect serves a page that shows an application as it runs: its graphs with their
// bottlenecks, services, hubs and faults, in all its processes.
//
//	show := parts.New().Service(orders).Client(stock)
//	ctx = show.Watch(ctx) // also each graph that starts with ctx
//	page := inspect.New(rdb, show, inspect.Config{App: "shop"})
//	admin.Handle("/inspect/", page)
//	err := app.Run(ctx, orders, app.Closing(stock.Close), server, page)
//
// The page needs no build step and loads nothing from elsewhere. It uses relative links only, so it
// may be mounted below any path that ends with a slash. report.json, below the same path, is the
// state of one process as data.
//
// # Security
//
// The page has no login. It shows names, counts, and the texts of errors, which may contain details
// of the application. Mount it where only its operators get to, such as on an internal port or
// behind a handler that authenticates them.
//
// By default the page changes nothing and shows no payloads. With Config.AllowActions its viewers
// may pause, resume and drain graphs, and replay, edit and drop dead letters. With
// Config.ShowPayloads they also see the values of dead letters. Both need Config.Authorize:
//
//	inspect.Config{App: "shop", AllowActions: true, Authorize: mayAct}
//
//	func mayAct(r *http.Request, a inspect.Action) (string, error) {
//		user, err := login(r)
//		if err == nil && a.Do == inspect.ActDrop && !user.Admin {
//			err = errors.New("only administrators drop dead letters")
//		}
//		return user.Name, err
//	}
//
// The log has one line at Info for each action, each refusal, and each look at a payload. The line has
// the viewer, the action, the graph or the key and the IDs, and the result. It never has a payload.
//
// The page takes actions from its own origin only. A Content-Security-Policy forbids all scripts but
// the page's own, and all texts are shown as text. The page reads only streams that a graph names as
// its dead letters, or that are in Config.DeadKeys.
//
// A process carries out what the pages of other processes ask for if it has AllowActions itself. It
// trusts all that may write to the keys of the application in Redis: see Config.Access. A command
// is void after four seconds, and is carried out at most once.
//
// # Processes
//
// Page.Run publishes the state of its process to Redis each two seconds, compressed, in one key that
// expires. Any process's page shows all processes of the same App and Redis. It adds up graphs and
// parts of the same name, and marks processes that are gone without having said so. It forgets them
// after ten minutes. At most 200 processes are shown. While Redis is away, the page shows what its
// own process knows, and says so.
//
// The keys start with inspect:{App}: and need the rights of Access.
//
// # Cost
//
// A process without open pages pays for its own report only. With open pages, however many, it reads
// the reports of the other processes and adds them up about once a second. If that computes for longer
// than 1 % of the time of all its processors (GOMAXPROCS), it does so less often, but at least each ten
// seconds. The page tells how old its figures are if they are older than two seconds. After an action
// the pages are up to date for five seconds, whatever that costs.
//
// An application of 20 processes, each with 50 graphs of 30 stages, was measured on a server with two
// cores (BenchmarkLargeApplication). A refresh took 110 ms to read the reports and 34 ms to add them up.
// So the page is refreshed each 7 s. An application of a tenth of that size is refreshed each second.
//
// # What do I look at when lag grows?
//
// The list puts graphs with trouble first. Open the graph with the growing backlog. Its headline names the
// cause; these are the common ones:
//
//   - "price is busy 98 % of the time; its input is full": the stage price limits the graph. Make its
//     handler faster, give it flow.Workers, or run more processes.
//   - A sink is the busiest stage: what it writes to is slow. Write larger chunks (flow.ChunkSize), or
//     look at the database behind it.
//   - No stage is busy, and the source's "in flight" is at its limit: entries are held, for example
//     until a batch is complete or a retry is due. Raise flow.MaxInFlight, or shorten the wait.
//   - No stage is busy and little is in flight: the source cannot read. See the recent events for
//     restarts, and the log for the errors of its backend.
//   - "Messages fail at …": see the recent faults below, with their entry, stage and error. Retries take
//     the time that other messages wait.
//   - "Stuck: a call of … has not returned": a handler waits without a deadline. Give its calls one.
//   - "Paused": resume the graph. "Processes are gone": start them again; their entries are taken over
//     after the lease.
//   - Nothing of this, and all stages are below half: one process reads as fast as it can. Run more.
//
// # Why did entries die, and what do I do?
//
// "Dead letters" lists the streams of dead letters. Open a stream, then the newest letter: it has the
// error with all that it wraps, the stage, the attempts, and where the entry came from.
//
//   - Many letters with one error of something that was away, such as "connection refused": check that
//     it is back, then replay one. If that one does not return, select and replay the rest. For
//     thousands, use "streams dead replay KEY -error refused -rate 100" of the command
//     redisio/cmd/streams: a page has 50.
//   - "decode" errors: a producer writes what this version can't read. Deploy the version that can,
//     then replay. If few are wrong, edit and replay them.
//   - "rejected": a handler decided that the entry is invalid. Fix the producer, and drop the letter,
//     or edit and replay it.
//   - A panic, which has a stack: it is a bug of the stage. Pause the graph if it kills all entries,
//     deploy the fix, resume, and replay.
//   - Attempts at the limit, and an error that names no cause: the process died with the entry, for
//     example out of memory. Look at the size of the entry before you replay it.
//   - The letter has no fields: the entry was trimmed before it died. Raise the MaxLen of the stream.
//     There is nothing to replay: drop it.
//
// A replayed entry is a new entry: all groups of its stream read it, also those that had settled the
// old one. If that is wrong, replay it to a stream of its own with the command streams.
package inspect
