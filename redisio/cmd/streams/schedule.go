package main

import (
	"flag"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

var scheduleListCommand = command{
	name: "schedule list", args: "KEY", min: 1, max: 1,
	short: "list the entries that are scheduled for a stream",
	long: "Lists the entries that will be written to a stream later, the earliest first. An entry that is due waits " +
		"for a\nmover: a running reader of a group of the stream, or a schedule.Scheduler. Entries that stay due " +
		"for longer than\nsome seconds have none. -fields shows the fields of the entries; with -json too.",
	examples: []string{
		"schedule list reminders",
		"schedule list reminders -limit 5 -fields",
		"schedule list reminders -json | jq -r .id",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		limit := fs.Int("limit", 100, "list at most `n` entries")
		fields := fs.Bool("fields", false, "show the fields")
		full := fs.Bool("full", false, "with -fields: show complete values")
		return func(c *call) error {
			if *limit < 1 {
				return usagef("-limit %d: it must be at least 1", *limit)
			}
			return scheduleList(c, *limit, *fields || *full, *full)
		}
	},
}

// scheduler returns the scheduler of the stream.
func (c *call) scheduler() (*schedule.Scheduler, error) {
	return schedule.New(c.rdb, schedule.Config{Key: c.args[0]})
}

const schedulePage = 100 // entries of one List

func scheduleList(c *call, limit int, fields, full bool) error {
	s, err := c.scheduler()
	if err != nil {
		return err
	}
	info, err := s.Info(c.ctx)
	if err != nil {
		return err
	}
	if !fields && info.Count > 0 {
		c.out.row("ID", "DUE", "IN", "TYPE", "BYTES")
	}
	shown := 0
	for offset := 0; shown < limit; offset += schedulePage {
		list, err := s.List(c.ctx, int64(offset), min(schedulePage, limit-shown))
		if err != nil {
			return err
		}
		for _, d := range list {
			if err := c.delayed(d, fields, full); err != nil {
				return err
			}
		}
		if shown += len(list); int64(offset+schedulePage) >= info.Count {
			break
		}
	}
	switch left := info.Count - int64(shown); {
	case info.Count == 0 && !c.out.json:
		c.note("nothing is scheduled for %q", c.args[0])
	case left > 0 && shown >= limit:
		c.note("first %d of %d only: raise -limit", shown, info.Count)
	}
	if info.Broken > 0 {
		c.note("%s can not be read, and will never be written: see %q",
			plural(info.Broken, "entry", "entries"), s.Keys()[0])
	}
	return nil
}

// delayed shows a scheduled entry.
func (c *call) delayed(d schedule.Delayed, fields, full bool) error {
	kind, _ := d.Fields.Get("type")
	in := "due"
	if wait := d.At.Sub(c.now); wait > 0 {
		in = short(wait)
	}
	if fields {
		c.out.line("%s  %s, %s", escape(d.ID, 0), c.out.time(d.At), in)
		c.out.fields(d.Fields, full)
	} else {
		c.out.row(d.ID, c.out.time(d.At), in, string(kind), num(int64(d.Fields.Size())))
	}
	j := struct {
		ID     string      `json:"id"`
		Binary string      `json:"idBase64,omitempty"`
		Due    time.Time   `json:"due"`
		Type   string      `json:"type,omitempty"`
		Bytes  int         `json:"bytes"`
		Fields []jsonField `json:"fields,omitempty"`
	}{d.ID, binary(d.ID), d.At.UTC(), string(kind), d.Fields.Size(), nil}
	if fields {
		j.Fields = jsonFields(d.Fields)
	}
	return c.out.object(j)
}

var scheduleCancelCommand = command{
	name: "schedule cancel", args: "KEY [ID …]", min: 1, max: 1 << 20,
	short: "cancel entries that are scheduled for a stream",
	long: "Cancels scheduled entries: they are not written. It shows them and asks first, unless -yes is set. IDs " +
		"are those\nof schedule list. -all cancels all that are scheduled now. An entry that was written meanwhile " +
		"can not be cancelled,\nand is reported.",
	examples: []string{
		"schedule cancel reminders milk",
		"schedule cancel reminders -all -dry-run",
		"schedule cancel reminders -all -yes",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		all := fs.Bool("all", false, "cancel all entries that are scheduled now")
		dry := fs.Bool("dry-run", false, "only show what would happen")
		yes := fs.Bool("yes", false, "don't ask")
		return func(c *call) error {
			if *all == (len(c.args) > 1) {
				return usagef("name the IDs, or use -all")
			}
			return scheduleCancel(c, *dry, *yes)
		}
	},
}

// shownCancels is how many entries are shown before the question.
const shownCancels = 20

func scheduleCancel(c *call, dry, yes bool) error {
	s, err := c.scheduler()
	if err != nil {
		return err
	}
	list, err := scheduled(c, s)
	if err != nil {
		return err
	}
	ids := make([]string, len(list))
	for i, d := range list {
		ids[i] = d.ID
	}
	missing := 0
	if len(c.args) > 1 {
		missing = len(c.args) - 1 - len(list)
	}
	if len(ids) == 0 {
		return cancelled(c, 0, missing, dry)
	}
	if dry || !yes {
		say := c.note
		if dry {
			say = c.out.line
		}
		for i, d := range list {
			if i == shownCancels {
				say("and %d more", len(list)-i)
				break
			}
			say("%s, due %s", escape(d.ID, 0), c.out.time(d.At))
		}
	}
	if dry {
		return cancelled(c, len(ids), missing, true)
	}
	if !yes {
		question := fmt.Sprintf("Cancel %s of %q?", plural(int64(len(ids)), "entry", "entries"), c.args[0])
		if err := c.confirm(question); err != nil {
			return err
		}
	}
	n, err := s.Cancel(c.ctx, ids...)
	if err != nil {
		c.note("cancelled %d before the failure", n)
		return err
	}
	return cancelled(c, n, missing+len(ids)-n, false)
}

// scheduled returns the entries that the arguments name, or all.
func scheduled(c *call, s *schedule.Scheduler) (list []schedule.Delayed, err error) {
	if len(c.args) > 1 {
		return s.Find(c.ctx, c.args[1:]...)
	}
	info, err := s.Info(c.ctx)
	if err != nil {
		return nil, err
	}
	for offset := int64(0); offset < info.Count; offset += schedulePage {
		page, err := s.List(c.ctx, offset, schedulePage)
		if err != nil {
			return nil, err
		}
		for _, d := range page {
			list = append(list, schedule.Delayed{ID: d.ID, At: d.At, Fields: redisio.Fields(nil)}) // not the payloads
		}
	}
	return list, nil
}

// cancelled prints what was cancelled.
func cancelled(c *call, n, missing int, dry bool) error {
	verb := "cancelled"
	if dry {
		verb = "would cancel"
	}
	c.out.line("%s %s", verb, plural(int64(n), "entry", "entries"))
	if missing > 0 {
		c.out.line("%d not found: written or cancelled already, or never scheduled", missing)
	}
	return c.out.object(struct {
		DryRun    bool `json:"dryRun,omitempty"`
		Cancelled int  `json:"cancelled"`
		Missing   int  `json:"missing"`
	}{dry, n, missing})
}
