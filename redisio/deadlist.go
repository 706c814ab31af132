package redisio

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
)

const (
	deadPage      = 100     // entries in hand at once
	deadPageBytes = 4 << 20 // … and roughly their bytes
)

// ErrNoEntry says that a stream has no entry with the ID asked for, or no longer.
var ErrNoEntry = errors.New("redisio: no such entry")

// DeadFilter chooses dead letters. All that is set must hold; the zero filter chooses all.
type DeadFilter struct {
	IDs    []string  // of the dead letters themselves, not of the entries they were
	From   ID        // dead letters with this ID or a later one; the zero ID: from the first
	Before ID        // dead letters with a smaller ID than this; the zero ID: to the last
	Since  time.Time // added to the dead-letter stream then or later, by the server's clock
	Until  time.Time // … and before that
	Error  string    // part of the error's text or of a cause's, in any case
	Stage  string    // these four as they are
	Graph  string
	Group  string
	Key    string // the stream it came from
	Limit  int64  // the first so many; 0: all
}

// Validate reports all mistakes at once, each as a *ConfigError.
func (f DeadFilter) Validate() error {
	var errs []error
	bad := func(field, problem, fix string) { errs = append(errs, &ConfigError{"DeadFilter", field, problem, fix}) }
	for _, id := range f.IDs {
		if _, err := ParseID(id); err != nil {
			bad("IDs", fmt.Sprintf("%q is no entry ID", id), `write it as "1732360000000-0"`)
		}
	}
	if !f.Until.IsZero() && !f.Until.After(f.Since) {
		bad("Until", "does not lie after Since", "swap them, or leave one out")
	}
	if !f.Before.IsZero() && f.Before.Compare(f.From) <= 0 {
		bad("Before", fmt.Sprintf("%v does not lie after From %v", f.Before, f.From), "swap them, or leave one out")
	}
	if f.Limit < 0 {
		bad("Limit", "is negative", "leave it 0 for all")
	}
	return errors.Join(errs...)
}

func (f *DeadFilter) takes(d *DeadEntry) bool {
	r := &d.Reason
	for _, c := range [...]struct{ want, is string }{{f.Stage, r.Stage}, {f.Graph, r.Graph}, {f.Group, r.Group}, {f.Key, r.Key}} {
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

// span returns the first and the last ID that the filter can take. No ID lies between where first is greater than last.
func (f *DeadFilter) span() (first, last ID) {
	first, last = f.From, maxID
	if at := IDAt(f.Since); !f.Since.IsZero() && at.Compare(first) > 0 {
		first = at
	}
	if !f.Before.IsZero() {
		last = f.Before.Prev()
	}
	if f.Until.IsZero() {
		return first, last
	}
	at := IDAt(f.Until)
	if at.IsZero() { // before all entries
		return maxID, ID{}
	}
	if at = at.Prev(); at.Compare(last) < 0 {
		last = at
	}
	return first, last
}

// DeadLetters goes through a stream of dead letters, ours or anybody's, oldest first. What is added
// meanwhile is left out. It reads in pages of some megabytes, and changes nothing. An error is the
// last element.
func DeadLetters(ctx context.Context, rdb redis.UniversalClient, key string, f DeadFilter) iter.Seq2[DeadEntry, error] {
	return func(yield func(DeadEntry, error) bool) {
		err := deadPages(ctx, rdb, key, f, func(page []DeadEntry, _ int) error {
			for _, d := range page {
				if !yield(d, nil) {
					return errEnough
				}
			}
			return nil
		})
		if err != nil {
			yield(DeadEntry{}, err)
		}
	}
}

// FindDeadLetter returns one dead letter; ErrNoEntry says that there is none with this ID.
func FindDeadLetter(ctx context.Context, rdb redis.UniversalClient, key, id string) (DeadEntry, error) {
	for d, err := range DeadLetters(ctx, rdb, key, DeadFilter{IDs: []string{id}}) {
		return d, err
	}
	return DeadEntry{}, fmt.Errorf("%w: %s in %q", ErrNoEntry, id, keyName(key))
}

// errEnough ends deadPages early and without an error.
var errEnough = errors.New("enough")

// deadPages calls do with the entries that f takes, some at a time, and with how many of f.IDs were not there.
//
// The end is fixed at the beginning: what is replayed may die again meanwhile, and would be replayed for ever.
func deadPages(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	f DeadFilter,
	do func(page []DeadEntry, missing int) error,
) error {
	if err := errors.Join(needClient(rdb, "DeadLetters"), needKey("DeadLetters", key), f.Validate()); err != nil {
		return err
	}
	left := f.Limit
	if left == 0 {
		left = math.MaxInt64
	}
	handle := func(entries []Entry, missing int) error {
		page := make([]DeadEntry, 0, len(entries))
		for _, e := range entries {
			if d := newDeadEntry(e); left > 0 && f.takes(&d) {
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
		err = pagesByRange(ctx, rdb, key, f, handle)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func pagesByRange(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	f DeadFilter,
	do func([]Entry, int) error,
) error {
	end, err := lastID(ctx, rdb, key)
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
	r, err := NewRangeReader(rdb, RangeConfig{Key: key, From: first, To: last})
	if err != nil {
		return err
	}
	if err := r.Open(ctx); err != nil {
		return err
	}
	for {
		var b Batch
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

func pagesByID(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	ids []string,
	do func([]Entry, int) error,
) error {
	for chunk := range slices.Chunk(ids, firstAsk) { // few: entries may be large
		var found []Entry
		for _, id := range chunk {
			whole, err := ParseID(id)
			if err != nil {
				return err
			}
			id = whole.String() // XRANGE takes "5" as all from 5-0 to the last of that millisecond
			var b Batch
			if err := rawEntries(ctx, rdb, limit{}, &b, "xrange", key, id, id); err != nil {
				return readError(key, err)
			}
			found = append(found, b.Entries...)
		}
		if err := do(found, len(chunk)-len(found)); err != nil {
			return err
		}
	}
	return nil
}

// lastID is the ID of a stream's last entry; zero if there is none.
func lastID(ctx context.Context, rdb redis.UniversalClient, key string) (ID, error) {
	var b Batch
	if err := rawEntries(ctx, rdb, limit{}, &b, "xrevrange", key, "+", "-", "count", 1); err != nil {
		return ID{}, readError(key, err)
	}
	if len(b.Entries) == 0 {
		return ID{}, nil
	}
	return ParseID(b.Entries[0].ID)
}

func readError(key string, err error) error { return keyError("read", key, err) }

// keyError is the error of one command on one key.
func keyError(op, key string, err error) error {
	if err == nil {
		return nil
	}
	if judge(err) == permanent {
		return &PermanentError{op, key, err}
	}
	return fmt.Errorf("redisio: %s %q: %w", op, keyName(key), err)
}

func needKey(what, key string) error {
	if key == "" {
		return &ConfigError{what, "key", "is empty", "name the stream"}
	}
	return nil
}
