// Package durable keeps streamed replies in Redis, so that they outlive their callers. Processes
// and browsers that know the ID of a reply follow it from the beginning or from a cursor.
//
//	replies := durable.New(rdb, "answers", durable.Config{})
//	durable.Handle(svc, replies, "ask", func(ctx context.Context, q Question, w *durable.Writer[string]) error {
//		for _, word := range words(q)[w.Resume():] { // 0 in the first attempt
//			if err := w.Send(ctx, word); err != nil {
//				return err
//			}
//		}
//		return nil
//	})
//
//	ask := durable.Start[Question, string](client, replies, "ask")
//	id, err := ask(ctx, Question{"why?"})                       // returns at once
//	for item, err := range durable.Follow[string](ctx, replies, id, "") { … }
//	err = replies.Stop(ctx, id)                                  // from any process
//	mux.Handle("/answers/{id}", replies.Handler(durable.HTTPConfig{}))
//
// # A reply
//
// A reply is a short stream of values with an end. It is open until its handler returns: then it is
// done, or failed with the handler's error. Stop ends it as stopped, at once and for all followers,
// and cancels the context of the handler. An open reply expires Config.TTL after its last sign of
// life, and an ended one Config.Keep after its end. Config.MaxLen and Config.MaxBytes bound it: the
// oldest values are deleted.
//
// # Writers
//
// One writer at a time writes a reply. If its process dies, the request is delivered to another
// process after ServiceConfig.Lease, and the handler is called again: a second attempt. Each
// attempt fences the ones before it, so a process that only hung can write nothing more. An attempt
// continues if its handler calls [Writer.Resume], which returns how many values followers have.
// Otherwise it starts again: its first Send tells followers by a reset that all values before are
// void. After Config.MaxAttempts attempts the reply fails.
//
// # Followers
//
// A cursor is the ID of an entry, such as "1732360000000000-7"; "" is the beginning. It is valid in
// every process. A follower receives all values after its cursor, each once and in order, then live
// ones until the end. If values were deleted before the follower has read them, it receives a
// [*TrimmedError] that says how many. Unknown and expired IDs are [ErrUnknown]. A process reads
// each live reply once for all its followers.
//
// # HTTP
//
// [Replies.Handler] serves a reply under one URL. GET sends server-sent events, and a browser
// resumes by Last-Event-ID. A WebSocket handshake at the same URL opens a socket, which resumes by
// ?cursor=. DELETE stops the reply. [Replies.Protocol] serves replies, and streams that clients
// write, by the open Durable Streams protocol.
package durable
