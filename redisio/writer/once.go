package writer

import (
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Writing once: the writer drops an entry if the stream remembers its DedupeID. Idea: a server with
// IDMP remembers ids itself. Otherwise a script keeps them in a sorted set in the slot of the
// stream, ordered by the server's time. Both forget ids that are older than the window, and the
// oldest beyond DedupeIDs.
//
// IDMP keeps 10,000 ids for a producer at most, which is 0.1 s of a fast stream. So the writer acts
// as idmpProducers producers. A hash of the id selects one, so that all writers use the same
// producer for an id.

const (
	defaultDedupeIDs = 100_000
	idmpProducers    = 64
	idmpMost         = 10_000 // ids of a producer
	idmpLongest      = 24 * time.Hour
	onceEntries      = 128     // entries of one call of the script: it holds up the server's other clients
	onceBytes        = 1 << 20 // and their bytes, if it is more than one entry
)

// onceKey returns the key for the ids of a stream, in its hash slot; "" if there is no such key. It
// is the same with and without a cluster client, because all writers must use the same key.
func onceKey(key string) string { return redisio.Beside(key, ":once") }

func noOnceKey(key string) *redisio.ConfigError {
	return &redisio.ConfigError{
		Type:    "writer.Config",
		Field:   "DedupeWindow",
		Problem: fmt.Sprintf("is set for %q, and no other key shares its hash slot", fault.KeyName(key)),
		Fix:     "give the key a hash tag, as {orders}",
	}
}

func (c *Config) validateOnce(m *redisio.Mistakes) {
	m.Is(c.DedupeWindow < 0 || c.DedupeWindow > 0 && c.DedupeWindow < time.Second, "DedupeWindow", c.DedupeWindow,
		"choose 1s or more, longer than writes are tried again; 0 is off")
	m.Is(c.DedupeIDs < 0 || c.DedupeIDs > 0 && c.DedupeIDs < 1000, "DedupeIDs", c.DedupeIDs,
		"choose 1000 or more, or leave it 0 for 100000")
	m.If(c.DedupeIDs > 0 && c.DedupeWindow == 0, "DedupeIDs", "is set without DedupeWindow", "set DedupeWindow as well")
	if c.DedupeWindow > 0 && c.Key != "" && onceKey(c.Key) == "" {
		m.Join(noOnceKey(c.Key))
	}
}

func checkOnce(key string, e *redisio.Outgoing) error {
	if len(e.Fields) > script.MaxOnceFields {
		return &redisio.TooManyFieldsError{Key: key, Fields: len(e.Fields), Limit: script.MaxOnceFields}
	}
	if onceKey(key) == "" {
		return &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: noOnceKey(key)}
	}
	return nil
}

// addOnce adds calls of scriptOnce for the entries of a part.
func (w *Writer) addOnce(c *chunk, p *part) {
	once := onceKey(p.key)
	for left := p.index; len(left) > 0; {
		n, bytes, args := 0, 0, 7
		for n < len(left) && n < onceEntries {
			e := &c.entries[left[n]]
			size := e.Fields.Size()
			if n > 0 && bytes+size > onceBytes {
				break
			}
			n, bytes, args = n+1, bytes+size, args+3+2*len(e.Fields)
		}
		index, list := left[:n], make([]any, 0, args)
		list = append(list, "eval", script.ScriptOnce, 2, p.key, once, w.cfg.DedupeWindow.Milliseconds(),
			w.cfg.DedupeIDs)
		for _, i := range index {
			e, id := &c.entries[i], &words.any
			if e.ID != "" {
				id = &e.ID
			}
			list = resp.AppendFields(append(list, &e.DedupeID, id, 2*len(e.Fields)), e.Fields)
		}
		c.ask(3, func(c *chunk, _ int) { w.readOnce(c, p, index) }, list...)
		left = left[n:]
	}
}

// readOnce reads the reply of scriptOnce: for each entry an ID, 0 for a duplicate, or an error.
func (w *Writer) readOnce(c *chunk, p *part, index []int) {
	err := c.replies.list(len(index))
	for _, i := range index {
		var res redisio.Result
		if err != nil {
			res = c.replies.failed(err)
		} else if res = c.replies.result(); res.ID == "0" {
			res = redisio.Result{Duplicate: true}
		}
		p.note(w, c, i, res)
	}
}

// perProducer is the number of ids that an IDMP producer remembers: twice its share, because hashes
// are not distributed evenly.
func (c *Config) perProducer() int { return min(max(2*c.DedupeIDs/idmpProducers, 100), idmpMost) }

// addIDMP adds XADDs with IDMP, and before them the script that sets it up and reads the last ID.
func (w *Writer) addIDMP(c *chunk, p *part) {
	c.ask(3, p.readIDMP, "eval", script.IDMP, 1, p.key, int64(w.cfg.DedupeWindow/time.Second), w.cfg.perProducer())
	wrote := p.wrote(w)
	for _, i := range p.index {
		var producer *string
		if e := &c.entries[i]; e.DedupeID != "" && e.ID == "" { // a second entry with its own ID is refused anyway
			producer = &producers[xxhash.Sum64String(e.DedupeID)%idmpProducers]
		}
		w.xadd(c, i, producer, wrote)
	}
}

var producers = func() (names [idmpProducers]string) {
	for i := range names {
		names[i] = "redisio-" + strconv.Itoa(i)
	}
	return names
}()

// readIDMP reads the last ID of the stream.
func (p *part) readIDMP(c *chunk, _ int) {
	id, err := c.replies.text()
	if err == nil {
		p.last, err = redisio.ParseID(id)
		p.known = err == nil
		return
	}
	if fault.Judge(err) == fault.Permanent &&
		!fault.IsWrongType(err) { // for example a user without the right to XINFO or XCFGSET
		p.lane.mu.Lock()
		p.lane.script = true
		p.lane.mu.Unlock()
	}
}

func (l *lane) refusesIDMP() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.script
}

// mayIDMP reports whether IDMP can hold as many ids as the configuration requires. IDMP cannot wait
// for replicas, because a duplicate writes nothing.
func (c *Config) mayIDMP() bool {
	return c.DedupeWindow > 0 && c.DedupeWindow <= idmpLongest && !c.Durability.on() &&
		2*c.DedupeIDs <= idmpProducers*idmpMost
}
