/**
 * The client of a Streamerson hub: a session over a WebSocket that reconnects by itself.
 *
 *     import { connect } from "/chat.js";
 *
 *     const chat = connect("/chat", { rooms: ["lobby"] });
 *     chat.on("say", (line, message) => show(message.from, line));
 *     chat.onStatus((status) => lamp(status.state));          // "connecting", "open", "closed"
 *     chat.onGap((gap) => note(`${gap.missed ?? "some"} messages are gone`));
 *     await chat.send("say", { text: "hello" }, { room: "lobby" }); // Redis has it
 *     const price = await chat.call("price", { item: 7 });
 *
 * Runs in browsers and in Node 22 and newer, without dependencies. When the connection breaks, it
 * reconnects with growing, random delays to any server of the hub, continues after the last message
 * it has seen, joins its rooms, and sends unacknowledged messages again. No message is received
 * twice, and none is missed except those that a gap reports.
 *
 * A request that can never succeed is rejected once, with its code, and the session continues: for
 * example a message beyond the server's limits, or a room that the user may not join. If the server
 * refuses the user, the client stops connecting: the status is "refused" until retry().
 */

/** The subprotocol of hubs. */
const PROTOCOL = "streamerson.v1";

/**
 * The error of a failed request, from the hub or from this client.
 * `code` is one of the protocol, such as "not_joined", or one of a service.
 */
export class HubError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message || code);
    this.name = "HubError";
    this.code = code;
  }
}

/**
 * @typedef {object} Options
 * @property {string[]} [rooms] Rooms to join at the start.
 * @property {string} [since] Where to begin: the cursor of a message, "0" for the start of the log,
 *   or Unix milliseconds. Default: only new messages.
 * @property {State} [state] A former `session.state` to continue, for example after a page reload.
 * @property {string | (() => string | Promise<string>)} [token] For the server's ws.Token. A function
 *   is called before each connection.
 * @property {number} [minDelay] Milliseconds before the first reconnect; doubled before each further
 *   one. Default 250.
 * @property {number} [maxDelay] Upper limit of that delay. Default 30000.
 * @property {number} [silence] Milliseconds without a frame from the server after which the client
 *   pings it. If no answer arrives within the same time, but at most 10 seconds, the client
 *   reconnects. Time during which the page was suspended does not count. Default 30000; 0: never.
 * @property {number} [connectTimeout] Milliseconds that a connection may take, from the token to the
 *   server's hello. Default 10000.
 * @property {number} [maxPending] How many messages and calls may wait for answers. Default 1000.
 * @property {typeof WebSocket} [WebSocket] The class to use. Default: the global one.
 */

/**
 * @typedef {object} State What is needed to continue the session elsewhere. Keep it secret like a password.
 * @property {string} cursor
 * @property {string} resume
 * @property {string[]} rooms
 */

/**
 * @typedef {object} Message
 * @property {string} type
 * @property {any} data
 * @property {string} [room] Missing if the message is for this user, this session or all.
 * @property {string} [from] The user who sent it; missing if the application sent it.
 * @property {string} cursor
 * @property {boolean} [past] It was sent before the room was joined, see join().
 */

/**
 * @typedef {object} Status
 * @property {"connecting" | "open" | "refused" | "closed"} state "closed" follows close(), not a broken
 *   connection. "refused": the server refuses the user; the client does not connect before retry().
 * @property {string} [user] Of "open".
 * @property {string} [session] Of "open".
 * @property {boolean} [resumed] Of "open": the former session continues.
 * @property {string[]} [refused] Of "open": rooms that the user may no longer join.
 * @property {Object<string, string>} [reasons] Of "open": the codes of these, by room.
 * @property {number} [code] Of "connecting": the close code of the socket. Of "refused": the HTTP
 *   status, 401 or 403.
 * @property {string} [reason] Of "connecting" and "refused".
 */

/**
 * Opens a session. It connects at once, and reconnects when necessary until close().
 *
 * @param {string | URL} url Of the hub: "/chat", "https://…" or "wss://…".
 * @param {Options} [options]
 * @returns {Session}
 */
export function connect(url, options = {}) {
  return new Session(url, options);
}

