package dead

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

const (
	deadPage      = 100     // entries read at once
	deadPageBytes = 4 << 20 // … and approximately their bytes
)

// ErrNoEntry means that a stream has no entry with the requested ID, or no longer has it.
var ErrNoEntry = errors.New("redisio: no such entry")

// Filter selects dead letters. All fields that are set must match; the zero filter selects all.
type Filter struct {
	IDs    []string   // of the dead letters themselves, not of the original entries
	From   redisio.ID // dead letters with this ID or a later one; the zero ID: from the first
	Before redisio.ID // dead letters with a smaller ID than this; the zero ID: to the last
	Since  time.Time  // added to the dead-letter stream then or later, by the server's clock
	Until  time.Time  // … and before that
	Error  string     // part of the error's text or of a cause's, in any case
	Stage  string     // these four are compared exactly
	Graph  string
	Group  string
	Key    string // the stream it came from
	Limit  int64  // the maximum number; 0: all
}

// Validate reports all mistakes at once, each as a *ConfigError.
func (f Filter) Validate() error {
	m := redisio.MistakesOf("dead.Filter")
	for _, id := range f.IDs {
		_, err := redisio.ParseID(id)
		m.If(err != nil, "IDs", fmt.Sprintf("%q is no entry ID", id), `write it as "1732360000000-0"`)
	}
	m.If(!f.Until.IsZero() && !f.Until.After(f.Since), "Until", "does not lie after Since",
		"swap them, or leave one out")
	m.If(!f.Before.IsZero() && f.Before.Compare(f.From) <= 0, "Before",
		fmt.Sprintf("%v does not lie after From %v", f.Before, f.From), "swap them, or leave one out")
	m.Negative("Limit", f.Limit, "leave it 0 for all")
	return m.Err()
}

func (f *Filter) takes(d *Entry) bool {
	r := &d.Reason
	for _, c := range [...]struct{ want, is string }{{f.Stage, r.Stage}, {f.Graph, r.Graph}, {f.Group, r.Group},
		{f.Key, r.Key}} {
		if c.want != "" && c.want != c.is {
			return false
		}
	}
	if first, last := f.span(); d.Position.Compare(first) < 0 || d.Position.Compare(last) > 0 {
		return false
	}
	if f.Error == "" {
		return true
	}
	part := strings.ToLower(f.Error)
	return strings.Contains(strings.ToLower(r.Error), part) ||
		slices.ContainsFunc(r.Causes, func(c string) bool { return strings.Contains(strings.ToLower(c), part) })
}

// span returns the first and the last ID that the filter can take. If first is greater than last,
// it can take none.
func (f *Filter) span() (first, last redisio.ID) {
	first, last = f.From, redisio.MaxID
	if at := redisio.IDAt(f.Since); !f.Since.IsZero() && at.Compare(first) > 0 {
		first = at
	}
	if !f.Before.IsZero() {
		last = f.Before.Prev()
	}
	if f.Until.IsZero() {
		return first, last
	}
	at := redisio.IDAt(f.Until)
	if at.IsZero() { // before all entries
		return redisio.MaxID, redisio.ID{}
	}
	if at = at.Prev(); at.Compare(last) < 0 {
		last = at
	}
	return first, last
}

// All iterates over a stream of dead letters of any program, oldest first. It leaves out entries
// that are added meanwhile. It reads pages of some megabytes, and changes nothing. An error is
// the last element.
func All(ctx context.Context, rdb redis.UniversalClient, key string, f Filter) iter.Seq2[Entry, error] {
	return each(ctx, rdb, key, f, pagesByRange)
}

// Newest is All, newest first.
func Newest(ctx context.Context, rdb redis.UniversalClient, key string, f Filter) iter.Seq2[Entry, error] {
	return each(ctx, rdb, key, f, pagesBack)
}

func each(
	ctx context.Context, rdb redis.UniversalClient, key string, f Filter, pages pager,
) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		err := deadPages(ctx, rdb, key, f, pages, func(page []Entry, _ int) error {
			for _, d := range page {
				if !yield(d, nil) {
					return errEnough
				}
			}
			return nil
		})
		if err != nil {
			yield(Entry{}, err)
		}
	}
}

