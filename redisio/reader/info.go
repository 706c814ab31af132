package reader

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/groupinfo"
)

// Held returns how many entries were handed out and not settled.
func (r *Group) Held() int { return r.held.Count() }

// Parked returns how many nacked or released entries wait for their time.
func (r *Group) Parked() int { return r.held.ParkedCount() }

// Info asks the server for the state of the group.
func (r *Group) Info(ctx context.Context) (groupinfo.GroupInfo, error) {
	if err := r.usable(); err != nil {
		return groupinfo.GroupInfo{}, err
	}
	info, err := groupinfo.Ask(ctx, r.control, r.cfg.Key, r.cfg.Group)
	if err != nil {
		return groupinfo.GroupInfo{}, fmt.Errorf(
			"redisio: info of group %q of %q: %w",
			r.cfg.Group,
			fault.KeyName(r.cfg.Key),
			err,
		)
	}
	return info, nil
}