/** A session. Make it with connect(). */
export class Session {
  #url;
  #options;
  #WebSocket;
  /** @type {WebSocket | null} */
  #socket = null;
  #open = false;
  #closed = false;
  #tries = 0;
  #opened = 0; // when the session opened; 0: it is not open
  #attempt = null; // the current connection attempt; events of older ones are ignored
  #limits = null; // of the server, from its hello
  #plain = null; // members to leave out of the hello: { cursor, resume, rooms } are true for refused ones
  #helloID = "";
  #refusal = null; // the HubError of "refused"
  #timer = null; // of the next attempt
  #watch = null; // timer that detects a silent server
  #heard = 0;
  #session = "";
  #user = "";
  #cursor = "";
  #resume = "";
  #rooms = new Set();
  /** Makes ids differ from those before a page reload, which the hub still remembers. */
  #prefix = Math.random().toString(36).slice(2, 10);
  #next = 1;
  /** Unanswered requests by id, in the order they were made. */
  #pending = new Map();
  #listeners = new Set();
  #hooks = { status: new Set(), gap: new Set(), error: new Set() };
  #online = () => this.#hurry();

  /** @param {string | URL} url @param {Options} options */
  constructor(url, options) {
    const base = globalThis.location?.href;
    this.#url = new URL(url, base);
    this.#url.protocol = this.#url.protocol.replace(/^http/, "ws");
    this.#options = { minDelay: 250, maxDelay: 30000, silence: 30000, connectTimeout: 10000, maxPending: 1000, ...options };
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!this.#WebSocket) throw new HubError("unsupported", "no WebSocket class: pass one as an option");
    this.#cursor = options.state?.cursor ?? options.since ?? "";
    this.#resume = options.state?.resume ?? "";
    for (const room of options.state?.rooms ?? options.rooms ?? []) this.#rooms.add(room);
    globalThis.addEventListener?.("online", this.#online);
    this.#connect();
  }

  /** The user as authenticated by the server; "" before the first connection. */
  get user() {
    return this.#user;
  }

  /** The id of the session; "" before the first connection. */
  get session() {
    return this.#session;
  }

  /** The rooms that the session has joined, or will join when connected. */
  get rooms() {
    return [...this.#rooms];
  }

  /** @returns {State} The option for connect() that continues the session, for example after a page reload. */
  get state() {
    return { cursor: this.#cursor, resume: this.#resume, rooms: this.rooms };
  }

  /**
   * Calls a function with each message of a type, of a room, or both; "*" is every type.
   *
   * @param {string | {type?: string, room?: string}} what
   * @param {(data: any, message: Message) => void} listener
   * @returns {() => void} Ends it.
   */
  on(what, listener) {
    const filter = typeof what === "string" ? { type: what } : what;
    const entry = { type: filter.type === "*" ? undefined : filter.type, room: filter.room, listener };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /** @param {(status: Status) => void} hook @returns {() => void} Ends it. */
  onStatus(hook) {
    return this.#hook("status", hook);
  }

  /**
   * Calls a function when messages are missing: the log was trimmed, or they arrived too fast.
   *
   * @param {(gap: {from: string, to: string, missed?: number}) => void} hook
   * @returns {() => void} Ends it.
   */
  onGap(hook) {
    return this.#hook("gap", hook);
  }

  /** Calls a function with errors that belong to no request. @param {(error: HubError) => void} hook */
  onError(hook) {
    return this.#hook("error", hook);
  }

  /**
   * Joins a room for the lifetime of the session. Rejects if that is not allowed.
   *
   * With since, a cursor as in connect(), listeners first receive the room's messages since then,
   * marked as `past`. The result has a gap if the log no longer has all of them.
   *
   * @param {string} room @param {{since?: string}} [how] @returns {Promise<{gap?: {from: string, to: string}}>}
   */
  join(room, how = {}) {
    const since = how.since;
    if (since === undefined) this.#rooms.add(room); // otherwise only its own frame joins it, not a hello
    return this.#ask({ kind: "join", room, since }).then(
      (frame) => {
        this.#rooms.add(room);
        return frame?.to ? { gap: { from: frame.from, to: frame.to } } : {};
      },
      (error) => {
        if (error.code !== "closed") this.#rooms.delete(room);
        throw error;
      },
    );
  }

  /**
   * Connects again after "refused", for example when the user has logged in. Otherwise it does nothing.
   */
  retry() {
    if (!this.#refusal || this.#closed) return;
    this.#refusal = null;
    this.#plain = null;
    this.#tries = 0;
    this.#fire("status", { state: "connecting" });
    this.#connect();
  }

  /** @param {string} room @returns {Promise<void>} */
  leave(room) {
    this.#rooms.delete(room);
    return this.#ask({ kind: "leave", room });
  }

  /**
   * Sends a message to a joined room, or to the application. Resolves when Redis has it. If the
   * connection breaks before that, the message is sent again, and accepted once. The hub's
   * documentation lists the codes of errors.
   *
   * @param {string} type @param {any} [data] @param {{room?: string}} [where] @returns {Promise<void>}
   */
  send(type, data = null, where = {}) {
    return this.#ask({ kind: "send", room: where.room, type, data });
  }

  /**
   * Calls a service and resolves with its answer. A call in flight when the connection breaks is
   * rejected with code "interrupted": the service may have carried it out.
   *
   * @param {string} type @param {any} [data]
   * @param {{timeout?: number, signal?: AbortSignal}} [how] A timeout in milliseconds; a signal that cancels the call.
   * @returns {Promise<any>}
   */
  call(type, data = null, how = {}) {
    return this.#ask({ kind: "call", type, data, timeout: how.timeout }, how.signal);
  }

  /**
   * Calls a service that answers with several values. Leaving the loop early cancels the call.
   *
   * @param {string} type @param {any} [data] @param {{timeout?: number, signal?: AbortSignal}} [how]
   * @returns {AsyncGenerator<any>}
   */
  async *stream(type, data = null, how = {}) {
    const parts = [];
    let wake = () => {};
    let end = null; // { } or { error } when the call has ended
    const stop = new AbortController();
    const signal = how.signal ? AbortSignal.any([how.signal, stop.signal]) : stop.signal;
    this.#ask({ kind: "call", type, data, timeout: how.timeout, stream: true }, signal, (part) => {
      parts.push(part);
      wake();
    }).then(
      () => (end = {}),
      (error) => (end = { error }),
    ).then(() => wake());
    try {
      for (;;) {
        while (parts.length > 0) yield parts.shift();
        if (end?.error) throw end.error;
        if (end) return;
        await new Promise((resolve) => (wake = resolve));
      }
    } finally {
      if (!end) stop.abort();
    }
  }

  /** Ends the session. Unanswered requests are rejected with code "closed". */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.("online", this.#online);
    const socket = this.#socket;
    this.#drop();
    socket?.close(1000);
    this.#reject(() => true, new HubError("closed", "session closed"));
    this.#fire("status", { state: "closed" });
  }

  // Connecting.

  async #connect() {
    this.#timer = null;
    const attempt = (this.#attempt = { socket: null, timer: null });
    const mine = () => this.#attempt === attempt;
    const { connectTimeout } = this.#options;
    if (connectTimeout) {
      attempt.timer = setTimeout(() => {
        if (!mine()) return;
        this.#broken({ code: 4000, reason: "connection timed out" });
      }, connectTimeout);
    }
    let socket;
    try {
      const { token } = this.#options;
      const secret = typeof token === "function" ? await token() : token;
      if (!mine()) return;
      socket = new this.#WebSocket(this.#url.href, secret ? [PROTOCOL, `bearer.${secret}`] : [PROTOCOL]);
    } catch (error) {
      if (!mine()) return;
      this.#fire("error", new HubError("unavailable", String(error?.message ?? error)));
      return this.#broken({ code: 1006, reason: "no connection" });
    }
    this.#socket = attempt.socket = socket;
    let opened = false;
    socket.onopen = () => {
      if (!mine()) return;
      opened = true;
      this.#hello();
      this.#listen();
    };
    socket.onmessage = (event) => {
      if (!mine()) return;
      let frame;
      try {
        frame = JSON.parse(event.data);
      } catch {
        this.#fire("error", new HubError("bad_frame", "server sent invalid JSON"));
        return this.#broken({ code: 1007, reason: "server sent invalid JSON" });
      }
      this.#take(frame);
    };
    socket.onerror = () => {
      if (mine() && !opened) this.#broken({ code: 1006, reason: "no connection" }); // some runtimes fire no close event
    };
    socket.onclose = (event) => {
      if (mine()) this.#closedBy(event);
    };
  }

  /** Sends the hello, without members that the server has refused before. */
  #hello() {
    const plain = this.#plain ?? {};
    const hello = { kind: "hello", id: (this.#helloID = `${this.#prefix}-${this.#next++}`) };
    if (!plain.rooms) hello.rooms = this.rooms;
    if (this.#cursor && !plain.cursor) hello.cursor = this.#cursor;
    if (this.#resume && !plain.resume) hello.resume = this.#resume;
    this.#socket.send(JSON.stringify(hello));
  }

  /** The server refused the hello. Leaves out the refused member, because it would be refused again. */
  #helloRefused(error) {
    if (error.code === "bad_cursor" && !this.#plain?.cursor) {
      this.#plain = { ...this.#plain, cursor: true };
      this.#cursor = "";
    } else if (error.code === "too_many_rooms" && !this.#plain?.rooms) {
      this.#plain = { ...this.#plain, rooms: true };
    } else if (["unavailable", "overloaded", "closing", "internal"].includes(error.code)) {
      return this.#broken({ code: 4000, reason: error.message });
    } else if (!this.#plain?.all) {
      this.#plain = { cursor: true, resume: true, rooms: true, all: true };
    } else {
      return this.#refused(error);
    }
    this.#fire("error", error);
    this.#hello();
  }

  /** The socket was closed. Some codes are final. */
  #closedBy(event) {
    const { code, reason } = event;
    if (code === 4401 && typeof this.#options.token === "function" && this.#tries === 0) return this.#broken(event); // try once with a new token
    if (code >= 4400 && code < 4500 && code !== 4408 && code !== 4425 && code !== 4429) {
      const name = { 4401: "unauthorized", 4403: "forbidden" }[code] ?? "refused";
      return this.#refused(new HubError(name, reason || "server refused the user"), code - 4000);
    }
    if (code === 1009 && this.#open) this.#tooLarge();
    if (code === 1009 && !this.#open) {
      if (this.#plain?.all) return this.#refused(new HubError("too_large", "server refused the smallest hello"));
      this.#plain = this.#plain?.rooms ? { cursor: true, resume: true, rooms: true, all: true } : { ...this.#plain, rooms: true }; // these members make it large
    }
    this.#broken(event);
  }

  /** A frame was too large for the server or a proxy: rejects the largest request that was sent. */
  #tooLarge() {
    let largest = null;
    for (const p of this.#pending.values()) if (p.sent && (!largest || p.text.length > largest.text.length)) largest = p;
    if (largest) this.#settle(largest.frame.id, (p) => p.reject(new HubError("too_large", "message too large for the server")));
  }

  /** Stops connecting. Requests are rejected until retry(). */
  #refused(error, status) {
    const socket = this.#socket;
    this.#drop();
    socket?.close();
    this.#refusal = error;
    this.#reject(() => true, error);
    this.#fire("error", error);
    this.#fire("status", { state: "refused", code: status, reason: error.message });
  }

  #broken(event) {
    const socket = this.#socket;
    if (this.#opened && Date.now() - this.#opened >= 5000) this.#tries = 0; // the connection was stable
    this.#drop();
    if (socket && socket.readyState < 2) socket.close();
    this.#reject((p) => p.sent && p.frame.kind === "call", new HubError("interrupted", "connection lost during the call"));
    this.#later({ code: event.code, reason: event.reason });
  }

  /** Forgets the socket, or the attempt to open one. */
  #drop() {
    clearTimeout(this.#watch);
    clearTimeout(this.#attempt?.timer);
    this.#attempt = null;
    this.#socket = null;
    this.#open = false;
    this.#opened = 0;
  }

  #later(why) {
    if (this.#closed || this.#timer || this.#refusal) return;
    const { minDelay, maxDelay } = this.#options;
    const most = Math.min(maxDelay, minDelay * 2 ** this.#tries++);
    this.#timer = setTimeout(() => this.#connect(), most / 2 + (Math.random() * most) / 2);
    this.#fire("status", { state: "connecting", ...why });
  }

  /** Reconnects at once when the browser reports that the network is back. */
  #hurry() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  /** Pings a silent server: a connection may be dead without a close event. */
  #listen() {
    const { silence } = this.#options;
    if (!silence) return;
    const patience = Math.min(silence, 10000);
    const wait = (step, ms) => {
      clearTimeout(this.#watch);
      this.#watch = setTimeout(step, ms);
      this.#watch.unref?.();
    };
    let asked = 0;
    const look = () => {
      const quiet = Date.now() - this.#heard;
      if (quiet < silence) return wait(look, silence - quiet);
      asked = Date.now();
      this.#socket.send('{"kind":"ping"}');
      // Two timers: after the page was suspended, queued frames of the server are handled between them.
      wait(() => wait(end, 20), patience);
    };
    const end = () => {
      if (this.#heard >= asked) return look();
      this.#broken({ code: 4000, reason: "server does not answer" });
    };
    this.#heard = Date.now();
    wait(look, silence);
  }

  // Frames.

  #take(frame) {
    this.#heard = Date.now();
    if (this.#open && frame.kind !== "bye" && frame.kind !== "error") this.#tries = 0; // a hello alone does not reset the delay
    switch (frame.kind) {
      case "msg":
        if (this.#cursor && !after(frame.cursor, this.#cursor)) return; // already received
        this.#cursor = frame.cursor;
        return this.#deliver(frame);
      case "past": {
        const p = this.#pending.get(frame.id);
        if (!p || (p.seen && !after(frame.cursor, p.seen))) return; // already received before the connection broke
        p.seen = frame.cursor;
        return this.#deliver(frame, true);
      }
      case "cursor":
        this.#cursor = frame.cursor;
        return;
      case "gap":
        this.#cursor = frame.to;
        return this.#fire("gap", { from: frame.from, to: frame.to, missed: frame.missed });
      case "part":
        return this.#pending.get(frame.id)?.part?.(frame.data);
      case "joined":
        return this.#settle(frame.id, (p) => p.resolve(frame));
      case "ack":
      case "left":
      case "reply":
      case "end":
        return this.#settle(frame.id, (p) => p.resolve(frame.data));
      case "hello":
        return this.#greeted(frame);
      case "error": {
        if (frame.code === "closing" && this.#pending.get(frame.id)?.frame.kind === "send") {
          this.#pending.get(frame.id).sent = false; // sent again to the next server
          return;
        }
        const error = new HubError(frame.code, frame.message);
        if (!this.#open) return this.#helloRefused(error);
        if (frame.id && this.#pending.has(frame.id)) return this.#settle(frame.id, (p) => p.reject(error));
        if (frame.code !== "cancelled") this.#fire("error", error); // a cancelled call is settled already
        return;
      }
    }
  }

  #greeted(hello) {
    clearTimeout(this.#attempt.timer);
    this.#open = true;
    this.#opened = Date.now();
    this.#limits = hello.limits ?? null;
    const { rooms: later } = this.#plain ?? {};
    this.#plain = null;
    this.#resume = hello.resume;
    this.#session = hello.session;
    this.#user = hello.user;
    if (!this.#cursor || !/-/.test(this.#cursor)) this.#cursor = hello.cursor;
    const refused = hello.refused ?? [];
    const joined = new Set(hello.rooms ?? []);
    for (const room of refused) this.#rooms.delete(room);
    for (const [id, p] of this.#pending) {
      const { kind, room } = p.frame;
      if (kind === "join" && p.frame.since === undefined && (joined.has(room) || refused.includes(room))) {
        const no = refused.includes(room) && new HubError(hello.reasons?.[room] ?? "forbidden", "not allowed to join here");
        this.#settle(id, (it) => (no ? it.reject(no) : it.resolve()));
      } else if (kind === "leave" && !joined.has(room)) {
        this.#settle(id, (it) => it.resolve());
      } else if (kind === "send" && p.sent && !hello.resumed) {
        const doubt = new HubError("unknown", "outcome unknown: the session was not resumed");
        this.#settle(id, (it) => it.reject(doubt));
      }
    }
    const status = { state: "open", user: hello.user, session: hello.session, resumed: Boolean(hello.resumed) };
    if (refused.length > 0) Object.assign(status, { refused, reasons: hello.reasons ?? {} });
    for (const p of [...this.#pending.values()]) this.#write(p);
    this.#fire("status", status); // its hooks may make requests
    if (later) for (const room of this.rooms) this.#joinLater(room, joined);
  }

  /** Joins a room that was left out of the hello. */
  #joinLater(room, joined) {
    if (joined.has(room)) return;
    for (const p of this.#pending.values()) if (p.frame.kind === "join" && p.frame.room === room) return;
    this.join(room).catch((error) => this.#fire("error", new HubError(error.code, `${room}: ${error.message}`)));
  }

  #deliver(frame, past) {
    const { type, data, room, from, cursor } = frame;
    for (const l of this.#listeners) {
      if (l.type !== undefined && l.type !== type) continue;
      if (l.room !== undefined && l.room !== room) continue;
      guard(() => l.listener(data, { type, data, room, from, cursor, ...(past && { past }) }));
    }
  }

  // Requests.

  #ask(frame, signal, part) {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new HubError("closed", "session closed"));
      if (this.#refusal) return reject(this.#refusal);
      if (signal?.aborted) return reject(new HubError("cancelled", "request cancelled"));
      if (this.#pending.size >= this.#options.maxPending) {
        return reject(new HubError("overloaded", `${this.#pending.size} requests are waiting: try again later`));
      }
      frame = { kind: frame.kind, id: `${this.#prefix}-${this.#next++}`, ...frame };
      let text;
      try {
        text = JSON.stringify(frame);
      } catch (error) {
        return reject(new HubError("bad_frame", String(error?.message ?? error)));
      }
      const cancel = () => {
        if (p.sent && this.#open) this.#socket.send(JSON.stringify({ kind: "cancel", id: frame.id }));
        this.#settle(frame.id, () => reject(new HubError("cancelled", "request cancelled")));
      };
      const p = { frame, text, part, sent: false, resolve, reject, done: () => signal?.removeEventListener("abort", cancel) };
      signal?.addEventListener("abort", cancel);
      this.#pending.set(frame.id, p);
      if (this.#open) this.#write(p);
    });
  }

  #write(p) {
    if (this.#socket.readyState !== 1) return; // closing: sent over the next socket
    const most = this.#limits?.message;
    if (most && 3 * p.text.length > most && new TextEncoder().encode(p.text).length > most) {
      return this.#settle(p.frame.id, (it) => it.reject(new HubError("too_large", `message exceeds ${most} bytes`)));
    }
    p.sent = true;
    this.#socket.send(p.text);
  }

  #settle(id, how) {
    const p = this.#pending.get(id);
    if (!p) return;
    this.#pending.delete(id);
    p.done();
    how(p);
  }

  #reject(which, error) {
    for (const [id, p] of this.#pending) if (which(p)) this.#settle(id, (it) => it.reject(error));
  }

  // Hooks.

  #hook(name, hook) {
    this.#hooks[name].add(hook);
    return () => this.#hooks[name].delete(hook);
  }

  #fire(name, value) {
    for (const hook of this.#hooks[name]) guard(() => hook(value));
  }
}

/** Reports whether cursor a is later than b. A cursor that is only a time is before all messages of that time. */
function after(a, b) {
  const [aMs, aSeq = -1] = a.split("-").map(Number);
  const [bMs, bSeq = -1] = b.split("-").map(Number);
  return aMs > bMs || (aMs === bMs && aSeq > bSeq);
}

/** Logs the error of a listener that throws, so that the others still run. */
function guard(f) {
  try {
    f();
  } catch (error) {
    globalThis.console?.error(error);
  }
}
