package inspect

import (
	"context"
	"time"
)

// publishTurns is how many turns of Run are between two reports.
const publishTurns = int(publishEvery / askEvery)

// Run publishes the state of this process each two seconds, until ctx is done. The pages of the other
// processes read it. With Config.AllowActions it also does what their viewers ask for. At the end Run
// removes the state from Redis and ends the open pages. Redis may be away meanwhile. Run may be
// called once. A Page is a part of app.Run.
func (p *Page) Run(ctx context.Context) error {
	if p.err != nil {
		return p.err
	}
	defer close(p.closed)
	if p.shared == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	away := false
	for turn := 0; ; turn++ {
		obeyed := p.cfg.AllowActions && !away && p.obey(ctx)
		if obeyed || turn%publishTurns == 0 {
			err := p.shared.publish(ctx, p.own.collect(ctx))
			if failed := err != nil && ctx.Err() == nil; failed != away {
				away = failed
				if failed {
					p.cfg.Log.Warn("inspect: the report was not published; trying again", "error", err)
				}
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

// obey does what other processes ask for, and reports whether there was anything to do.
func (p *Page) obey(ctx context.Context) bool {
	all, err := p.shared.take(ctx)
	if err != nil && ctx.Err() == nil {
		p.cfg.Log.Warn("inspect: the actions of other processes can't be read", "error", err)
	}
	for _, c := range all {
		text, ok := p.own.control(c.Do, c.Graph)
		p.guard.audit(&Action{Do: c.Do, Graph: c.Graph, Process: p.own.process}, c.Who+" at "+c.From, text)
		if err := p.shared.answer(ctx, &c, text, ok); err != nil {
			p.cfg.Log.Warn("inspect: an action was not answered", "error", err)
		}
	}
	return len(all) > 0
}