// Find returns one dead letter, or ErrNoEntry if no entry has this ID.
func Find(ctx context.Context, rdb redis.UniversalClient, key, id string) (Entry, error) {
	for d, err := range All(ctx, rdb, key, Filter{IDs: []string{id}}) {
		return d, err
	}
	return Entry{}, fmt.Errorf("%w: %s in %q", ErrNoEntry, id, fault.KeyName(key))
}

// errEnough ends deadPages early and without an error.
var errEnough = errors.New("enough")

// deadPages calls do with the entries that f takes, some at a time, and with the number of f.IDs
// that were missing.
//
// The end is fixed at the beginning. Otherwise a replayed entry that fails again would be
// replayed forever.
func deadPages(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	f Filter,
	pages pager,
	do func(page []Entry, missing int) error,
) error {
	if err := errors.Join(check.NeedClient(rdb, "DeadLetters"), check.NeedKey("DeadLetters", key),
		f.Validate()); err != nil {
		return err
	}
	left := f.Limit
	if left == 0 {
		left = math.MaxInt64
	}
	handle := func(entries []redisio.Entry, missing int) error {
		page := make([]Entry, 0, len(entries))
		for _, e := range entries {
			if d := newEntry(e); left > 0 && f.takes(&d) {
				page = append(page, d)
				left--
			}
		}
		err := do(page, missing)
		if err == nil && left == 0 {
			err = errEnough
		}
		return err
	}
	var err error
	if len(f.IDs) > 0 {
		err = pagesByID(ctx, rdb, key, f.IDs, handle)
	} else {
		err = pages(ctx, rdb, key, f, handle)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// pager calls do with the entries of a stream that may match a filter, some at a time.
type pager func(
	ctx context.Context, rdb redis.UniversalClient, key string, f Filter, do func([]redisio.Entry, int) error,
) error

// pagesByRange is a pager from the oldest entry to the newest.
func pagesByRange(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	f Filter,
	do func([]redisio.Entry, int) error,
) error {
	end, err := check.LastID(ctx, rdb, key)
	if err != nil || end.IsZero() {
		return err
	}
	first, last := f.span()
	if end.Compare(last) < 0 {
		last = end
	}
	if last.IsZero() || last.Compare(first) < 0 {
		return nil
	}
	r, err := reader.NewRange(rdb, reader.RangeConfig{Key: key, From: first, To: last})
	if err != nil {
		return err
	}
	if err := r.Open(ctx); err != nil {
		return err
	}
	for {
		var b redisio.Batch
		if err := r.Read(ctx, deadPage, deadPageBytes, &b); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := do(b.Entries, 0); err != nil {
			return err
		}
	}
}

// pagesBack is a pager from the newest entry to the oldest.
func pagesBack(
	ctx context.Context, rdb redis.UniversalClient, key string, f Filter, do func([]redisio.Entry, int) error,
) error {
	var asking conn.Asking
	first, last := f.span()
	for more := true; more && last.Compare(first) >= 0; {
		if err := fault.Ended(ctx); err != nil {
			return err
		}
		var b redisio.Batch
		var err error
		more, err = asking.Page(ctx, rdb, deadPage, deadPageBytes, &b, nil, "xrevrange", key, last, first)
		if err != nil {
			return check.ReadError(key, err)
		}
		if len(b.Entries) == 0 {
			return nil
		}
		asking.Learn(&b)
		if err := do(b.Entries, 0); err != nil {
			return err
		}
		last = b.Entries[len(b.Entries)-1].Position.Prev()
	}
	return nil
}

func pagesByID(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	ids []string,
	do func([]redisio.Entry, int) error,
) error {
	for chunk := range slices.Chunk(ids, conn.FirstAsk) { // few: entries may be large
		var found []redisio.Entry
		for _, id := range chunk {
			whole, err := redisio.ParseID(id)
			if err != nil {
				return err
			}
			id = whole.String() // XRANGE takes "5" as all from 5-0 to the last of that millisecond
			var b redisio.Batch
			if err := conn.RawEntries(ctx, rdb, conn.Limit{}, &b, "xrange", key, id, id); err != nil {
				return check.ReadError(key, err)
			}
			found = append(found, b.Entries...)
		}
		if err := do(found, len(chunk)-len(found)); err != nil {
			return err
		}
	}
	return nil
}
