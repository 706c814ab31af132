// Package sse serves Redis Streams to browsers as server-sent events.
//
//	feed := sse.New(rdb, sse.Config{Authenticate: sessionUser, Feed: feedOf})
//	mux.Handle("GET /events", feed)
//
// A [Handler] serves any stream of native entries, such as the events that package events publishes.
// A browser that reconnects, to any process, receives the events it missed. [ServeStream] sends a
// streamed reply of a service as events.
package sse
