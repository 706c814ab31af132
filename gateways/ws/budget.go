package ws

import "golang.org/x/time/rate"

// budget limits the bytes that a user may send over all its sockets in this process.
type budget struct {
	*rate.Limiter
	sockets int // guarded by Hub.mu
}

// spend returns the budget of a user and counts one more of its sockets. It returns nil if there is
// no limit.
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

// unspend releases the budget of a socket that has ended. The budget is kept until it is full
// again.
func (h *Hub) unspend(user string, b *budget) {
	if b == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b.sockets--
	h.forget(user, b)
}

// forget removes a budget that no socket uses and that is full again. The caller holds h.mu.
func (h *Hub) forget(user string, b *budget) {
	if b.sockets == 0 && b.Tokens() >= float64(h.cfg.UserBurst) {
		delete(h.users, user)
	}
}
