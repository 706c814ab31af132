package writer

import (
	"fmt"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Full is the reaction of a writer when the stream has HardCap entries or takes MaxBytes.
type Full int

const (
	// FullPause writes nothing until there is room: Write returns a *StreamFullError that is ErrBackpressure, and
	// sink.Stream waits, so that the sources stop reading.
	FullPause Full = iota
	// FullDrop drops the oldest entries. Those that a group had not read or not settled are lost, and counted.
	FullDrop
	// FullRefuse is FullPause without the wait: the *StreamFullError is not
	// ErrBackpressure, and sink.Stream rejects the message, as dead letters are. So it does when
	// the server is out of memory.
	FullRefuse
)

// StreamFullError reports an entry that was not written because the stream is at its HardCap or
// MaxBytes.
type StreamFullError struct {
	Key      string
	Length   int64 // of the stream
	Cap      int64
	Bytes    int64 // of the stream; 0 if it is at its HardCap
	MaxBytes int64
	Group    string // the group that is not done with the oldest entries; "" if that is not known
	Full     Full   // the policy
}

func (e *StreamFullError) Error() string {
	size, of, raise := e.Length, e.Cap, "HardCap"
	unit := "entries"
	if e.Bytes > 0 {
		size, of, unit, raise = e.Bytes, e.MaxBytes, "bytes", "MaxBytes"
	}
	by := "its groups are"
	if e.Group != "" {
		by = fmt.Sprintf("its group %q is", fault.KeyName(e.Group))
	}
	return fmt.Sprintf(
		"redisio: %q is full: %d of %d %s, and %s not done with the oldest; add consumers, or raise %s",
		fault.KeyName(e.Key),
		size,
		of,
		unit,
		by,
		raise,
	)
}

// Is reports a StreamFullError as not written, and as backpressure unless the policy is to refuse.
func (e *StreamFullError) Is(target error) bool {
	return target == redisio.ErrNotWritten || target == redisio.ErrBackpressure && e.Full != FullRefuse
}
