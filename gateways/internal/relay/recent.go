package relay

import (
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/streamerson/streamerson-go/redisio"
)

// record is a decoded entry with its topics.
type record[T any] struct {
	Item[T]
	topics []string
	size   int
	sum    uint64 // hash of the fields, because a new server may assign an ID again after a failover
}

// sum returns a hash of the fields of an entry.
func sum(e *redisio.Entry) uint64 {
	var d xxhash.Digest
	d.Reset()
	for i := range e.Fields {
		f := &e.Fields[i]
		var n [8]byte
		binary.LittleEndian.PutUint32(n[:], uint32(len(f.Name)))
		binary.LittleEndian.PutUint32(n[4:], uint32(len(f.Value)))
		d.Write(n[:])
		d.WriteString(f.Name)
		d.Write(f.Value)
	}
	return d.Sum64()
}

// recent has the newest entries: all those after floor, up to the relay's position. Guarded by the
// relay's lock.
type recent[T any] struct {
	most, mostBytes int

	floor redisio.ID
	list  []record[T] // from head on
	head  int
	bytes int
}

// reset removes all entries. The next one is after at.
func (c *recent[T]) reset(at redisio.ID) {
	c.floor, c.list, c.head, c.bytes = at, nil, 0, 0
}

func (c *recent[T]) push(rec record[T]) {
	c.list = append(c.list, rec)
	c.bytes += rec.size
	for n := len(c.list) - c.head; n > 0 && (n > c.most || c.bytes > c.mostBytes); n-- {
		old := &c.list[c.head]
		c.floor = old.id
		c.bytes -= old.size
		*old = record[T]{}
		c.head++
	}
	if c.head > len(c.list)/2 {
		n := copy(c.list, c.list[c.head:])
		clear(c.list[n:])
		c.list, c.head = c.list[:n], 0
	}
}

// covers reports whether all entries after id are here.
func (c *recent[T]) covers(id redisio.ID) bool { return id.Compare(c.floor) >= 0 }

// has reports whether id is that of an entry here, or of the last one before them.
func (c *recent[T]) has(id redisio.ID) bool {
	if id == c.floor {
		return !id.IsZero()
	}
	_, found := c.find(id)
	return found
}

// after returns the entries after id.
func (c *recent[T]) after(id redisio.ID) []record[T] {
	i, found := c.find(id)
	if found {
		i++
	}
	return c.list[c.head+i:]
}

func (c *recent[T]) find(id redisio.ID) (int, bool) {
	return slices.BinarySearchFunc(
		c.list[c.head:],
		id,
		func(r record[T], id redisio.ID) int { return r.id.Compare(id) },
	)
}

// remember is catchUp from memory. known is false if memory does not have the entries.
func (l *Listener[T]) remember() (b Batch[T], ok, known bool) {
	r := l.r
	r.mu.Lock()
	defer r.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || !r.open || l.life != r.life || l.pos.Compare(r.last) > 0 || !r.recent.covers(l.pos) {
		return b, false, false
	}
	list, end := r.recent.after(l.pos), r.last
	if l.live { // entries after until are in the queue
		n, found := slices.BinarySearchFunc(
			list,
			l.until,
			func(r record[T], id redisio.ID) int { return r.id.Compare(id) },
		)
		if found {
			n++
		}
		list, end = list[:n], l.until
	}
	if len(list) > r.cfg.Page {
		list = list[:r.cfg.Page]
		end = list[len(list)-1].id
	}
	b.Items = l.filter(list)
	l.pos, l.given = end, place{id: end}
	if !l.live && end == r.last {
		l.join()
	}
	b.Cursor = l.given.String()
	return b, len(b.Items) > 0, true
}

// filter returns the entries of the listener's topics. The caller holds the listener's lock.
func (l *Listener[T]) filter(list []record[T]) (items []Item[T]) {
	for i := range list {
		if l.wants(list[i].topics) {
			items = append(items, list[i].Item)
		}
	}
	return items
}

func (l *Listener[T]) wants(topics []string) bool {
	if l.opts.All {
		return true
	}
	for _, t := range topics {
		if _, ok := l.topics[t]; ok {
			return true
		}
	}
	return false
}
