package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/schedule"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

var produceCommand = command{
	name: "produce", args: "KEY [VALUE …]", min: 1, max: 1 << 20,
	short: "write entries, from arguments or standard input",
	long: "Writes one entry per VALUE, or per line of standard input if there is no VALUE. The value goes to the " +
		"field data,\nas in the native format of package redisio, which source.Stream reads. -type, -key, -id and " +
		"-header set the other\nparts. -field writes one entry of plain fields instead.\n\n" +
		"With -input json each line is one object with data (any JSON value; a string is written without quotes) or\n" +
		"dataBase64, and optionally type, key, id and headers. An object with fields is written as it is, so the\n" +
		"output of peek -json and tail -json is accepted; its id is the ID of the old entry and is left out.\n\n" +
		"A line is written as soon as no further line is ready. An entry is never sent twice. After a failure it " +
		"stops,\nand reports which entries are written, not written, or unknown: these may be in the stream.",
	examples: []string{
		`produce orders '{"sku":"tea"}' -type placed -key customer-7`,
		"produce orders < lines.txt -rate 100",
		"produce orders -field sku=tea -field amount=2",
		"tail orders -json | streams produce orders:copy -input json",
		`produce orders '{"sku":"load test"}' -n 10000 -maxlen 100000`,
		`produce reminders 'buy milk' -delay 24h`,
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		var p production
		fs.StringVar(&p.envelope.Type, "type", "", "the `type` of the message")
		fs.StringVar(&p.envelope.Key, "key", "", "the `key` for ordering and partitioning")
		fs.StringVar(
			&p.envelope.ID,
			"id",
			"",
			"the `ID` of the message, for one entry; the entry's ID is Redis' choice",
		)
		fs.Var(&p.headers, "header", "a header, `name=value`; may be repeated")
		fs.Var(&p.fields, "field", "a plain field, `name=value`; may be repeated")
		fs.StringVar(&p.input, "input", "lines", "the `format` of standard input: lines or json")
		fs.Int64Var(&p.n, "n", 0, "write `n` entries: the values in turn, or at most n lines (default: each once)")
		fs.Float64Var(&p.rate, "rate", 0, "at most `n` per second (default: unlimited)")
		fs.Int64Var(&p.maxLen, "maxlen", 0,
			"keep about `n` entries; those that a group has not settled stay (default: all)")
		fs.DurationVar(&p.delay, "delay", 0, "schedule the entries: they are written this much `later`")
		return func(c *call) error {
			if err := p.check(c); err != nil {
				return err
			}
			return p.run(c)
		}
	},
}

// pairs is a repeatable flag name=value.
type pairs [][2]string

func (p *pairs) String() string { return "" }

func (p *pairs) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return errors.New("write name=value")
	}
	*p = append(*p, [2]string{name, value})
	return nil
}

// production is one run of produce.
type production struct {
	envelope redisio.Envelope
	headers  pairs
	fields   pairs
	input    string
	n        int64
	rate     float64
	maxLen   int64
	delay    time.Duration

	store  func(context.Context, []item, []redisio.Result) error
	counts outcomes
	told   progress
}

// check checks the flags.
func (p *production) check(c *call) error {
	values, one := len(c.args)-1, p.n <= 1
	for _, h := range p.headers {
		p.envelope.Headers = append(p.envelope.Headers, redisio.Header{Name: h[0], Value: h[1]})
	}
	enveloped := p.envelope.Type+p.envelope.Key+p.envelope.ID != "" || len(p.headers) > 0
	switch {
	case p.input != "lines" && p.input != "json":
		return usagef("-input %q: write lines or json", p.input)
	case p.input == "json" && (values > 0 || len(p.fields) > 0 || enveloped):
		return usagef("-input json reads standard input, which has the values and all their parts: drop the rest")
	case len(p.fields) > 0 && (values > 0 || enveloped):
		return usagef("-field writes plain fields: drop the value, -type, -key, -id and -header")
	case p.envelope.ID != "" && (values != 1 || !one):
		return usagef("-id is the ID of one message: give one value")
	case p.n < 0:
		return usagef("-n %d: it must be at least 1", p.n)
	case p.rate < 0:
		return usagef("-rate %v: it must be positive", p.rate)
	case p.delay < 0:
		return usagef("-delay %v: it must be positive", p.delay)
	case p.delay > 0 && p.maxLen != 0:
		return usagef("-maxlen can not be combined with -delay: whoever moves the entries later does not trim")
	}
	if err := (writer.Config{Key: c.args[0], MaxLen: p.maxLen}).Validate(); err != nil {
		return usageError(err.Error())
	}
	return nil
}

// produceBytes is the largest entry, and about the most bytes of one batch.
const produceBytes = 64 << 20

