package eventstore

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// Config configures a Store. Name is required; the zero value of any other field is its default.
type Config[E any] struct {
	// Name is the name of the store. All of its keys begin with it, as in {bank:0}log.
	Name string
	// Partitions is the number of logs, each in a hash slot of its own. It is recorded in the store
	// and cannot be changed later. Defaults to 1, at most 1024.
	Partitions int
	// Format encodes the events. Defaults to redisio.Native with redisio.DefaultCodec. Use [Kinds] if
	// E is an interface. It must keep the native fields key, id and type.
	Format redisio.Format[E]

	// MaxEvent is the maximum size of an event: the bytes of all names and values. Defaults to 1 MiB.
	MaxEvent int
	// MaxEvents is the maximum number of events of one append. Defaults to 100, at most 1000.
	MaxEvents int
	// MaxBytes is the maximum size of one append. Defaults to 4 MiB.
	MaxBytes int
	// MaxBetween is the maximum number of events that a *Conflict carries. They have about 1 MiB at
	// most. Defaults to 100, at most 1000. Negative means none.
	MaxBetween int

	// Remember is how long the result of an append is kept under its ID, see Batch.ID. Defaults to
	// 10m, at least 1s. One append needs about 150 bytes for this time.
	Remember time.Duration
	// Patience is how long a call retries while the server cannot answer. Defaults to 10s. Negative
	// means that it does not retry. It must be shorter than Remember.
	Patience time.Duration
}

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c Config[E]) Validate() error {
	m := redisio.MistakesOf("eventstore.Config")
	m.Empty("Name", c.Name, "name the store, as in bank")
	m.If(strings.ContainsAny(c.Name, "{}"), "Name", fmt.Sprintf("is %q, with a brace", c.Name),
		"leave the braces out: the store adds them")
	m.Is(len(c.Name) > 200, "Name", "longer than 200 bytes", "choose a shorter name")
	m.Is(c.Partitions < 0 || c.Partitions > 1024, "Partitions", c.Partitions, "choose 1 to 1024, or leave it 0 for 1")
	m.Is(c.MaxEvent < 0 || c.MaxEvent > maxSize, "MaxEvent", c.MaxEvent, "choose up to 64 MiB, or leave it 0 for 1 MiB")
	m.Is(c.MaxEvents < 0 || c.MaxEvents > 1000, "MaxEvents", c.MaxEvents, "choose up to 1000, or leave it 0 for 100")
	m.Is(c.MaxBytes < 0 || c.MaxBytes > maxSize, "MaxBytes", c.MaxBytes, "choose up to 64 MiB, or leave it 0 for 4 MiB")
	m.Is(c.MaxBetween > 1000, "MaxBetween", c.MaxBetween, "choose up to 1000")
	m.Is(c.Remember < 0 || c.Remember > 0 && c.Remember < time.Second, "Remember", c.Remember,
		"choose 1s or more, or leave it 0 for 10m")
	d := c.withDefaults()
	m.Is(d.Patience >= d.Remember && d.Remember > 0, "Patience", d.Patience, "choose a time shorter than Remember")
	if f, ok := c.Format.(interface{ Validate() error }); ok {
		m.Join(f.Validate())
	}
	return m.Err()
}

// maxSize is the largest limit of a size: Redis itself takes 512 MiB, and a script copies values.
const maxSize = 64 << 20

func (c Config[E]) withDefaults() Config[E] {
	c.Partitions = cmp.Or(c.Partitions, 1)
	c.MaxEvent = cmp.Or(c.MaxEvent, 1<<20)
	c.MaxEvents = cmp.Or(c.MaxEvents, 100)
	c.MaxBytes = cmp.Or(c.MaxBytes, 4<<20)
	c.MaxBetween = max(cmp.Or(c.MaxBetween, 100), 0)
	c.Remember = cmp.Or(c.Remember, 10*time.Minute)
	c.Patience = cmp.Or(c.Patience, min(10*time.Second, c.Remember/2))
	c.Format = redisio.FormatOf(nil, c.Format)
	return c
}

// maxName is the largest length of the name of an aggregate and of the ID of an append.
const maxName = 1024
