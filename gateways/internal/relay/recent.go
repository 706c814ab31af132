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

// recentEntries has the newest entries: all those after floor, up to the relay's position. Guarded by the
// relay's lock.
type recentEntries[T any] struct {
	most, mostBytes int

	floor redisio.ID
	list  []record[T] // from head on
	head  int
	bytes int
}

// reset removes all entries. The next one is after at.
func (c *recentEntries[T]) reset(at redisio.ID) {
	c.floor, c.list, c.head, c.bytes = at, nil, 0, 0
}

func (c *recentEntries[T]) push(rec record[T]) {
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
func (c *recentEntries[T]) covers(id redisio.ID) bool { return id.Compare(c.floor) >= 0 }

// has reports whether id is that of an entry here, or of the last one before them.
func (c *recentEntries[T]) has(id redisio.ID) bool {
	if id == c.floor {
		return !id.IsZero()
	}
	_, found := c.find(id)
	return found
}

// after returns the entries after id.
func (c *recentEntries[T]) after(id redisio.ID) []record[T] {
	i, found := c.find(id)
	if found {
		i++
	}
	return c.list[c.head+i:]
}

func (c *recentEntries[T]) find(id redisio.ID) (int, bool) {
	return slices.BinarySearchFunc(
		c.list[c.head:],
		id,
		func(r record[T], id redisio.ID) int { return r.id.Compare(id) },
	)
}

// known returns the hashes of the entries, and the newest of them.
func (c *recentEntries[T]) known() (map[redisio.ID]uint64, redisio.ID) {
	list := c.list[c.head:]
	known := make(map[redisio.ID]uint64, len(list))
	for i := range list {
		known[list[i].id] = list[i].sum
	}
	if len(list) == 0 {
		return known, redisio.ID{}
	}
	return known, list[len(list)-1].id
}
