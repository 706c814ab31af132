package redisio

import (
	"fmt"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// RefusedFor is how long readers, writers and loops retry a server that refuses them after it has
// worked. Such refusals are NOAUTH and WRONGPASS, for example during a change of password, and
// unknown answers, such as those of a proxy without a server. EventRefused reports them. After this
// time the error is permanent. Before the first success it is permanent at once.
const RefusedFor = time.Minute

// Patience distinguishes temporary refusals from permanent ones. Report each success and each error
// of one kind of work to it. The zero value is ready and has seen no success. It is safe for
// concurrent use.
type Patience struct {
	mu     sync.Mutex
	most   time.Duration // 0: RefusedFor
	worked bool
	since  time.Time // first refusal after the last success; zero: none
}

// Worked records a success.
func (p *Patience) Worked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.worked, p.since = true, time.Time{}
}

// Look returns err. A refusal that is still retried is wrapped, so that IsPermanent returns false.
func (p *Patience) Look(err error) error {
	err, _ = p.Refusal(err)
	return err
}

// Refusal is like Look, and also reports whether this is the first refusal, which deserves an
// event.
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

// Refused returns the event of a first refusal.
func Refused(key string, err error) Event {
	e := Event{Kind: EventRefused, Key: key, Err: err}
	if r, ok := err.(*fault.RefusedError); ok {
		e.Err, e.Wait = r.Err, r.Left
	}
	return e
}
