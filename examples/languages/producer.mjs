// Writes entries: node producer.mjs REDIS_URL STREAM, one JSON value a line on standard input. redisio/WIRE.md has the
// rules.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient, ErrorReply } from "redis";

const [url, stream] = process.argv.slice(2);
// The client repeats no command that it may have sent. Without a queue, commands fail while there is no connection.
const r = createClient({ url, disableOfflineQueue: true });
r.on("error", (err) => console.error(err.message)); // it reconnects by itself
await r.connect();

// produce returns the ID of the new entry. A value written twice has the same id in both entries, so readers can drop
// one.
async function produce(value, { type, key, headers = {}, tries = 10 } = {}) {
  const entry = { data: JSON.stringify(value), id: randomUUID() };
  if (type) entry.type = type;
  if (key) entry.key = key;
  for (const [name, text] of Object.entries(headers)) entry["h:" + name] = text;
  for (;;) {
    try {
      return await r.xAdd(stream, "*", entry); // no MAXLEN: it drops entries that groups have not read
    } catch (err) {
      if (err instanceof ErrorReply || --tries === 0) throw err;
      entry.dup = "1"; // the entry may be in the stream already
      await sleep(1000);
    }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  console.log(await produce(order, { type: "order", key: order.customer, headers: { source: "node" } }));
}
await r.close();
