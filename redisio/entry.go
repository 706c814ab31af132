package redisio

import "time"

// Field is one name and value of an entry.
type Field struct {
	Name  string
	Value []byte
}

// Fields are the fields of an entry: in order, duplicates kept.
type Fields []Field

// Get returns the value of the first field with this name.
func (f Fields) Get(name string) (value []byte, ok bool) {
	for i := range f {
		if f[i].Name == name {
			return f[i].Value, true
		}
	}
	return nil, false
}

// Size returns the bytes of all names and values.
func (f Fields) Size() int {
	n := 0
	for i := range f {
		n += len(f[i].Name) + len(f[i].Value)
	}
	return n
}

// Entry is one element of a stream.
type Entry struct {
	ID       string
	Position ID // the parsed ID; zero if the server reports a trimmed entry without its ID
	Fields   Fields
	// Deliveries is the server's number of deliveries to the group. The first is 1. It is 0 without
	// a group.
	Deliveries int64
	// Deleted marks a tombstone: the entry was trimmed or deleted while pending and has no fields.
	Deleted bool
	// Withheld marks an entry of a group that exceeds a reply limit of the server or a proxy. Its
	// Fields are missing here but still in the stream. Settle it like any other entry. Dead copies
	// it on the server, whatever its size.
	Withheld bool
}

// Size returns the bytes of the ID and of all names and values.
func (e *Entry) Size() int { return len(e.ID) + e.Fields.Size() }

// Batch holds the entries of one read. IDs, names and values are slices of one buffer, which is
// never reused. They stay valid while referenced, but one retained ID retains the whole buffer.
// Clone values that you keep for long.
//
// Each read also allocates new Entries and Fields slices, so the caller may keep them.
type Batch struct {
	Entries []Entry
	Bytes   int // size of the replies that held the entries

	fields []Field // the rest of the current slab
}

// Reset empties the batch. It does not reuse the memory.
func (b *Batch) Reset() { b.Entries, b.Bytes, b.fields = nil, 0, nil }

// Grow makes room for n more entries.
func (b *Batch) Grow(n int) {
	if cap(b.Entries)-len(b.Entries) < n {
		b.Entries = append(make([]Entry, 0, len(b.Entries)+n), b.Entries...)
	}
}

// Slab returns an empty list with room for n fields; ahead is the expected number of further
// fields.
func (b *Batch) Slab(n, ahead int) []Field {
	if len(b.fields) < n {
		b.fields = make([]Field, max(n, ahead))
	}
	s := b.fields[0:0:n]
	b.fields = b.fields[n:]
	return s
}

// Outgoing is one entry to write.
type Outgoing struct {
	Key    string // "" means the key of the writer
	ID     string // "" means "*": the server chooses
	Fields Fields
	// DedupeID identifies the message. A second entry with the same DedupeID is not written while
	// the window remembers it. It needs writer.Config.DedupeWindow. "" disables the check for this
	// entry.
	DedupeID string
	// At schedules the entry: a schedule.Scheduler appends it to the stream when it is due. A past
	// time is due at once. Defaults to zero, which writes the entry now. DedupeID identifies a
	// scheduled entry; if it is "", Write sets it, so that repeating the Write changes nothing.
	At time.Time
}

// Result is the outcome of one entry: its ID, or an error that is ErrNotWritten or
// ErrUnknownOutcome.
type Result struct {
	// ID is set with a *DurabilityError too. For a duplicate it is the ID of the first entry if
	// the server reports it, else "".
	ID        string
	Duplicate bool // an entry with this DedupeID exists: nothing was written
	Err       error
}
