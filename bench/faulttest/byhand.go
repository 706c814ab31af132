package faulttest

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
)

// habits are the mistakes of a hand-written worker. Without any, the worker is correct: the
// control.
type habits struct {
	acksFirst      bool // acks before the work is done
	neverReclaims  bool // never reclaims entries of dead workers
	claimsHeld     bool // claims entries that others are processing
	rewrites       bool // repeats all earlier writes when a write fails
	dropsAtTerm    bool // acks unfinished entries at SIGTERM
	abandonsAtTerm bool // leaves unfinished entries pending at SIGTERM
	diesOfPoison   bool // stops reading silently at a poisoned message
	dropsPoison    bool // acks it without a dead letter
	buriesTwice    bool // writes a dead letter, and then another with the ack
	neverHeals     bool // never recreates a lost group
	leaks          bool // leaks a goroutine for each message
	reverses       bool // reverses the order within a batch
}

// variants maps names to hand-written workers.
var variants = map[string]habits{
	"correct":               {},
	"acks first":            {acksFirst: true},
	"never reclaims":        {neverReclaims: true},
	"claims what is held":   {claimsHeld: true},
	"rewrites all":          {rewrites: true},
	"drops at SIGTERM":      {dropsAtTerm: true},
	"abandons at SIGTERM":   {abandonsAtTerm: true},
	"dies of poison":        {diesOfPoison: true},
	"drops poison":          {dropsPoison: true},
	"buries twice":          {buriesTwice: true},
	"never heals the group": {neverHeals: true},
	"leaks goroutines":      {leaks: true},
	"reverses batches":      {reverses: true},
}

// hand is a worker that uses go-redis directly, with the mistakes that users make.
type hand struct {
	habits
	job      job
	diary    *diary
	rdb      redis.UniversalClient
	out      redis.UniversalClient
	me       string
	written  []redis.XMessage // for variants that repeat writes
	poisoned bool
}

const (
	handBatch    = 16
	handPatience = 30 * time.Second // a reply that is late, because the machine is busy, is no lost one
)

func (j job) byHand(ctx context.Context, d *diary) error {
	h := &hand{habits: variants[j.Variant], job: j, diary: d, me: "hand-" + strconv.Itoa(os.Getpid()) + "-0"}
	in, err := redis.ParseURL(j.URL)
	if err != nil {
		return err
	}
	in.MaxRetries = -1 // retries would hide the mistakes
	in.ReadTimeout = handPatience
	h.rdb = redis.NewClient(in)
	defer h.rdb.Close()
	if h.out = h.rdb; j.OutputURL != "" {
		out, err := redis.ParseURL(j.OutputURL)
		if err != nil {
			return err
		}
		out.ReadTimeout = handPatience
		h.out = redis.NewClient(out)
		defer h.out.Close()
	}
	d.keep(nil)
	return h.run(ctx)
}

func (h *hand) run(ctx context.Context) error {
	h.group()
	from, reclaim := "0", time.Now()
	for ctx.Err() == nil || from == "0" && !h.abandonsAtTerm { // what is pending is finished
		if h.poisoned && h.diesOfPoison {
			<-ctx.Done()
			return nil
		}
		asked := time.Now()
		if !h.neverReclaims && asked.After(reclaim) {
			reclaim = asked.Add(h.job.Lease / 2)
			if h.claimsHeld {
				reclaim = time.Time{}
			}
			if !h.reclaim(ctx, asked) {
				from = "0"
				continue
			}
		}
		streams, err := h.rdb.XReadGroup(noEnd, &redis.XReadGroupArgs{Group: h.job.Group, Consumer: h.me,
			Streams: []string{h.job.Input, from}, Count: handBatch, Block: h.job.Block}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			if redisio.IsMissing(err) && !h.neverHeals {
				h.group()
			}
			from = "0" // a reply may have been lost
			if sleep(ctx, 20*time.Millisecond) != nil {
				return nil
			}
			continue
		}
		if len(streams) == 0 || len(streams[0].Messages) == 0 {
			from = ">"
			continue
		}
		if !h.batch(ctx, streams[0].Messages, asked) {
			from = "0"
		}
	}
	return nil
}

