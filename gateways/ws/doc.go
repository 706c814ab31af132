// Package ws is a WebSocket gateway: it connects browsers and other clients to graphs, across any
// number of processes.
//
//	hub := ws.NewHub(rdb, "chat", ws.HubConfig{Authenticate: bySessionCookie})
//	mux.Handle("GET /chat", hub)   // an http.Handler
//	err := hub.Run(ctx)            // and a graph
//
//	said := ws.Inbound[Line](rdb, "chat", source.StreamConfig[ws.Event[Line]]{}) // in any process
//	told := operators.Map(said, moderate) // ws.Event[Line] to ws.Message[Line]
//	outbound := ws.Outbound[Line](rdb, "chat", sink.StreamConfig[ws.Message[Line]]{})
//	err := flow.New("chat", flow.To(told, outbound)).Run(ctx)
//
// # The words
//
// A Hub owns the sockets of one process. Each frame that a client sends becomes an Event in the
// hub's inbound stream, which graphs read through the source Inbound and share between them. A
// graph sends a Message to a Room, a User, a Session or All through the sink Outbound. A hub has
// one log for all messages, which each process reads once. The position of a message in the log is
// its cursor. A client that reconnects with the cursor of the last message it has seen continues
// after it, on any process of the hub: it misses no message and receives none twice. If the log has
// been trimmed, the client receives a gap.
//
// A session is one client across all its sockets. The client resumes it with a signed token, which
// it receives in the hello. Authenticate identifies the user during the handshake; no later frame
// changes the user.
//
// # In the page
//
// [Script] serves a client for browsers, without dependencies:
//
//	import { connect } from "/chat.js";
//	const chat = connect("/chat", { rooms: ["lobby"] });          // reconnects by itself
//	chat.on("say", (line, message) => show(message.from, line.text));
//	await chat.send("say", { text: "hello" }, { room: "lobby" }); // Redis has it
//
// # What is promised
//
// An acknowledged message is in Redis exactly once: the hub drops a message that a client sends
// again with the same id. Graphs process it at least once by default. A socket receives its
// messages in the order of the log. The hub does not read the next frame of a socket until the last
// message has been written to Redis, so a client cannot send faster than Redis accepts. At most
// HubConfig.Queue messages wait in memory for a slow client; HubConfig.Slow defines what happens
// beyond that. When a hub or one of its processes stops, it asks its clients to reconnect, and they
// continue on another process.
//
// An idle socket costs one goroutine and about 14 KiB of heap and stack (BenchmarkIdle, with 10,000
// of them). A message to many sockets is encoded once, and frames that are ready at the same time
// are written together (BenchmarkBroadcast).
//
// # Keys
//
// All keys of a hub "chat" are in one slot: {chat}:in is the inbound stream, {chat}:out the log,
// and {chat}:seal the secret that signs sessions.
//
// # Protocol
//
// Frames are text. Each is one JSON object without duplicate names, nested at most 32 levels deep.
// Unknown members are refused in frames of clients; the server may add members to its own frames.
// An id is any string of up to 64 bytes that the client chooses; the answer repeats it. A client
// begins with a hello:
//
//	{"kind":"hello","rooms":["lobby"]}
//	{"kind":"hello","rooms":["lobby"],"cursor":"1732…-0","resume":"…"}     to continue where it was
//
// All other members are optional. The cursor is that of the last message the client has seen; "0"
// is the beginning of the log, and a number of milliseconds is a time. A time in the future means
// now. The server answers with the rooms that the session has joined, and the refused rooms with
// their codes. It adds its limits: bytes of a frame, of names and of ids; rooms of a session; calls
// in flight. A request beyond a limit never succeeds:
//
//	{"kind":"hello","session":"…","user":"ann","resume":"…","resumed":true,"cursor":"1732…-0","rooms":["lobby"],
//	 "refused":["attic"],"reasons":{"attic":"forbidden"},
//	 "limits":{"message":65536,"rooms":64,"calls":16,"name":128,"id":64}}
//
// If a hello is refused as a whole, for example with bad_cursor, the client may send another one on
// the same socket.
//
// After that clients send
//
//	{"kind":"join","id":"1","room":"lobby"}                         → joined
//	{"kind":"join","id":"1","room":"lobby","since":"1732…-0"}       → past … (what was sent before), joined
//	{"kind":"leave","id":"2","room":"lobby"}                        → left
//	{"kind":"send","id":"3","room":"lobby","type":"say","data":…}   → ack, when Redis has it; room is optional
//	{"kind":"call","id":"4","type":"price","data":…}                → reply; with "timeout":2000 in ms
//	{"kind":"call","id":"4","type":"all","stream":true,"data":…}    → part …, end
//	{"kind":"cancel","id":"4"}                                      ends a call
//	{"kind":"ping","id":"5"}                                        → pong; for browsers, which see no pings
//
// and the server
//
//	{"kind":"joined","id":"1","room":"lobby"}                       with "from" and "to" if part of the past was trimmed
//	{"kind":"past","id":"1","cursor":"1732…-0","room":"lobby",…}    sent before the join; the rest as in msg
//	{"kind":"left","id":"2","room":"lobby"}
//	{"kind":"ack","id":"3"}
//	{"kind":"reply","id":"4","data":…}
//	{"kind":"part","id":"4","data":…}                               a value of a streamed reply
//	{"kind":"end","id":"4"}                                         the end of a streamed reply
//	{"kind":"pong","id":"5"}
//	{"kind":"error","id":"3","code":"not_joined","message":"…"}     instead of any of these
//	{"kind":"msg","cursor":"1732…-0","room":"lobby","from":"ann","type":"say","data":…}
//	{"kind":"cursor","cursor":"1732…-0"}                            no other message up to here
//	{"kind":"gap","from":"1732…-0","to":"1733…-0","missed":12}      missed is left out if it is not known
//	{"kind":"bye","code":"closing","message":"…"}                   before the server shuts down
//
// A send or a call may have the members "traceparent", "tracestate" (up to 512 bytes) and "baggage" (up
// to 8 KiB) of the W3C. Then the message or the request belongs to that trace. An invalid traceparent
// is ignored. Messages to sockets carry no trace.
//
// A send or a join without an id is answered only by an error. An error carries the id of the
// frame, wherever the id stands in it, unless the JSON is broken before the id, or the id is too
// long. The codes of errors are bad_frame, bad_cursor, hello_first, too_many_rooms, not_joined,
// forbidden, too_large, overloaded, unavailable, unknown and closing. After unavailable the message
// was not accepted. After unknown it may still be accepted; sending it again with the same id is
// safe. Calls also fail with the codes of package gateways, and with cancelled.
//
// The codes by which a socket is closed:
//   - 1001 when the process stops, or after IdleTimeout;
//   - 1003 after a binary frame;
//   - 1007 after a frame that is not UTF-8;
//   - 1008 if the hello is missing, and by Disconnect;
//   - 1009 after a frame that is too large;
//   - 1013 when the client is too slow and Slow is Close.
//
// A client that does not answer pings, or does not read what was sent to it, is disconnected
// without a close frame. Compression is never negotiated: it costs memory for each socket, and lets
// small frames expand to large ones.
//
// # Browsers
//
// A page cannot set headers of its WebSocket. Its cookie identifies it, like any request to its
// host, or it passes a token as a subprotocol (see Token). Pages of other hosts are refused unless
// HubConfig.Origins lists them, so no foreign page can open a socket with a user's cookie. A page
// cannot see the status of a handshake either. So if a client asks for the subprotocol
// streamerson.v1, as Script does, the hub opens the socket and closes it at once. The code is 4401
// when Authenticate refuses the client, and 4403 when the client or its page is forbidden. Other
// clients receive the HTTP status.
//
// # Rights
//
// On a server with ACLs the processes of a hub are a separate role, see [HubConfig.Access]:
//
//	streams acl -user web -hub chat -client orders | redis-cli    (-client: for HubConfig.Calls)
//
// # Bounds
//
// A socket may send Rate frames a second, control frames included, and its user may send UserBytes
// a second. The inbound stream takes at most MaxBytes of Redis, and the log at most the MaxBytes of
// Outbound; both default to 64 MiB. Beyond that, and when Redis is out of memory, clients receive
// "overloaded" at once.
package ws
