// Package ws is a gateway for WebSockets: browsers and other clients talk with graphs, over as many processes as it takes.
//
//	hub := ws.NewHub(rdb, "chat", ws.HubConfig{Authenticate: bySessionCookie})
//	mux.Handle("GET /chat", hub)   // an http.Handler
//	err := hub.Run(ctx)            // and a graph
//
//	said := ws.Inbound[Line](rdb, "chat", source.StreamConfig[ws.Event[Line]]{})      // in any process
//	told := operators.Map(said, moderate)                                            // ws.Event[Line] to ws.Message[Line]
//	err := flow.New("chat", flow.To(told, ws.Outbound[Line](rdb, "chat", sink.StreamConfig[ws.Message[Line]]{}))).Run(ctx)
//
// # The words
//
// A Hub has sockets. What their clients send becomes an Event of the hub's inbound stream, which graphs share as a source, Inbound. A graph
// tells sockets by a Message, to a Room, a User, a Session or All, through the sink Outbound. Messages are in one log for the
// hub, which each process reads once. So each has a place, its cursor; a client that knows the last it has seen goes on behind it, on any
// process of the hub: nothing is missed and nothing comes twice, and what the log has no more is told as a gap.
//
// A session is a client over all its sockets; it takes a session up again by the token that it was given, which is signed. Who the
// user is, says Authenticate, when the socket is opened; nothing that a client sends changes it.
//
// # What is promised
//
// A message that was acknowledged is in Redis, once: the hub drops what a client sends again with the same id. What comes of it is
// up to the graphs, at least once by default. A socket is told its messages in the order of the log. Reading from a socket waits while its
// last message is on its way to Redis, so a client can't be faster than that. A client that reads slowly has no more than
// HubConfig.Queue messages waiting in memory; then HubConfig.Slow decides. When the hub ends, or a process of it, clients are
// told to reconnect, and go on elsewhere.
//
// A socket that is quiet costs a goroutine and some 14 KiB of heap and stack (BenchmarkIdle, with 10,000 of them). A message to many is encoded once, and
// frames that are there at once are written at once (BenchmarkBroadcast).
//
// # Keys
//
// All of a hub "chat" are in one slot: {chat}:in is the inbound stream, {chat}:out the log, and {chat}:seal what sessions are signed with.
//
// # Protocol
//
// Frames are text, each one JSON object without duplicate names, nested 32 deep at most. Members that are not
// mentioned are refused in frames of clients, and may be added to those of the server. An id is any string of up to 64 bytes that a client
// chooses; the answer has it too. A client begins with a hello:
//
//	{"kind":"hello","rooms":["lobby"]}
//	{"kind":"hello","rooms":["lobby"],"cursor":"1732…-0","resume":"…"}     to go on where it was
//
// Each of the members may be missing. The cursor is that of the last message it has seen; "0" is the beginning of the log, and a number of
// milliseconds a time. The server answers, and says which rooms the session is in, and which it may not be in:
//
//	{"kind":"hello","session":"…","user":"ann","resume":"…","resumed":true,"cursor":"1732…-0","rooms":["lobby"],"refused":["attic"]}
//
// After that clients send
//
//	{"kind":"join","id":"1","room":"lobby"}                         → joined
//	{"kind":"leave","id":"2","room":"lobby"}                        → left
//	{"kind":"send","id":"3","room":"lobby","type":"say","data":…}   → ack, when Redis has it; no room: to the application
//	{"kind":"call","id":"4","type":"price","data":…}                → reply; with "timeout":2000 in ms; with "stream":true → part …, end
//	{"kind":"cancel","id":"4"}                                      ends a call
//	{"kind":"ping","id":"5"}                                        → pong; for browsers, which can't see pings
//
// and the server
//
//	{"kind":"joined","id":"1","room":"lobby"}
//	{"kind":"left","id":"2","room":"lobby"}
//	{"kind":"ack","id":"3"}
//	{"kind":"reply","id":"4","data":…}
//	{"kind":"part","id":"4","data":…}                               of a streamed reply
//	{"kind":"end","id":"4"}                                         its end
//	{"kind":"pong","id":"5"}
//	{"kind":"error","id":"3","code":"not_joined","message":"…"}     instead of any of these
//	{"kind":"msg","cursor":"1732…-0","room":"lobby","from":"ann","type":"say","data":…}
//	{"kind":"cursor","cursor":"1732…-0"}                            so far there is nothing else for this session
//	{"kind":"gap","from":"1732…-0","to":"1733…-0","missed":12}      missed is left out where it is not known
//	{"kind":"bye","code":"closing","message":"…"}                   before the server goes away
//
// A send or a join without an id has no answer but an error. The codes of errors are bad_frame, hello_first, too_many_rooms, not_joined,
// forbidden, too_large, overloaded, unavailable (it was not taken), unknown (it may be taken yet: sending it again with its id is safe),
// closing; of calls those of package gateways, and cancelled.
//
// Sockets are closed with 1001 when the process goes or after IdleTimeout, 1003 after a binary frame, 1007 after what is no UTF-8, 1008 without a hello,
// 1009 after a frame that is too large, 1013 when the client is too slow and Slow is Close. Those that don't answer, or
// leave what was sent to them in their buffers, are closed without a word. Compression is never agreed on: it
// costs memory for each socket, and lets small frames become large ones.
//
// # Browsers
//
// A page can't set headers of its socket. It is known by its cookie, as any request of its host; or it passes a token as a subprotocol, see
// Token. Pages of other hosts are refused unless HubConfig.Origins has them, so that nobody's cookie opens a socket from elsewhere.
package ws
