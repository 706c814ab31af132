// Package ws is a gateway for WebSockets: browsers and other clients talk with graphs, over as many
// processes as it takes.
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
// A Hub has sockets. What their clients send becomes an Event of the hub's inbound stream, which
// graphs share as a source, Inbound. A graph tells sockets by a Message, to a Room, a User, a
// Session or All, through the sink Outbound. Messages are in one log for the hub, which each
// process reads once. So each has a place, its cursor; a client that knows the last it has seen
// goes on behind it, on any process of the hub: nothing is missed and nothing comes twice, and what
// the log has no more is told as a gap.
//
// A session is a client over all its sockets; it takes a session up again by the token that it was
// given, which is signed. Who the user is, says Authenticate, when the socket is opened; nothing
// that a client sends changes it.
//
// # What is promised
//
// A message that was acknowledged is in Redis, once: the hub drops what a client sends again with
// the same id. What comes of it is up to the graphs, at least once by default. A socket is told its
// messages in the order of the log. Reading from a socket waits while its last message is on its
// way to Redis, so a client can't be faster than that. A client that reads slowly has no more than
// HubConfig.Queue messages waiting in memory; then HubConfig.Slow decides. When the hub ends, or a
// process of it, clients are told to reconnect, and go on elsewhere.
//
// A socket that is quiet costs a goroutine and some 14 KiB of heap and stack (BenchmarkIdle, with
// 10,000 of them). A message to many is encoded once, and frames that are there at once are written
// at once (BenchmarkBroadcast).
//
// # Keys
//
// All of a hub "chat" are in one slot: {chat}:in is the inbound stream, {chat}:out the log, and
// {chat}:seal what sessions are signed with.
//
// # Protocol
//
// Frames are text, each one JSON object without duplicate names, nested 32 deep at most. Members that are not
// mentioned are refused in frames of clients, and may be added to those of the server. An id is any
// string of up to 64 bytes that a client chooses; the answer has it too. A client begins with a
// hello:
//
//	{"kind":"hello","rooms":["lobby"]}
//	{"kind":"hello","rooms":["lobby"],"cursor":"1732…-0","resume":"…"}     to go on where it was
//
// Each of the members may be missing. The cursor is that of the last message it has seen; "0" is
// the beginning of the log, and a number of milliseconds a time. A time that has not come yet is
// now. The server answers with the rooms that the session is in, those that were refused with their
// codes, and its limits, beyond which nothing ever succeeds (bytes of a frame, of names and of ids;
// rooms of a session; calls in flight):
//
//	{"kind":"hello","session":"…","user":"ann","resume":"…","resumed":true,"cursor":"1732…-0","rooms":["lobby"],
//	 "refused":["attic"],"reasons":{"attic":"forbidden"},
//	 "limits":{"message":65536,"rooms":64,"calls":16,"name":128,"id":64}}
//
// A hello that is refused as a whole, as for a bad_cursor, may be followed by another one on the
// same socket.
//
// After that clients send
//
//	{"kind":"join","id":"1","room":"lobby"}                         → joined
//	{"kind":"join","id":"1","room":"lobby","since":"1732…-0"}       → past …, joined: first what was said there
//	{"kind":"leave","id":"2","room":"lobby"}                        → left
//	{"kind":"send","id":"3","room":"lobby","type":"say","data":…}   → ack, when Redis has it; no room: to the application
//	{"kind":"call","id":"4","type":"price","data":…}                → reply; with "timeout":2000 in ms; with "stream":true → part …, end
//	{"kind":"cancel","id":"4"}                                      ends a call
//	{"kind":"ping","id":"5"}                                        → pong; for browsers, which can't see pings
//
// and the server
//
//	{"kind":"joined","id":"1","room":"lobby"}                       with "from" and "to" if some of it is gone
//	{"kind":"past","id":"1","cursor":"1732…-0","room":"lobby",…}    a message that was said before; the rest as in msg
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
// A send or a join without an id has no answer but an error. An error has the id of the frame,
// wherever it stands in it, unless the frame is no JSON before it, or the id is too long. The codes
// of errors are bad_frame, bad_cursor, hello_first, too_many_rooms, not_joined, forbidden,
// too_large, overloaded, unavailable (it was not taken), unknown (it may be taken yet: sending it
// again with its id is safe), closing; of calls those of package gateways, and cancelled.
//
// Sockets are closed with 1001 when the process goes or after IdleTimeout, 1003 after a binary
// frame, 1007 after what is no UTF-8, 1008 without a hello, 1008 by Disconnect too, 1009 after a
// frame that is too large, 1013 when the client is too slow and Slow is Close. Those that don't
// answer, or leave what was sent to them in their buffers, are closed without a word. Compression
// is never agreed on: it costs memory for each socket, and lets small frames become large ones.
//
// # Browsers
//
// A page can't set headers of its socket. It is known by its cookie, as any request of its host; or
// it passes a token as a subprotocol, see Token. Pages of other hosts are refused unless
// HubConfig.Origins has them, so that nobody's cookie opens a socket from elsewhere. A page can't
// see the status of a handshake either. A client that asks for the subprotocol streamerson.v1, as
// Script does, gets a socket that is closed at once with 4401 when Authenticate refuses it, and
// with 4403 when it, or its page, is forbidden. Other clients get the HTTP status.
//
// # Bounds
//
// A socket may send Rate frames a second, control frames included, and its user UserBytes. What
// sockets say takes at most MaxBytes of Redis, and the log at most MaxBytes of Outbound, both 64
// MiB by default. Beyond that, and when Redis is out of memory, clients are told "overloaded" at
// once.
package ws
