package ws

import (
	"sync"

	"golang.org/x/time/rate"
)

// budget limits the bytes that a user may send over all its sockets in this process.
type budget struct {
	*rate.Limiter
	sockets int // guarded by budgets.mu
}

// budgets are the budgets of all users with sockets in this process.
type budgets struct {
	rate  rate.Limit // negative: no limit
	burst int

	mu    sync.Mutex
	users map[string]*budget
}

// acquire returns the budget of a user and counts one more of its sockets. It returns nil if there
// is no limit.
func (b *budgets) acquire(user string) *budget {
	if b.rate < 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.users[user]
	if one == nil {
		one = &budget{Limiter: rate.NewLimiter(b.rate, b.burst)}
		b.users[user] = one
	}
	one.sockets++
	return one
}

// release releases the budget of a socket that has ended. The budget is kept until it is full
// again.
func (b *budgets) release(user string, one *budget) {
	if one == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	one.sockets--
	b.forgetLocked(user, one)
}

// sweep removes the budgets that are full again.
func (b *budgets) sweep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for user, one := range b.users {
		b.forgetLocked(user, one)
	}
}

// forgetLocked removes a budget that no socket uses and that is full again. The caller holds mu.
func (b *budgets) forgetLocked(user string, one *budget) {
	if one.sockets == 0 && one.Tokens() >= float64(b.burst) {
		delete(b.users, user)
	}
}
