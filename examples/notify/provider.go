package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Provider simulates the service that delivers by one channel: it fails now and then, limits its
// rate, and accepts each idempotency key once. Its state is in Redis, as if it ran elsewhere, so
// all processes use the same one.
type Provider struct {
	rdb  redis.UniversalClient
	name string
	fail float64 // the share of calls that fail
}

var (
	errDown    = errors.New("the provider does not answer")
	errLimited = errors.New("the provider refuses more requests in this second")
	errNobody  = errors.New("the provider knows no such address")
)

const (
	acceptedMost = 10_000 // idempotency keys that a provider remembers
	logMost      = 40     // lines of the delivery log
)

// perSecond is how many requests a provider takes, by its mode.
var perSecond = map[string]int64{"ok": 100, "failing": 100, "limited": 2}

// Accept takes a delivery. Half of the failures happen after that, like a reply that is lost. The
// sender then sends the delivery again.
func (p *Provider) Accept(ctx context.Context, d Delivery) error {
	mode, err := p.rdb.HGet(ctx, key("provider:"+p.name), "mode").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	switch {
	case p.name == "push" && d.User == "eve": // she has no device
		return errNobody
	case mode == "failing" || rand.Float64() < p.fail/2:
		return p.refuse(ctx, "failed", errDown)
	}
	second := key("rate:" + p.name + ":" + strconv.FormatInt(time.Now().Unix(), 10))
	pipe := p.rdb.Pipeline()
	n := pipe.Incr(ctx, second)
	pipe.Expire(ctx, second, time.Minute)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	if most, known := perSecond[mode]; n.Val() > most && known || n.Val() > perSecond["ok"] {
		return p.refuse(ctx, "limited", errLimited)
	}
	if err := p.take(ctx, d); err != nil {
		return err
	}
	if rand.Float64() < p.fail/2 {
		return p.refuse(ctx, "failed", errDown)
	}
	return nil
}

// refuse increments the counter of a refusal and returns its error.
func (p *Provider) refuse(ctx context.Context, counter string, why error) error {
	return errors.Join(why, p.rdb.HIncrBy(ctx, key("provider:"+p.name), counter, 1).Err())
}

// take delivers, unless the idempotency key is known.
func (p *Provider) take(ctx context.Context, d Delivery) error {
	accepted := key("accepted:" + p.name)
	added, err := p.rdb.ZAddNX(ctx, accepted, redis.Z{Score: float64(time.Now().UnixMilli()), Member: d.ID}).Result()
	if err != nil {
		return err
	}
	if added == 0 {
		return p.rdb.HIncrBy(ctx, key("provider:"+p.name), "duplicates", 1).Err()
	}
	what := d.Notes[0].Title
	if len(d.Notes) > 1 {
		what = fmt.Sprintf("digest of %d notes", len(d.Notes))
	}
	pipe := p.rdb.Pipeline()
	pipe.ZRemRangeByRank(ctx, accepted, 0, -acceptedMost-1)
	pipe.Expire(ctx, accepted, keptFor)
	pipe.LPush(ctx, key("log"), time.Now().Format("15:04:05 ")+p.name+" to "+d.User+": "+what)
	pipe.LTrim(ctx, key("log"), 0, logMost-1)
	pipe.Expire(ctx, key("log"), keptFor)
	pipe.Expire(ctx, key("provider:"+p.name), keptFor)
	_, err = pipe.Exec(ctx)
	return err
}

// Set chooses how the provider behaves: ok, failing or limited.
func (p *Provider) Set(ctx context.Context, mode string) error {
	return p.rdb.HSet(ctx, key("provider:"+p.name), "mode", mode).Err()
}

// Report is the state of a provider, and of the stream that leads to it.
type Report struct {
	Name       string `json:"name"`
	Mode       string `json:"mode"`
	Accepted   int64  `json:"accepted"`
	Duplicates int64  `json:"duplicates"`
	Failed     int64  `json:"failed"`
	Limited    int64  `json:"limited"`
	Waiting    int64  `json:"waiting"`
	Dead       int64  `json:"dead"`
}

// Report returns the state.
func (p *Provider) Report(ctx context.Context) (Report, error) {
	pipe := p.rdb.Pipeline()
	all, accepted := pipe.HGetAll(ctx, key("provider:"+p.name)), pipe.ZCard(ctx, key("accepted:"+p.name))
	waiting, dead := pipe.XLen(ctx, key(p.name)), pipe.XLen(ctx, key(p.name)+":dead")
	_, err := pipe.Exec(ctx)
	count := func(name string) int64 {
		n, _ := strconv.ParseInt(all.Val()[name], 10, 64) // missing: 0
		return n
	}
	r := Report{p.name, all.Val()["mode"], accepted.Val(), count("duplicates"), count("failed"), count("limited"),
		waiting.Val(), dead.Val()}
	if r.Mode == "" {
		r.Mode = "ok"
	}
	return r, err
}
