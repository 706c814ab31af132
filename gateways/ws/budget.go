package ws

import "golang.org/x/time/rate"

// budget is how many bytes a user may send, over all its sockets in this process.
type budget struct {
	*rate.Limiter
	sockets int // guarded by Hub.mu
}

// spend returns the budget of a user, for one more of its sockets; nil if there is no limit.
func (h *Hub) spend(user string) *budget {
	if h.cfg.UserBytes < 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.users[user]
	if b == nil {
		b = &budget{Limiter: rate.NewLimiter(rate.Limit(h.cfg.UserBytes), h.cfg.UserBurst)}
		h.users[user] = b
	}
	b.sockets++
	return b
}

// unspend is for a socket that has ended. What the user has spent is remembered for as long as it
// matters.
func (h *Hub) unspend(user string, b *budget) {
	if b == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b.sockets--
	h.forget(user, b)
}

// forget forgets a user who is as good as new. The hub's lock is held.
func (h *Hub) forget(user string, b *budget) {
	if b.sockets == 0 && b.Tokens() >= float64(h.cfg.UserBurst) {
		delete(h.users, user)
	}
}
