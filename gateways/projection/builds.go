package projection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/view"
)

// ErrBehind reports that the next build lacks events of the live one. A *BehindError has the number of events
// that it lacks.
var ErrBehind = errors.New("projection: the next build has not caught up")

// BehindError is ErrBehind with the number of events.
type BehindError struct {
	Build  view.Build
	Behind int64
}

func (e *BehindError) Error() string {
	return fmt.Sprintf("projection: build %s lacks %d events; wait until it has caught up", e.Build, e.Behind)
}

// Is reports whether target is ErrBehind.
func (e *BehindError) Is(target error) bool { return target == ErrBehind }

const (
	nearLive   = 2 * chunk              // events that the next build may lack when the live one is paused
	pauseLive  = 500 * time.Millisecond // pause of the live build
	awaitsNext = pauseLive / 2          // time that the next build has to catch up meanwhile
)

// Live returns the keys of the live build. Resolve it for each read, or for reads that belong
// together, and keep it for no longer than Config.Grace. It returns view.ErrNoBuild if the
// projection has never run.
func (p *Projection[E]) Live(ctx context.Context) (view.Keys, error) { return p.view.Live(ctx) }

// Key returns the Redis key of some data of the live build: that with the name which Apply gave it
// for events of the aggregate.
func (p *Projection[E]) Key(ctx context.Context, aggregate, name string) (string, error) {
	live, err := p.Live(ctx)
	if err != nil {
		return "", err
	}
	return live.Key(p.store.Partition(aggregate), name), nil
}

// Rebuild begins another build from the first event, next to the live one. A running projection
// computes it. It returns view.ErrBuilding if there is one already.
func (p *Projection[E]) Rebuild(ctx context.Context) (view.Build, error) {
	return p.view.Rebuild(ctx, p.cfg.Version)
}

// Switch makes the next build live, or returns a *BehindError if it lacks events of the live one.
// Without Config.ManualSwitch a running projection does so by itself.
//
// For the switch the live build is paused, in all partitions, until the next one has all of its
// events. This takes milliseconds, at most 250ms. So readers never see an older state than before.
func (p *Projection[E]) Switch(ctx context.Context) error {
	builds, err := p.view.Builds(ctx)
	if err != nil {
		return err
	}
	if builds.Next == "" {
		return view.ErrNoBuild
	}
	live, err := p.view.Progress(ctx, builds.Live)
	if err != nil {
		return err
	}
	next, err := p.view.Progress(ctx, builds.Next)
	if err != nil {
		return err
	}
	behind, most := int64(0), int64(0)
	for i := range next.Parts {
		n := max(live.Parts[i].Entries-next.Parts[i].Entries, 0)
		behind, most = behind+n, max(most, n)
	}
	if most > nearLive {
		return &BehindError{Build: builds.Next, Behind: behind}
	}
	began := time.Now()
	ends := make([]redisio.ID, len(live.Parts)) // what readers have seen
	for i := range ends {
		if ends[i], err = p.view.Pause(ctx, builds.Live, i, pauseLive); err != nil {
			return err
		}
	}
	for i, end := range ends {
		for {
			part, err := p.view.Part(ctx, builds.Next, i)
			if err != nil {
				return err
			}
			if part.Position.Compare(end) >= 0 {
				break
			}
			if sleep(ctx, 2*time.Millisecond); ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if time.Since(began) > awaitsNext {
				return &BehindError{Build: builds.Next, Behind: max(behind, 1)}
			}
		}
	}
	return p.view.Switch(ctx, builds.Next)
}

// Abandon gives up the next build. It returns view.ErrNoBuild if there is no next build.
func (p *Projection[E]) Abandon(ctx context.Context) error {
	builds, err := p.view.Builds(ctx)
	if err != nil {
		return err
	}
	return p.view.Abandon(ctx, builds.Next)
}

// Progress is how far the builds of a projection are.
type Progress struct {
	Live view.Progress  `json:"live"`
	Next *view.Progress `json:"next,omitempty"` // nil if none is computed next to the live one
	Old  []view.Build   `json:"old,omitempty"`  // builds that will be dropped
}

// Progress returns how far the builds are. The live one is empty if the projection has never run.
func (p *Projection[E]) Progress(ctx context.Context) (Progress, error) {
	builds, err := p.view.Builds(ctx)
	if err != nil {
		return Progress{}, err
	}
	now := Progress{Old: builds.Old}
	if builds.Live != "" {
		if now.Live, err = p.view.Progress(ctx, builds.Live); err != nil {
			return now, err
		}
	}
	if builds.Next != "" {
		next, err := p.view.Progress(ctx, builds.Next)
		if err != nil {
			return now, err
		}
		now.Next = &next
	}
	return now, nil
}

// Wait returns when the live build includes an event of an aggregate, so that a caller reads what it
// has written. It returns the cause of ctx if it is done before.
func (p *Projection[E]) Wait(ctx context.Context, aggregate string, id redisio.ID) error {
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		live, err := p.view.Live(ctx)
		if err != nil && !errors.Is(err, view.ErrNoBuild) {
			return err
		}
		if err == nil {
			part, err := p.view.Part(ctx, live.Build, p.store.Partition(aggregate))
			if err != nil {
				return err
			}
			if part.Position.Compare(id) >= 0 {
				return nil
			}
		}
		if sleep(ctx, pause); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// tend begins, switches and drops builds.
func (p *Projection[E]) tend(ctx context.Context, stop <-chan struct{}) error {
	tick := time.NewTicker(p.cfg.Poll)
	defer tick.Stop()
	for {
		if err := p.tendOnce(ctx); err != nil {
			flow.Logger(ctx).Warn("a projection could not look after its builds, and tries again",
				"projection", p.cfg.Name, "error", err)
		}
		select {
		case <-tick.C:
		case <-stop:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *Projection[E]) tendOnce(ctx context.Context) error {
	if _, err := p.view.Begin(ctx, p.cfg.Version); err != nil {
		return err
	}
	builds, err := p.view.Builds(ctx)
	if err != nil {
		return err
	}
	if builds.Next.Version() == p.cfg.Version && builds.Next != "" && !p.cfg.ManualSwitch {
		err := p.Switch(ctx)
		switch {
		case err == nil:
			flow.Logger(ctx).Info("a rebuilt view is live", "projection", p.cfg.Name, "build", string(builds.Next))
		case !errors.Is(err, ErrBehind) && !errors.Is(err, view.ErrNoBuild): // another process was faster
			return err
		}
	}
	if len(builds.Old) > 0 {
		_, err = p.view.Drop(ctx)
	}
	return err
}
