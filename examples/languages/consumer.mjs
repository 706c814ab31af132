// A member of a consumer group: node consumer.mjs REDIS_URL STREAM GROUP NAME. redisio/WIRE.md has the rules.
import { setTimeout as sleep } from "node:timers/promises";
import { createClient, ErrorReply } from "redis";
const [url, stream, group, me] = process.argv.slice(2);
const lease = Number(process.env.LEASE_MS ?? 30000), most = Number(process.env.MAX_DELIVERIES ?? 16); // as in Go
const BURY = `if not redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])[1] then return end
local e = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
for i = 4, e and #ARGV or 0 do table.insert(e[2], ARGV[i]) end
if e then redis.call('XADD', KEYS[2], 'MAXLEN', '~', 100000, '*', unpack(e[2])) end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])`;
async function handle(id, fields) { // your work: it may see an entry again, and must finish a batch within the lease
  const value = JSON.parse(fields.data ?? "");
  if (value.total < 0) throw new Error("negative total");
  console.log(JSON.stringify({ id, key: fields.key ?? "", value }));
}
const r = createClient({ url, RESP: 2, disableOfflineQueue: true }); // it repeats no command
const send = (...words) => r.sendCommand(words.map(String));
const read = async (...words) => (await send("XREADGROUP", "GROUP", group, me, ...words))?.[0][1] ?? [];
await r.on("error", (err) => console.error(err.message)).connect(); // it reconnects by itself
await send("XGROUP", "CREATE", stream, group, 0, "MKSTREAM").catch(() => {}); // it may exist
let own = "0", cursor = "0-0", search = 0, stop = false, batch;
for (const s of ["SIGINT", "SIGTERM"]) process.on(s, () => { stop = true; });
while (!stop) try {
  if (own) { // first what an earlier life, or a lost reply, has left pending for this name
    own = (batch = await read("COUNT", 1, "STREAMS", stream, own)).at(-1)?.[0];
  } else if (Date.now() > search) { // then, twice in a lease, what dead members have left
    [cursor, batch] = await send("XAUTOCLAIM", stream, group, me, lease, cursor, "COUNT", 1);
    if (cursor === "0-0") search = Date.now() + lease / 2;
  } else batch = await read("COUNT", 10, "BLOCK", 1000, "STREAMS", stream, ">");
  for (const [id, f] of batch) for (const p of await send("XPENDING", stream, group, id, id, 1, me)) {
    const fields = Object.fromEntries((f ?? []).map((name, i) => [name, f[i + 1]]).filter((_, i) => i % 2 === 0));
    const err = p[3] > most ? Error("too many deliveries") : await handle(id, fields).catch((err) => err);
    if (!err) await send("XACK", stream, group, id);
    else if (p[3] >= most || err instanceof SyntaxError) // bad data stays bad; else any member takes it after the lease
      await send("EVAL", BURY, 2, stream, stream + ":dead", group, me, id, "dead:error", err, "dead:attempts", p[3],
        "dead:id", id, "dead:key", stream, "dead:group", group, "dead:time", new Date().toISOString());
  }
} catch (err) { if (err instanceof ErrorReply) throw err; own = await sleep(1000, "0"); }
r.destroy();
