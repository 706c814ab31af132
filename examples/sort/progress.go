package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const showEvery = 200 * time.Millisecond

// phase logs that a phase begins, and shows its progress until the result is called: how many entries
// its streams have. Entries are deleted when they are done.
func (j *job) phase(ctx context.Context, name string, streams ...string) (end func()) {
	began := time.Now()
	j.log.Info(name)
	ctx, cancel := context.WithCancel(ctx)
	var shown sync.WaitGroup
	shown.Go(func() {
		every := time.NewTicker(showEvery)
		defer every.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
			}
			line := fmt.Sprintf("%s: %.1f s", name, time.Since(began).Seconds())
			if n, err := j.entries(ctx, streams); err == nil && len(streams) > 0 {
				line += fmt.Sprintf(", %d entries are left", n)
			}
			j.screen.Show(line)
		}
	})
	return func() {
		cancel()
		shown.Wait()
		j.screen.Clear()
		fmt.Printf("%-20s %8.2fs\n", name, time.Since(began).Seconds())
	}
}

// entries returns the number of entries that streams have.
func (j *job) entries(ctx context.Context, streams []string) (n int64, err error) {
	lengths, err := j.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range streams {
			p.XLen(ctx, key)
		}
		return nil
	})
	for _, l := range lengths {
		n += l.(*redis.IntCmd).Val()
	}
	return n, err
}
