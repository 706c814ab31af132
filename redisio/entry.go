package redisio

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
	ID         string
	Position   ID // ID, parsed; zero where a server tells of a trimmed entry without naming it
	Fields     Fields
	Deliveries int64 // how often the group delivered it, by the server's count; 1 is the first time, 0 without a group
	Deleted    bool  // a tombstone: the entry was trimmed or deleted while it was pending, its fields are gone
	// Withheld is an entry of a group that is larger than the server, or a proxy, lets through:
	// Fields are missing here, and are still in the stream. Settle it as any other. Dead copies it
	// on the server, whatever its size.
	Withheld bool
}

// Batch holds the entries of one read. IDs, names and values are slices of one buffer, which is never
// used again: they stay valid for as long as somebody refers to them, and whoever keeps one ID keeps the
// whole buffer. Clone what is to be kept long.
//
// Entries and Fields slices are made anew by each read as well, so the caller may keep them.
type Batch struct {
	Entries []Entry
	Bytes   int // size of the replies the entries came in

	fields []Field // the rest of the current slab
}

func (b *Batch) Reset() { b.Entries, b.Bytes, b.fields = nil, 0, nil }

// Grow makes room for n more entries.
func (b *Batch) Grow(n int) {
	if cap(b.Entries)-len(b.Entries) < n {
		b.Entries = append(make([]Entry, 0, len(b.Entries)+n), b.Entries...)
	}
}

// Slab returns an empty list with room for n fields; ahead is how many more will likely be wanted.
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
	Key    string // "" is the writer's
	ID     string // "" is "*": the server chooses
	Fields Fields
	// DedupeID names what is written: a second entry with the same one is not written while the window remembers it. It
	// needs writer.Config.DedupeWindow, and is "" for entries that are not to be compared.
	DedupeID string
}

// Result is what became of one entry: its ID, or an error that is ErrNotWritten or ErrUnknownOutcome.
type Result struct {
	ID        string // beside a *DurabilityError too. Of a duplicate that of the first where the server tells, else ""
	Duplicate bool   // an entry with this DedupeID was there already: nothing was written
	Err       error
}