// noEnd is the context of work that must finish even after the worker was asked to end.
var noEnd = context.Background()

func (h *hand) group() {
	for range 100 { // the server may be down
		err := h.rdb.XGroupCreateMkStream(noEnd, h.job.Input, h.job.Group, "0").Err()
		if err == nil || redis.HasErrorPrefix(err, "BUSYGROUP") {
			return
		}
		_ = sleep(noEnd, 20*time.Millisecond)
	}
}

// reclaim claims entries that others have held for longer than the lease, and handles them as batch does.
func (h *hand) reclaim(ctx context.Context, asked time.Time) (all bool) {
	idle := h.job.Lease
	if h.claimsHeld {
		idle = 0
	}
	entries, _, err := h.rdb.XAutoClaim(noEnd, &redis.XAutoClaimArgs{Stream: h.job.Input, Group: h.job.Group,
		Consumer: h.me, MinIdle: idle,
		Start: "0", Count: handBatch}).
		Result()
	return err != nil || h.batch(ctx, entries, asked)
}

// batch handles, writes and acks messages, with the variant's mistakes. It stops in the middle of the
// lease, which began when the entries were asked for: on a slow machine others may have claimed the
// rest. Reading what is pending renews the lease of those that are still its own.
func (h *hand) batch(ctx context.Context, entries []redis.XMessage, asked time.Time) (all bool) {
	if len(entries) == 0 {
		return true
	}
	ids := make([]string, len(entries))
	for i := range entries {
		ids[i] = entries[i].ID
	}
	if h.acksFirst {
		h.ack(ids)
	}
	if h.reverses {
		slices.Reverse(entries)
	}
	for _, e := range entries {
		if ctx.Err() != nil && h.dropsAtTerm {
			h.ack(ids)
			return true
		}
		if ctx.Err() != nil && h.abandonsAtTerm {
			return true
		}
		if time.Since(asked) > h.job.Lease/2 && !h.acksFirst && ctx.Err() == nil {
			return false
		}
		h.one(e)
	}
	return true
}

func (h *hand) one(e redis.XMessage) {
	h.diary.handled.Add(1)
	if h.leaks {
		go func() { select {} }() // this variant's mistake
	}
	data, _ := e.Values["data"].(string)
	if strings.Contains(data, `"poison"`) {
		h.bury(e, data)
		return
	}
	_ = sleep(noEnd, h.job.Work/4)
	h.written = append(h.written, e)
	for {
		err := h.out.XAdd(noEnd, &redis.XAddArgs{Stream: h.job.Output, Values: e.Values}).Err()
		if err == nil {
			break
		}
		if h.rewrites {
			for _, old := range h.written {
				_ = h.out.XAdd(noEnd, &redis.XAddArgs{Stream: h.job.Output, Values: old.Values}).Err()
			}
		}
		_ = sleep(noEnd, 20*time.Millisecond)
	}
	if !h.rewrites {
		h.written = h.written[:0]
	}
	if !h.acksFirst {
		h.ack([]string{e.ID})
	}
}

// bury writes a dead letter and acks its entry in one transaction.
func (h *hand) bury(e redis.XMessage, data string) {
	h.poisoned = true
	if h.diesOfPoison {
		return
	}
	why := "deadline exceeded"
	for _, p := range poisons {
		if p != poisonHang && strings.Contains(data, `"poison":"`+p) {
			why = "poison " + p
		}
	}
	tx := h.rdb.TxPipeline()
	if !h.dropsPoison {
		letter := &redis.XAddArgs{Stream: h.job.Input + ":dead",
			Values: []any{"data", data, "dead:id", e.ID, "dead:error", why, "dead:key", h.job.Input}}
		if tx.XAdd(noEnd, letter); h.buriesTwice {
			tx.XAdd(noEnd, letter)
		}
	}
	tx.XAck(noEnd, h.job.Input, h.job.Group, e.ID)
	_, _ = tx.Exec(noEnd) // after a failure the next reclaim finds the entry again
}

func (h *hand) ack(ids []string) {
	for h.rdb.XAck(noEnd, h.job.Input, h.job.Group, ids...).Err() != nil {
		_ = sleep(noEnd, 20*time.Millisecond)
	}
}
