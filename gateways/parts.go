package gateways

import (
	"fmt"
	"sync"
)

// parts queues a streamed reply for its reader. The window limits how many parts it holds.
type parts struct {
	window int
	news   chan struct{} // holds a token when something has changed

	mu   sync.Mutex
	have []Response
	run  string // the handling that sends the parts; "" before the first
	next int    // number of the next part; the first is 1
	err  error  // why there will be no more
	over bool   // the end has arrived
}

func newParts(window int) *parts {
	return &parts{window: window, news: make(chan struct{}, 1), next: 1}
}

// put takes a part from the mailbox. It never blocks.
func (p *parts) put(r Response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over || p.err != nil || r.kind == kindPart && r.seq < p.next ||
		p.run != "" && r.run != "" && r.run != p.run: // a copy
		return
	case r.kind == kindError:
		p.err = r.Failure()
	case r.kind == kindEnd && r.seq == p.next:
		p.over = true
	case r.kind == kindPart && r.seq == p.next && len(p.have) < 2*p.window:
		p.run = r.run
		p.have = append(p.have, r)
		p.next++
	default:
		p.err = fmt.Errorf("%w: received part %d instead of part %d", ErrInterrupted, r.seq, p.next)
	}
	p.tell()
}

func (p *parts) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && !p.over {
		p.err = err
	}
	p.tell()
}

func (p *parts) tell() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// take returns the parts received so far, and how the reply ended if it has.
func (p *parts) take() (have []Response, over bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	have, p.have = p.have, nil
	return have, p.over || p.err != nil, p.err
}
