package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
)

// streams are the Redis keys of one run, in which any number of processes may take part.
type streams struct {
	name   string
	lines  string // the text
	counts string // the result
	dead   string // lines given up, of which there should be none
	state  string // a plain key: loading or loaded
	group  string // the consumer group that counts
}

func streamsOf(name string) streams {
	return streams{name: name, lines: name + ":lines", counts: name + ":counts", dead: name + ":lines:dead",
		state: name + ":state", group: "count"}
}

const (
	loading = "loading"
	loaded  = "loaded"
)

// load claims the name and runs the graph that loads the lines. After an interruption it deletes
// everything.
func (s streams) load(ctx context.Context, rdb redis.UniversalClient, g *flow.Graph, screen *cli.Screen) error {
	if err := s.claim(ctx, rdb); err != nil {
		return err
	}
	_, err := watch(ctx, screen, g, loadLine, func() bool { return false })
	if err == nil && ctx.Err() != nil {
		fmt.Println("interrupted while loading: nothing is counted, and the lines are deleted")
	}
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, s.delete(context.WithoutCancel(ctx), rdb))
	}
	return rdb.Set(ctx, s.state, loaded, 0).Err()
}

// claim reserves the name for loading. It deletes the streams of an earlier run that has finished.
func (s streams) claim(ctx context.Context, rdb redis.UniversalClient) error {
	for range 2 {
		free, err := rdb.SetNX(ctx, s.state, loading, 0).Result()
		if free || err != nil {
			return err
		}
		state, err := rdb.Get(ctx, s.state).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		if state == loading {
			return fmt.Errorf("-name %s is being loaded by another process, or was when that one was killed: "+
				"use another name, or redis-cli DEL %s", s.name, s.state)
		}
		if unread, pending, err := s.left(ctx, rdb); err != nil {
			return err
		} else if unread+pending > 0 {
			return fmt.Errorf("-name %s is loaded and not finished: finish it with -name %s -join, or use another name",
				s.name, s.name)
		}
		if err := s.delete(ctx, rdb); err != nil {
			return err
		}
	}
	return fmt.Errorf("-name %s is used by another process: use another name", s.name)
}

// await waits until the lines are loaded.
func (s streams) await(ctx context.Context, rdb redis.UniversalClient, waiting func()) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for told := false; ; told = true {
		state, err := rdb.Get(ctx, s.state).Result()
		switch {
		case ctx.Err() != nil, state == loaded:
			return nil
		case errors.Is(err, redis.Nil):
			return fmt.Errorf(
				"nothing is loaded under -name %s: start wordcount -name %s first, on the same server",
				s.name,
				s.name,
			)
		case err != nil:
			return err
		case !told:
			waiting()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// left returns how many lines no process has read yet, and how many are read but not settled. It
// checks the last delivered line before the group's lag, which some servers do not know.
func (s streams) left(ctx context.Context, rdb redis.UniversalClient) (unread, pending int64, err error) {
	last, err := rdb.XRevRangeN(ctx, s.lines, "+", "-", 1).Result()
	if err != nil || len(last) == 0 {
		return 0, 0, err
	}
	groups, err := rdb.XInfoGroups(ctx, s.lines).Result()
	if err != nil {
		return 0, 0, err
	}
	for _, g := range groups {
		if g.Name != s.group {
			continue
		}
		if g.LastDeliveredID == last[0].ID {
			return 0, g.Pending, nil
		}
		return max(1, g.Lag), g.Pending, nil
	}
	unread, err = rdb.XLen(ctx, s.lines).Result() // no group yet
	return unread, 0, err
}

func (s streams) delete(ctx context.Context, rdb redis.UniversalClient) error {
	var errs []error
	for _, key := range []string{s.lines, s.counts, s.dead, s.state} { // one by one, for Redis Cluster
		errs = append(errs, rdb.Del(ctx, key).Err())
	}
	return errors.Join(errs...)
}
