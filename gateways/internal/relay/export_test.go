package relay

// PutOut removes the stream of a key from the pool, as the sweep does, and does not disconnect it.
func (p *Pool[T]) PutOut(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.putOut(p.members[key])
}
