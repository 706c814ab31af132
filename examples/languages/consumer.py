"""A member of a consumer group: consumer.py REDIS_URL STREAM GROUP NAME. redisio/WIRE.md has the rules."""
import contextlib, datetime, json, os, signal, sys, threading, time, redis, redis.backoff, redis.retry
url, stream, group, me = sys.argv[1:]
lease, most = int(os.getenv("LEASE_MS", "30000")), int(os.getenv("MAX_DELIVERIES", "16"))  # as in Go
BURY = """if not redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])[1] then return end
local e = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
for i = 4, e and #ARGV or 0 do table.insert(e[2], ARGV[i]) end
if e then redis.call('XADD', KEYS[2], 'MAXLEN', '~', 100000, '*', unpack(e[2])) end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])"""
def handle(id, fields):  # your work: it may see an entry again, and must finish a batch within the lease
    value = json.loads(fields[b"data"])
    if value["total"] < 0: raise RuntimeError("negative total")
    print(json.dumps({"id": id, "key": fields.get(b"key", b"").decode(), "value": value}), flush=True)
def deliver(id, fields, count):
    try:
        if count > most: raise RuntimeError("too many deliveries")
        handle(id.decode(), fields)
    except Exception as err:  # the entry stays pending, and any member takes it after the lease; bad data stays bad
        if count < most and not isinstance(err, (KeyError, ValueError)): return
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        r.eval(BURY, 2, stream, stream + ":dead", group, me, id, "dead:error", repr(err), "dead:attempts", count,
               "dead:id", id, "dead:key", stream, "dead:group", group, "dead:time", now)
    else: r.xack(stream, group, id)
r = redis.Redis.from_url(url, socket_timeout=5, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))  # no retries
with contextlib.suppress(redis.ResponseError): r.xgroup_create(stream, group, id="0", mkstream=True)  # it may exist
own, cursor, search, stop = "0", "0-0", 0.0, threading.Event()
for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, lambda *_: stop.set())
while not stop.is_set():
    try:
        if own:  # first what an earlier life, or a lost reply, has left pending for this name
            batch = r.xreadgroup(group, me, {stream: own}, count=1)[0][1]
            own = batch[-1][0] if batch else ""
        elif time.monotonic() > search:  # then, twice in a lease, what dead members have left
            cursor, batch, *_ = r.xautoclaim(stream, group, me, lease, cursor, count=1)
            if cursor == b"0-0": search = time.monotonic() + lease / 2000
        else: batch = (r.xreadgroup(group, me, {stream: ">"}, count=10, block=1000) or [[0, []]])[0][1]
        for id, fields in batch:  # those that are still pending for this member, with the server's count
            for p in r.xpending_range(stream, group, id, id, 1, me): deliver(id, fields, p["times_delivered"])
    except (redis.ConnectionError, redis.TimeoutError): own = stop.wait(1) or "0"
