package transcript

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Entry is an entry of a transcript: a value, a reset or the end.
type Entry struct {
	ID    redisio.ID
	Data  []byte // of a value
	Reset bool   // the values before are void
	End   *End   // set on the last entry
}

// ErrNotOurs reports an entry that no Store has written.
var ErrNotOurs = errors.New("transcript: an entry of another program")

// Decode reads an entry of a stream.
func Decode(id redisio.ID, typ, data []byte) (Entry, error) {
	e := Entry{ID: id}
	switch string(typ) {
	case "":
		e.Data = data
	case "reset":
		e.Reset = true
	case "end":
		e.End = new(End)
		if err := json.Unmarshal(data, e.End); err != nil {
			return e, ErrNotOurs
		}
	default:
		return e, ErrNotOurs
	}
	return e, nil
}

// Page is a part of a transcript.
type Page struct {
	Info    Info
	Entries []Entry
	// UpToDate reports that there are no later entries. If Redis has lost the stream, the entries up
	// to Info.Last are missing.
	UpToDate bool
}

// Page returns up to n entries after an ID. The zero ID is the beginning. It returns ErrUnknown if
// there is no such transcript. Compare IDs to notice trimmed entries: they are numbered without
// holes.
func (s *Store) Page(ctx context.Context, id string, after redisio.ID, n int) (page Page, err error) {
	if err := checkName(id); err != nil {
		return page, err
	}
	var state *redis.SliceCmd
	var found *redis.XMessageSliceCmd
	err = fault.WaitFor(ctx, max(s.cfg.Patience, 0), func() error {
		pipe := s.rdb.Pipeline()
		state = pipe.HMGet(ctx, s.stateKey(id), infoFields...)
		found = pipe.XRangeN(ctx, s.StreamKey(id), after.Next().String(), "+", int64(n))
		_, _ = pipe.Exec(ctx) // each has an error of its own
		return errors.Join(state.Err(), found.Err())
	})
	if err != nil {
		return page, check.KeyError("read", s.StreamKey(id), err)
	}
	return pageOf(state.Val(), found.Val(), after, n)
}

func pageOf(state []any, found []redis.XMessage, after redisio.ID, most int) (page Page, err error) {
	if page.Info, err = infoOf(state); err != nil {
		return page, err
	}
	last := after
	page.Entries = make([]Entry, 0, len(found))
	for i := range found {
		id, err := redisio.ParseID(found[i].ID)
		if err != nil {
			return page, err
		}
		typ, _ := found[i].Values["type"].(string)
		data, _ := found[i].Values["data"].(string)
		e, err := Decode(id, []byte(typ), []byte(data))
		if err != nil || id.Ms != page.Info.Base.Ms {
			continue // of another program: it does not count
		}
		last = id
		page.Entries = append(page.Entries, e)
	}
	end := len(page.Entries) > 0 && page.Entries[len(page.Entries)-1].End != nil
	page.UpToDate = end || len(found) < most || page.Info.State == Open && last.Compare(page.Info.Last) >= 0
	return page, nil
}
