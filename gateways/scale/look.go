package scale

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
)

// look asks Redis for a group and computes its backlog.
func (h *Handler) look(ctx context.Context, s Stream) (StreamBacklog, error) {
	b := StreamBacklog{Stream: s}
	group, err := admin.FindGroup(ctx, h.rdb, s.Key, s.Group)
	if redisio.IsMissing(err) || errors.Is(err, redisio.ErrNoGroup) {
		return b, h.absent(ctx, &b)
	}
	if err != nil {
		return b, err
	}
	b.Lag, b.Pending, b.AtLeast = group.Lag, group.Pending, group.LagAtLeast
	now, err := h.rdb.Time(ctx).Result()
	if err != nil {
		return b, err
	}
	b.Age = ageOf(group.Unread, now)
	before, err := h.progress(ctx, s)
	if err != nil {
		return b, err
	}
	settled, known := settledBy(group)
	after := progress{at: now, settled: settled, waits: b.Lag > 0, rate: before.rate}
	if known && (before.at.IsZero() || now.Sub(before.at) >= askedAgain) {
		after.learn(before)
		if err := h.keep(ctx, s, before, after); err != nil {
			b.Note = "the rate is not kept: " + err.Error()
		}
	}
	b.Rate = round(after.rate)
	b.Seconds = backlog(b.Age, b.Lag+b.Pending, after.rate, h.cfg.Max)
	return b, nil
}

// settledBy returns how many entries a group has settled. Redis may not know it, for example after
// the group's position was set.
func settledBy(g admin.GroupState) (n int64, known bool) {
	return g.Read - g.Pending, g.Read > 0 || g.Delivered == "0-0"
}

// absent fills in the backlog of a stream that is missing or has no such group.
func (h *Handler) absent(ctx context.Context, b *StreamBacklog) error {
	states, err := admin.InspectStreams(ctx, h.rdb, b.Key)
	if err != nil {
		return err
	}
	if !states[0].Exists {
		b.Missing = "stream"
		return nil
	}
	now, err := h.rdb.Time(ctx).Result()
	if err != nil {
		return err
	}
	b.Missing, b.Lag, b.Age = "group", states[0].Length, ageOf(states[0].First, now)
	b.Seconds = backlog(b.Age, b.Lag, 0, h.cfg.Max)
	return nil
}

// ageOf returns the seconds since an entry was added, or 0 if its ID is no time.
func ageOf(id string, now time.Time) float64 {
	at, err := redisio.ParseID(id)
	if id == "" || err != nil || at.Time().Before(oldestTime) || at.Time().After(now) {
		return 0
	}
	return round(now.Sub(at.Time()).Seconds())
}

// oldestTime is before Redis had streams: IDs with earlier times are no times.
var oldestTime = time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)

// backlog returns the seconds of backlog. rate is 0 if it is unknown.
func backlog(age float64, unsettled int64, rate float64, most time.Duration) float64 {
	if unsettled <= 0 {
		return 0
	}
	seconds := max(age, 1)
	if rate > 0 {
		seconds = max(age, float64(unsettled)/rate)
	}
	return min(max(round(seconds), 0.001), most.Seconds())
}

func round(v float64) float64 { return math.Round(v*1000) / 1000 }

// progress is how far a group was at a question.
type progress struct {
	at      time.Time
	settled int64   // entries since the group was created
	waits   bool    // entries waited to be read
	rate    float64 // settled entries per second, as learned; 0: unknown
}

const (
	// askedAgain is the shortest time between two points of progress. A shorter one would measure
	// single batches.
	askedAgain = time.Second
	// halfLife is the time after which a rate that was learned has half of the weight.
	halfLife = 40 * time.Second
	// ratesKept is how long a rate is kept without questions.
	ratesKept = 7 * 24 * time.Hour
)

// learn sets the rate from the progress since before.
func (p *progress) learn(before progress) {
	took, settled := p.at.Sub(before.at), p.settled-before.settled
	if before.at.IsZero() || took < askedAgain || settled < 0 { // less settled: the group was replaced
		return
	}
	rate := float64(settled) / took.Seconds()
	switch {
	case !p.waits || !before.waits: // it might have settled more
		p.rate = max(before.rate, rate)
	case settled == 0: // nothing runs, or nothing gets through
	case before.rate == 0:
		p.rate = rate
	default:
		old := math.Exp2(-took.Seconds() / halfLife.Seconds())
		p.rate = old*before.rate + (1-old)*rate
	}
}

// rateKey returns the key of a group's progress, in the slot of its stream.
func rateKey(s Stream) string { return redisio.Beside(s.Key, ":scale:"+s.Group) }

// progress returns what the last question has kept. It is zero before the first.
func (h *Handler) progress(ctx context.Context, s Stream) (p progress, err error) {
	kept, err := h.rdb.HGetAll(ctx, rateKey(s)).Result()
	if err != nil || len(kept) == 0 {
		return p, err
	}
	at, _ := strconv.ParseInt(kept["at"], 10, 64) // an invalid one is like none
	p.settled, _ = strconv.ParseInt(kept["settled"], 10, 64)
	p.rate, _ = strconv.ParseFloat(kept["rate"], 64)
	p.waits = kept["waits"] == "1"
	if at <= 0 || math.IsNaN(p.rate) || math.IsInf(p.rate, 0) || p.rate < 0 {
		return progress{}, nil
	}
	p.at = time.UnixMilli(at)
	return p, nil
}

// keepScript stores progress, unless another process has done so since.
var keepScript = redis.NewScript(`
local at = redis.call("hget", KEYS[1], "at")
if (at or "0") ~= ARGV[1] then return 0 end
redis.call("hset", KEYS[1], "at", ARGV[2], "settled", ARGV[3], "waits", ARGV[4], "rate", ARGV[5])
redis.call("pexpire", KEYS[1], ARGV[6])
return 1`)

func (h *Handler) keep(ctx context.Context, s Stream, before, after progress) error {
	was, waits := int64(0), 0
	if !before.at.IsZero() {
		was = before.at.UnixMilli()
	}
	if after.waits {
		waits = 1
	}
	return keepScript.Run(ctx, h.rdb, []string{rateKey(s)}, was, after.at.UnixMilli(), after.settled, waits,
		strconv.FormatFloat(after.rate, 'g', -1, 64), ratesKept.Milliseconds()).Err()
}
