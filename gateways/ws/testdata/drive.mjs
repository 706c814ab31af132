// Drives the client for the tests: a line of JSON on stdin is a call of a method, lines on stdout are what came of it and what happened.
import { createInterface } from "node:readline";

const [, , script, url] = process.argv;
const { connect } = await import(script);
const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const delays = []; // of the client's timers
const { setTimeout: later } = globalThis;
globalThis.setTimeout = (f, ms, ...args) => {
  if (new Error().stack.includes("client.mjs")) delays.push(ms);
  return later(f, ms, ...args);
};

let session;
const slow = 120000; // a busy machine may be silent for long
const methods = {
  connect(options) {
    session = connect(url, { minDelay: 10, maxDelay: 100, connectTimeout: slow, silence: slow, ...options });
    session.on("*", (data, m) => tell({ event: "msg", data, room: m.room, from: m.from, cursor: m.cursor, past: m.past }));
    session.onStatus((status) => tell({ event: status.state, data: status }));
    session.onGap((gap) => tell({ event: "gap", data: gap }));
    session.onError((error) => tell({ event: "error", data: error.code + ": " + error.message }));
  },
  send: (type, data, where) => session.send(type, data, where),
  join: (room, how) => session.join(room, how),
  retry: () => session.retry(),
  leave: (room) => session.leave(room),
  call: (type, data, how) => session.call(type, data, how),
  async abort(type, data) {
    const stop = new AbortController();
    const answer = session.call(type, data, { signal: stop.signal });
    setTimeout(() => stop.abort(), 50);
    return answer;
  },
  async stream(type, data, most) {
    const parts = [];
    for await (const part of session.stream(type, data)) {
      parts.push(part);
      if (parts.length === most) break;
    }
    return parts;
  },
  state: () => session.state,
  delays: () => delays,
  stall: (ms) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms), // as a page does that is busy, or asleep
  close: () => session.close(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, args } = JSON.parse(line);
  Promise.resolve()
    .then(() => methods[method](...args))
    .then(
      (result) => tell({ id, data: result ?? null }),
      (error) => tell({ id, error: error.code ?? String(error) }),
    );
}
