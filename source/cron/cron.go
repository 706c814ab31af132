// Package cron is a source of ticks at the times of a crontab line, each delivered once across all
// processes that run it. It parses with github.com/robfig/cron, which only programs that import
// this package link.
package cron

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/robfig/cron/v3"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/source"
)

// Source is source.Ticks at the times of spec, in the zone of cfg.Location: see [Next] for both.
// Leave cfg.Next nil. An invalid spec is a *flow.BuildError of the field Spec.
//
//	ticks := cron.Source(rdb, "*/5 * * * *", source.TicksConfig{Key: "ticks", Group: "reports"})
func Source(rdb redis.UniversalClient, spec string, cfg source.TicksConfig,
	opts ...flow.StageOption) flow.Source[source.Tick] {
	opts = slices.Clip(opts)
	if cfg.Next != nil {
		opts = append(opts, flow.Invalid("Next", "is set besides a spec", "remove one of them"))
	}
	next, err := Next(spec, cfg.Location)
	if err != nil {
		opts = append(opts, flow.Invalid("Spec", fmt.Sprintf("%q: %v", spec, err),
			`write it as "*/5 * * * *", "@hourly" or "@every 10s"`))
		next = func(time.Time) time.Time { return time.Time{} } // never called: the graph is invalid
	}
	cfg.Next = next
	return source.Ticks(rdb, cfg, opts...)
}

// Next returns a function that finds the first tick after a time, for source.TicksConfig. spec is
// one of:
//
//   - five fields as in a crontab, such as "*/5 8-18 * * MON-FRI" (minute, hour, day of month,
//     month, day of week)
//   - a descriptor: @yearly, @monthly, @weekly, @daily or @hourly
//   - "@every 10s", which ticks at the multiples of the duration since 1970 in UTC, so that all
//     processes agree
//
// loc is the time zone of the five fields and descriptors. Defaults to UTC, where every minute
// exists once. In other zones an hour is missing when summer time begins, and so are its ticks.
// When it ends an hour repeats, and so do its ticks.
//
// The error describes what is wrong with spec.
func Next(spec string, loc *time.Location) (func(time.Time) time.Time, error) {
	spec = strings.TrimSpace(spec)
	if loc == nil {
		loc = time.UTC
	}
	if every, ok := strings.CutPrefix(spec, "@every "); ok {
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil {
			return nil, err
		}
		if d < 10*time.Millisecond || d%time.Millisecond != 0 {
			return nil, fmt.Errorf("a tick every %v: it must be 10ms or more, in whole milliseconds", d)
		}
		return func(after time.Time) time.Time {
			ms := d.Milliseconds()
			return time.UnixMilli((after.UnixMilli()/ms + 1) * ms)
		}, nil
	}
	if strings.Contains(spec, "TZ=") {
		return nil, fmt.Errorf("set the time zone in Location")
	}
	parsed, err := cron.ParseStandard(spec)
	if err != nil {
		return nil, err
	}
	fields, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("unsupported spec")
	}
	fields.Location = loc
	// Next would take a zone of Local for that of its argument.
	next := func(after time.Time) time.Time { return fields.Next(after.In(loc)) }
	if next(time.Unix(0, 0)).IsZero() {
		return nil, fmt.Errorf("no time matches it")
	}
	return next, nil
}
