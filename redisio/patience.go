package redisio

import (
	"fmt"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// RefusedFor is how long readers, writers and loops that have worked before wait out a server that
// refuses them: NOAUTH and WRONGPASS, as while a password is changed, and answers that no Redis
// gives, as those of a proxy whose server is away. EventRefused says so. After that time the answer
// is permanent. Before the first success it is at once.
const RefusedFor = time.Minute

// Patience tells answers that refuse us for a while from those that are permanent. Tell it of each
// success and each error of one kind of work. The zero value is ready, and has seen no success. It
// is safe for concurrent use.
type Patience struct {
	mu     sync.Mutex
	most   time.Duration // 0: RefusedFor
	worked bool
	since  time.Time // of the refusals, without a success since; zero: none
}

// Worked notes a success.
func (p *Patience) Worked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.worked, p.since = true, time.Time{}
}

// Look returns an error as it is, or, if it is a refusal that is to be waited out, as one that
// IsPermanent does not report.
func (p *Patience) Look(err error) error {
	err, _ = p.Refusal(err)
	return err
}

// Refusal also reports whether this is the first refusal, and so worth an event.
func (p *Patience) Refusal(err error) (_ error, first bool) {
	if fault.Judge(err) != fault.Permanent || !fault.MayPass(err) {
		return err, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.worked {
		return err, false
	}
	most := p.most
	if most == 0 {
		most = RefusedFor
	}
	now := time.Now()
	first = p.since.IsZero()
	if first {
		p.since = now
	}
	left := most - now.Sub(p.since)
	if left <= 0 {
		return fmt.Errorf("refused for %v: %w", most, err), false
	}
	return &fault.RefusedError{Err: err, Left: left}, first
}

// Refused is the event of a first refusal.
func Refused(key string, err error) Event {
	e := Event{Kind: EventRefused, Key: key, Err: err}
	if r, ok := err.(*fault.RefusedError); ok {
		e.Err, e.Wait = r.Err, r.Left
	}
	return e
}
