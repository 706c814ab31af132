package inspect

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// shared is the reports of all processes in Redis: one key for each process, which expires, and an
// index of when each of them published last. Keys of one application are in one slot.
type shared struct {
	rdb    redis.UniversalClient
	own    string // the id of this process
	prefix string // of all keys
	index  string // a sorted set: ids, scored by the server's time in milliseconds
	key    string // prefix of the keys of reports

	seen     map[string]float64 // the scores of the reports that the board has; guarded by its mutex
	unpacker unpacker           // guarded by it too
}

const (
	publishEvery = 2 * time.Second
	goneAfter    = 7 * time.Second  // without a report
	forgetAfter  = 10 * time.Minute // the report and the process
	maxProcesses = 200
	redisTimeout = time.Second
)

func newShared(rdb redis.UniversalClient, app, own string) *shared {
	prefix := prefixOf(app)
	return &shared{
		rdb: rdb, own: own, prefix: prefix, index: prefix + "processes", key: prefix + "report:",
		seen: make(map[string]float64),
	}
}

// bounded returns a client that waits at most d for a reply. By default, go-redis does not apply the
// deadline of a context to a reply. A cluster client keeps its own timeouts.
func bounded(rdb redis.UniversalClient, d time.Duration) redis.UniversalClient {
	c, ok := rdb.(*redis.Client)
	if !ok {
		return rdb
	}
	if own := c.Options().ReadTimeout; own > 0 && own <= d {
		return rdb
	}
	return c.WithTimeout(d) // it shares the connections
}

func prefixOf(app string) string { return "inspect:{" + app + "}:" }

// publishScript: KEYS report, index. ARGV report, id, milliseconds to keep it, most processes. It
// removes processes that have not published for so long.
const publishScript = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return now`

// publish writes the report of this process.
func (s *shared) publish(ctx context.Context, r *Report) error {
	packed, err := pack(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	keys := []string{s.key + s.own, s.index}
	return s.rdb.Eval(ctx, publishScript, keys, packed, s.own, forgetAfter.Milliseconds(), maxProcesses).Err()
}

// leave removes the report of this process, and what it was asked for.
func (s *shared) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, s.key+s.own, s.todo(s.own))
		p.ZRem(ctx, s.index, s.own)
		return nil
	})
	return err
}

// read updates the board with the reports of the other processes. It returns a notice if Redis does
// not answer. Then the board keeps for a while what it has.
func (s *shared) read(ctx context.Context, b *board) (notice string) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	last, now, err := s.members(ctx)
	if err == nil {
		err = s.fetch(ctx, b, last, now)
	}
	if err == nil {
		return ""
	}
	for id, p := range b.processes {
		if id != s.own && time.Since(p.seen) > goneAfter+b.pause {
			s.forget(b, id)
		}
	}
	return "Redis does not answer, so this page shows what this process knows: " + short(err.Error())
}

func (s *shared) forget(b *board, id string) {
	delete(b.processes, id)
	delete(s.seen, id)
}

// members returns the index, and the server's time, in milliseconds.
func (s *shared) members(ctx context.Context) (last map[string]float64, now float64, err error) {
	pipe := s.rdb.Pipeline()
	all := pipe.ZRevRangeWithScores(ctx, s.index, 0, maxProcesses-1)
	clock := pipe.Time(ctx)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, 0, err
	}
	last = make(map[string]float64)
	for _, z := range all.Val() {
		if id, ok := z.Member.(string); ok && id != s.own {
			last[id] = z.Score
		}
	}
	return last, float64(clock.Val().UnixMilli()), nil
}

// fetch reads the reports that are newer than those of the board, and forgets processes that are no
// longer in the index.
func (s *shared) fetch(ctx context.Context, b *board, last map[string]float64, now float64) error {
	for id := range b.processes {
		if _, known := last[id]; !known && id != s.own {
			s.forget(b, id)
		}
	}
	pipe, replies := s.rdb.Pipeline(), make(map[string]*redis.StringCmd)
	for id, at := range last {
		if s.seen[id] != at {
			replies[id] = pipe.Get(ctx, s.key+id)
		}
	}
	if len(replies) > 0 {
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	began := time.Now()
	defer func() { b.work += time.Since(began) }()
	for id, reply := range replies {
		packed, err := reply.Bytes()
		if err != nil {
			continue // it has expired since
		}
		if r, err := s.unpacker.unpack(packed); err == nil && r.Process == id { // else of another version
			s.seen[id] = last[id]
			b.put(r)
		}
	}
	for id, at := range last {
		if p := b.processes[id]; p != nil {
			age := time.Duration(now-at) * time.Millisecond
			p.seen, p.gone = time.Now().Add(-age), age > goneAfter
		}
	}
	return nil
}

// pack encodes and compresses a report.
func pack(r *Report) ([]byte, error) {
	text, err := r.encode()
	if err != nil {
		return nil, fmt.Errorf("inspect: encode the report: %w", err)
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err == nil {
		_, err = w.Write(text)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("inspect: compress the report: %w", err)
	}
	return b.Bytes(), nil
}
