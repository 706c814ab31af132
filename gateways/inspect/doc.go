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
// It has no login and changes nothing. It shows names, counts, and the texts of errors, which may
// contain details of the application. Mount it where only its operators get to, such as on an
// internal port or behind a handler that authenticates them.
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
package inspect
