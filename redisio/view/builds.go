package view

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

var (
	// ErrBuilding is returned by Rebuild while another build is computed.
	ErrBuilding = errors.New("view: another build is being computed; wait, or abandon it")
	// ErrNoBuild reports that no build is live, or that no build is computed next to it.
	ErrNoBuild = errors.New("view: no such build")
)

// Builds are the builds of a view. An empty one does not exist.
type Builds struct {
	Live Build   // that readers read
	Next Build   // that is computed next to it
	Old  []Build // that will be dropped
}

// Builds returns the builds of the view.
func (v *View) Builds(ctx context.Context) (b Builds, err error) {
	var all map[string]string
	err = v.try(ctx, "read builds", v.builds(), func() (err error) {
		all, err = v.rdb.HGetAll(ctx, v.builds()).Result()
		return err
	})
	b.Live, b.Next = Build(all["live"]), Build(all["next"])
	for name := range all {
		if old, ok := strings.CutPrefix(name, "old:"); ok {
			b.Old = append(b.Old, Build(old))
		}
	}
	return b, err
}

// Live returns the keys of the live build, or ErrNoBuild if the view has never been computed. Use
// them for one read, within Config.Grace.
func (v *View) Live(ctx context.Context) (Keys, error) {
	var live string
	err := v.try(ctx, "read builds", v.builds(), func() (err error) {
		if live, err = v.rdb.HGet(ctx, v.builds(), "live").Result(); errors.Is(err, redis.Nil) {
			live, err = "", nil
		}
		return err
	})
	if err == nil && live == "" {
		err = ErrNoBuild
	}
	return v.Of(Build(live)), err
}

// Begin begins a build if the view has no build, or if the live one is of a lower version. Then the
// build is computed next to the live one. It returns "" if there is nothing to begin.
func (v *View) Begin(ctx context.Context, version int) (Build, error) {
	return v.begin(ctx, version, 0)
}

// Rebuild begins another build of any version, or returns ErrBuilding.
func (v *View) Rebuild(ctx context.Context, version int) (Build, error) {
	b, err := v.begin(ctx, version, 1)
	if err == nil && b == "" {
		err = ErrBuilding
	}
	return b, err
}

func (v *View) begin(ctx context.Context, version, again int) (Build, error) {
	build, token := "", rand.Text()[:12]
	err := v.try(ctx, "begin a build", v.builds(), func() (err error) {
		build, err = v.rdb.Eval(ctx, script.ViewBegin, []string{v.builds()}, version, again, token).Text()
		return err
	})
	return Build(build), err
}

// Switch makes the next build live. Readers find it from now on, and the old one is dropped after
// Config.Grace. It returns ErrNoBuild if b is not the next build. It does not check how far b is, see
// Pause.
func (v *View) Switch(ctx context.Context, b Build) error { return v.leave(ctx, b, 1) }

// Abandon gives up the next build, or returns ErrNoBuild. Doing it twice is no error.
func (v *View) Abandon(ctx context.Context, b Build) error { return v.leave(ctx, b, 0) }

func (v *View) leave(ctx context.Context, b Build, live int) error {
	var done int
	err := v.try(ctx, "switch builds", v.builds(), func() (err error) {
		done, err = v.rdb.Eval(ctx, script.ViewSwitch, []string{v.builds()}, string(b), v.cfg.Grace.Milliseconds(),
			live).Int()
		return err
	})
	if err != nil || done == 1 {
		return err
	}
	now, err := v.Builds(ctx)
	if err != nil || live == 1 && now.Live == b || live == 0 && slices.Contains(now.Old, b) { // a lost reply
		return err
	}
	return ErrNoBuild
}

// Pause refuses commits of a build in a partition for d, with ErrPaused, and returns its position.
// Readers of the build see nothing newer meanwhile. So a build that includes this position may become live without
// hiding from readers what they have seen.
func (v *View) Pause(ctx context.Context, b Build, partition int, d time.Duration) (at redisio.ID, err error) {
	key, text := v.state(b, partition), ""
	err = v.try(ctx, "pause", key, func() (err error) {
		text, err = v.rdb.Eval(ctx, script.ViewPause, []string{key}, d.Milliseconds()).Text()
		return err
	})
	at, _ = redisio.ParseID(text) // "" if it has not begun
	return at, err
}

// droppedPosition is the position of a build that is being dropped. No commit expects it.
const droppedPosition = "dropped"

// dropPage is how many keys one call deletes.
const dropPage = 200

// Drop deletes the builds after the end of their grace, and returns their number. Any process may
// call it, at any time.
func (v *View) Drop(ctx context.Context) (dropped int, err error) {
	var due []string
	err = v.try(ctx, "drop old builds", v.builds(), func() (err error) {
		due, err = v.rdb.Eval(ctx, script.ViewDue, []string{v.builds()}).StringSlice()
		return err
	})
	for _, old := range due {
		for p := range v.cfg.Partitions {
			if err := v.dropPart(ctx, Build(old), p); err != nil {
				return dropped, err
			}
		}
		if err := v.try(ctx, "drop old builds", v.builds(), func() error {
			return v.rdb.HDel(ctx, v.builds(), "old:"+old).Err()
		}); err != nil {
			return dropped, err
		}
		dropped++
	}
	return dropped, err
}

// dropPart deletes the data of a build in a partition. Its state remains for an hour, so that a slow
// process cannot begin it again.
func (v *View) dropPart(ctx context.Context, b Build, partition int) error {
	state, keys := v.state(b, partition), v.keys(b, partition)
	err := v.try(ctx, "drop", state, func() error {
		_, err := v.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.HSet(ctx, state, "pos", droppedPosition)
			pipe.PExpire(ctx, state, droppedFor)
			return nil
		})
		return err
	})
	for err == nil {
		var page []string
		err = v.try(ctx, "drop", keys, func() (err error) {
			page, err = v.rdb.SRandMemberN(ctx, keys, dropPage).Result()
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		members := make([]any, len(page))
		for i := range page {
			members[i] = page[i]
		}
		err = v.try(ctx, "drop", keys, func() error {
			if err := v.rdb.Unlink(ctx, page...).Err(); err != nil {
				return err
			}
			return v.rdb.SRem(ctx, keys, members...).Err()
		})
	}
	return err
}
