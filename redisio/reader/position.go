package reader

import (
	"sync"

	"github.com/streamerson/streamerson-go/redisio"
)

// position is how far the group has been delivered, as far as we know: where a lost group starts again.
type position struct {
	mu sync.Mutex
	id redisio.ID
	n  int // how often it was set by what was delivered to us
}

func (p *position) get() redisio.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id
}

// set notes what was delivered to us, or where the group was made again.
func (p *position) set(id redisio.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id = id
	p.n++
}

// asked notes what the server said, unless something was delivered since it was asked, when version was taken.
func (p *position) asked(id redisio.ID, version int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == version {
		p.id = id
	}
}

func (p *position) version() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// lower notes that the group is before id: it is to deliver that once more.
func (p *position) lower(id redisio.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id.Compare(p.id) <= 0 {
		p.id = id.Prev()
		p.n++
	}
}