// open opens what stores the entries: a writer, or a scheduler with -delay.
func (p *production) open(c *call) (closer func(), err error) {
	if p.delay > 0 {
		s, err := schedule.New(c.rdb, schedule.Config{Key: c.args[0], MaxPayload: produceBytes})
		p.store = func(ctx context.Context, items []item, results []redisio.Result) error {
			at, later := time.Now().Add(p.delay), make([]schedule.Delayed, len(items))
			for i := range items {
				later[i] = schedule.Delayed{At: at, Fields: items[i].fields}
			}
			return s.Schedule(ctx, later, results)
		}
		return func() {}, err
	}
	cfg := writer.Config{Key: c.args[0], MaxLen: p.maxLen, Tuning: writer.Tuning{MaxPayload: produceBytes}}
	w, err := writer.New(c.rdb, cfg)
	if err == nil {
		err = w.Open(c.ctx)
	}
	p.store = func(ctx context.Context, items []item, results []redisio.Result) error {
		out := make([]redisio.Outgoing, len(items))
		for i := range items {
			out[i].Fields = items[i].fields
		}
		return w.Write(ctx, out, results)
	}
	return func() { _ = w.Close(context.WithoutCancel(c.ctx)) }, err // all replies have been read
}

// run writes the input until it ends, fails or is interrupted, and reports the counts.
func (p *production) run(c *call) error {
	done, err := p.open(c)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	in := p.feed(ctx, c)
	most, pace := 128, rate.NewLimiter(rate.Inf, 1)
	if p.rate > 0 {
		most = max(1, min(most, int(p.rate/10)))
		pace = rate.NewLimiter(rate.Limit(p.rate), most)
		pace.AllowN(time.Now(), most) // no burst at the start
	}
	for {
		batch := in.gather(ctx, most)
		if len(batch) == 0 {
			break
		}
		if err = pace.WaitN(ctx, len(batch)); err != nil {
			break
		}
		if err = p.write(c, batch); err != nil {
			break
		}
	}
	if err == nil {
		err = in.err(ctx)
	}
	p.report(c)
	return err
}

// write writes a batch and counts the outcomes.
func (p *production) write(c *call, batch []item) error {
	results := make([]redisio.Result, len(batch))
	failed := p.store(c.ctx, batch, results)
	for i, r := range results {
		outcome := p.counts.add(batch[i].at, r)
		if err := c.out.object(struct {
			At      int64  `json:"at"` // number of the value or line
			Outcome string `json:"outcome"`
			ID      string `json:"id,omitempty"`
			Error   string `json:"error,omitempty"`
		}{batch[i].at, outcome, r.ID, text(r.Err)}); err != nil {
			return err
		}
	}
	p.told.tell(c, "written", p.counts.written)
	return errors.Join(failed, c.out.flush())
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// outcomes counts what became of the entries.
type outcomes struct {
	written int64
	last    string // the ID of the last one written
	refused []int64
	unknown []int64
}

// add counts one result.
func (o *outcomes) add(at int64, r redisio.Result) (outcome string) {
	switch {
	case r.Err == nil:
		o.written, o.last = o.written+1, r.ID
		return "written"
	case errors.Is(r.Err, redisio.ErrUnknownOutcome):
		o.unknown = append(o.unknown, at)
		return "unknown"
	}
	o.refused = append(o.refused, at)
	return "not written"
}

// report prints the counts.
func (p *production) report(c *call) {
	o, verb := &p.counts, "wrote"
	if p.delay > 0 {
		verb = "scheduled"
	}
	count := verb + " " + plural(o.written, "entry", "entries")
	if o.last != "" {
		count += ", the last is " + escape(o.last, 0)
	}
	c.out.line("%s", count)
	noun := "line"
	if len(c.args) > 1 || len(p.fields) > 0 {
		noun = "value"
	}
	if n := len(o.refused); n > 0 {
		c.note("%d not written: %s", n, spans(noun, o.refused))
	}
	if n := len(o.unknown); n > 0 {
		c.note("%d unknown: %s. They may be in the stream: look before you write them again", n, spans(noun, o.unknown))
	}
}

// spans formats increasing numbers: "lines 3–7, 9".
func spans(noun string, at []int64) string {
	var parts []string
	for i := 0; i < len(at); {
		end := i
		for end+1 < len(at) && at[end+1] == at[end]+1 {
			end++
		}
		part := num(at[i])
		if end > i {
			part += "–" + num(at[end])
		}
		if i = end + 1; len(parts) == 10 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, part)
	}
	if len(at) > 1 {
		noun += "s"
	}
	return fmt.Sprintf("%s %s", noun, strings.Join(parts, ", "))
}
