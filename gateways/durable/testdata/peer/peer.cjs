// Uses a server of the Durable Streams protocol with the client of that protocol from npm. Prints JSON, one line
// for each result.
const { DurableStream, IdempotentProducer, stream } = require("@durable-streams/client");

const [role, url, argument] = process.argv.slice(2);
const say = (v) => console.log(JSON.stringify(v));

const roles = {
  // Reads a reply of text as it is written, from an offset or from the beginning, to its end.
  async follow() {
    const [live, offset] = argument.split(" ");
    const res = await stream({ url, offset: offset || "-1", live });
    await new Promise((done, failed) => {
      res.closed.catch(failed);
      res.subscribeText(async (chunk) => {
        say({ text: chunk.text, offset: chunk.offset, closed: chunk.streamClosed ?? false });
        if (chunk.streamClosed) done();
      });
    });
    say({ end: true });
  },
  // Reads what there is.
  async read() {
    const res = await stream({ url, live: false });
    say({ items: await res.json() });
  },
  // Writes a stream, once with numbers of a producer, and reads it back.
  async write() {
    const s = await DurableStream.create({ url, contentType: "application/json", ttlSeconds: 60 });
    await s.append(JSON.stringify({ n: 1 }));
    const producer = new IdempotentProducer(s, "test", { autoClaim: true });
    for (const n of [2, 3]) producer.append(JSON.stringify({ n }));
    await producer.flush();
    await producer.close();
    const head = await s.head();
    const res = await stream({ url, live: false });
    say({ items: await res.json(), type: head.contentType, closed: head.streamClosed });
    await DurableStream.delete({ url });
    say({ exists: (await DurableStream.head({ url }).catch((e) => e.status ?? e.code)) });
  },
};

roles[role]().catch((e) => {
  say({ error: String(e), status: e.status });
  process.exit(1);
});
