package redisio

import (
	"fmt"
	"sync"
	"time"
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
	err, _ = p.look(err)
	return err
}

// look also reports whether this is the first refusal, and so worth an event.
func (p *Patience) look(err error) (_ error, first bool) {
	if judge(err) != permanent || !mayPass(err) {
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
	return &refusedError{err, left}, first
}

// refusedError is a refusal that is being waited out.
type refusedError struct {
	err  error
	left time.Duration // until it counts as permanent
}

func (e *refusedError) Error() string { return e.err.Error() + advice(e.err) }
func (e *refusedError) Unwrap() error { return e.err }

// mayPass reports a permanent answer that may be none: a credential that is late, or the words of a proxy.
func mayPass(err error) bool {
	for _, p := range [...]string{"NOAUTH", "WRONGPASS", "NOPROTO"} {
		if says(err, p) {
			return true
		}
	}
	if isGroupLost(err) || noRight(err) {
		return false
	}
	for _, p := range [...]string{
		"WRONGTYPE", "CROSSSLOT", "EXECABORT", "BUSYGROUP", "BUSYKEY", "NOSCRIPT", "NOTBUSY", "UNKILLABLE", "XX ",
		"syntax error", "wrong number of arguments", "The ID", "Invalid", "invalid", "value is", "Error ", "user_script",
		"Number of keys", "Protocol error", "bad lua script", "string exceeds", "Elements are too large", "the dead letter",
		"MULTI", "EXEC", "DISCARD", "WATCH", "XADD", "XGROUP", "The XGROUP", "LIMIT", "COUNT", "MAXLEN", "MINID", "This instance", "DB index",
	} {
		if says(err, p) {
			return false
		}
	}
	return true
}

// refused is the event of a first refusal.
func refused(key string, err error) Event {
	e := Event{Kind: EventRefused, Key: key, Err: err}
	if r, ok := err.(*refusedError); ok {
		e.Err, e.Wait = r.err, r.left
	}
	return e
}
