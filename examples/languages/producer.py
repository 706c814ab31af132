"""Writes entries: producer.py REDIS_URL STREAM: one JSON value a line. redisio/WIRE.md has the rules."""
import json, sys, time, uuid, redis, redis.backoff, redis.retry
url, stream = sys.argv[1:]
# The client must not repeat a write by itself: if the first one succeeded, the second is a duplicate without a mark.
r = redis.Redis.from_url(url, socket_timeout=5, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))


def produce(value, type="", key="", headers=(), tries=10):
    """Returns the new entry's ID. If it is written twice, both have the same id, so readers can drop one."""
    entry = {"data": json.dumps(value), "id": str(uuid.uuid4())}
    entry.update({name: text for name, text in (("type", type), ("key", key)) if text})
    entry.update({"h:" + name: text for name, text in headers})
    for left in reversed(range(tries)):
        try:
            return r.xadd(stream, entry).decode()  # no MAXLEN: it drops entries that groups have not read
        except (redis.ConnectionError, redis.TimeoutError):
            if left == 0:
                raise
            entry["dup"] = "1"  # the entry may be in the stream already
            time.sleep(1)


for line in sys.stdin:
    order = json.loads(line)
    print(produce(order, type="order", key=order.get("customer", ""), headers=[("source", "python")]), flush=True)
