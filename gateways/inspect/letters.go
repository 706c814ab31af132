package inspect

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
)

// letters shows streams of dead letters. It reads only those that the board knows.
type letters struct {
	rdb   redis.UniversalClient // nil without Redis
	guard *guard
	board *board
}

// Limits of what is shown. Dead letters may have any size and content.
const (
	maxDeadKeys   = 200
	pageOfLetters = 50
	lettersIn     = 8 * time.Second // for the reply to a request
	maxValue      = 4 << 10         // bytes of a value that are shown
	maxValues     = 64 << 10        // … of all values
	maxFields     = 200
	maxWhole      = 4 << 20 // bytes of a dead letter to edit
	maxErrorText  = 8 << 10
	maxCauses     = 32
)

// deadView is a stream of dead letters.
type deadView struct {
	Key    string   `json:"key"`
	Count  int64    `json:"count"`  // -1: unknown
	Graphs []string `json:"graphs"` // that write to it
	Error  string   `json:"error,omitempty"`
}

// letterRow is a dead letter in a list, without its payload.
type letterRow struct {
	ID       string     `json:"id"`
	Died     time.Time  `json:"died"`
	Error    string     `json:"error"`
	Graph    string     `json:"graph"`
	Stage    string     `json:"stage"`
	Group    string     `json:"group"`
	Attempts int64      `json:"attempts"`
	From     string     `json:"from"` // the stream it was in; "": unknown
	FromID   string     `json:"from_id"`
	Fields   int        `json:"fields"`
	Bytes    int        `json:"bytes"`
	Replayed *time.Time `json:"replayed,omitempty"` // earlier
}

// letterPage is a part of a stream, the newest first.
type letterPage struct {
	Key     string      `json:"key"`
	Letters []letterRow `json:"letters"`
	Older   string      `json:"older,omitempty"` // there are dead letters before this ID
}

// count returns the streams of dead letters of all graphs, and those of the configuration. It asks
// for their lengths unless Redis is away.
func (l *letters) count(ctx context.Context, b *board) []deadView {
	graphs := make(map[string][]string)
	for _, key := range l.guard.cfg.DeadKeys {
		graphs[key] = []string{}
	}
	for _, p := range b.processes {
		now, _ := p.newest()
		for i := range now.Graphs {
			d := &now.Graphs[i].Blueprint
			for j := range d.Stages {
				key := d.Stages[j].DeadLettersTo
				if of := graphs[key]; key != "" && !slices.Contains(of, d.Graph) {
					graphs[key] = append(of, d.Graph)
				}
			}
		}
	}
	all := make([]deadView, 0, len(graphs))
	for key, of := range graphs {
		slices.Sort(of)
		all = append(all, deadView{Key: key, Count: -1, Graphs: of})
	}
	slices.SortFunc(all, func(x, y deadView) int { return cmp.Compare(x.Key, y.Key) })
	all = all[:min(len(all), maxDeadKeys)]
	if l.rdb == nil || b.notice != "" || len(all) == 0 {
		return all
	}
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	pipe, lengths := l.rdb.Pipeline(), make([]*redis.IntCmd, len(all))
	for i := range all {
		lengths[i] = pipe.XLen(ctx, all[i].Key)
	}
	_, err := pipe.Exec(ctx)
	for i := range all {
		n, failed := lengths[i].Result()
		if err != nil && failed != nil {
			all[i].Error = short(failed.Error())
			continue
		}
		all[i].Count = n
	}
	return all
}

// serve answers a request for dead letters.
func (l *letters) serve(w http.ResponseWriter, r *http.Request, name string) {
	ctx, cancel := context.WithTimeout(r.Context(), lettersIn)
	defer cancel()
	r = r.WithContext(ctx)
	q := r.URL.Query()
	key, id := q.Get("key"), q.Get("id")
	if err := l.known(key); err != nil {
		fail(w, http.StatusNotFound, err)
		return
	}
	if name == "letters" {
		page, err := l.list(ctx, key, q.Get("before"))
		reply(w, page, err)
		return
	}
	if _, err := redisio.ParseID(id); err != nil {
		reply(w, nil, errBadID)
		return
	}
	d, err := dead.Find(ctx, l.rdb, key, id)
	if err != nil {
		reply(w, nil, err)
		return
	}
	switch view := (Action{Do: ActView, Key: key, IDs: []string{d.ID}}); {
	case name == "value":
		l.download(w, r, &d, view, q.Get("field"))
	case q.Has("whole"):
		whole, err := l.whole(r, &d, view)
		reply(w, whole, err)
	default:
		reply(w, l.open(r, &d, view), nil)
	}
}

var (
	errNoRedis = errors.New("the page has no Redis client: give one to inspect.New")
	errBadID   = errors.New(`that is no entry ID: write it as "1732360000000-0"`)
	errUnknown = errors.New("the page does not show this stream: no graph names it, and Config.DeadKeys neither")
)

// known returns an error for streams that are not on the page.
func (l *letters) known(key string) error {
	if l.rdb == nil {
		return errNoRedis
	}
	if !l.board.hasDead(key) {
		return errUnknown
	}
	return nil
}

// list returns the newest dead letters before an ID; "" means all.
func (l *letters) list(ctx context.Context, key, before string) (*letterPage, error) {
	f := dead.Filter{Limit: pageOfLetters + 1}
	if before != "" {
		var err error
		if f.Before, err = redisio.ParseID(before); err != nil {
			return nil, errBadID
		}
	}
	page := &letterPage{Key: key, Letters: []letterRow{}}
	for d, err := range dead.Newest(ctx, l.rdb, key, f) {
		if err != nil {
			return nil, err
		}
		if len(page.Letters) == pageOfLetters {
			page.Older = page.Letters[pageOfLetters-1].ID
			break
		}
		page.Letters = append(page.Letters, rowOf(&d))
	}
	return page, nil
}

func rowOf(d *dead.Entry) letterRow {
	r := &d.Reason
	row := letterRow{
		ID: d.ID, Died: r.Time, Error: short(r.Error), Graph: short(r.Graph), Stage: short(r.Stage),
		Group: short(r.Group), Attempts: r.Attempts, From: r.Key, FromID: short(r.ID),
		Fields: len(d.Original), Bytes: d.Original.Size(),
	}
	if row.Died.IsZero() {
		row.Died = d.Position.Time()
	}
	if !r.Replayed.IsZero() {
		row.Replayed = &r.Replayed
	}
	return row
}
