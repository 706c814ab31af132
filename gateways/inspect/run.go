package inspect

import (
	"context"
	"time"
)

// Run publishes the state of this process each two seconds, until ctx is done. The pages of the other
// processes read it. At the end Run removes it from Redis and ends the open pages. Redis may be away
// meanwhile. Run may be called once. A Page is a part of app.Run.
func (p *Page) Run(ctx context.Context) error {
	if p.err != nil {
		return p.err
	}
	defer close(p.closed)
	if p.shared == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	away := false
	for {
		err := p.shared.publish(ctx, p.own.collect(ctx))
		if failed := err != nil && ctx.Err() == nil; failed != away {
			away = failed
			if failed {
				p.cfg.Log.Warn("inspect: the report was not published; trying again", "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err := p.shared.leave(context.WithoutCancel(ctx)); err != nil {
				p.cfg.Log.Warn("inspect: the report was not removed; it expires", "error", err)
			}
			return nil
		}
	}
}
