package redisio

import "errors"

// firstAsk is how many entries are asked for while nothing is known of their size.
const firstAsk = 16

// asking turns a bound on bytes into a COUNT, for Redis takes no other. Idea: it goes by the size that entries had so far,
// and while little is known it asks for few, eight times as many with each reply: a stream of large entries must
// not fill the memory with the first one.
type asking struct {
	size float64 // bytes per entry: up at once, down slowly, for the bound is on memory
	most int     // entries; 0: not asked yet
	few  int     // entries at most, after a reply that could not be read; 0: no such bound
}

// count is how many entries to ask for, at least one.
func (a *asking) count(count int, maxBytes int64) int {
	if a.few > 0 {
		count = min(count, a.few)
	}
	if maxBytes <= 0 {
		return count
	}
	if a.most == 0 {
		a.most = firstAsk
	}
	if a.most < count {
		count = a.most
	}
	if a.size > 0 {
		count = min(count, int(float64(maxBytes)/a.size))
	}
	return max(1, count)
}

// learn takes note of a reply.
func (a *asking) learn(b *Batch) {
	n := len(b.Entries)
	if n == 0 {
		return
	}
	if a.few *= 2; a.few > 1<<20 {
		a.few = 0
	}
	size := float64(b.Bytes) / float64(n)
	a.size = max(1, size, 0.9*a.size+0.1*size)
	if a.most > 0 && a.most < 1<<20 && n >= a.most {
		a.most *= 8
	}
}

// failed takes note of an error for a reply of up to count entries. One that was too large, or not as it should be, is asked
// for in halves: the same question would have the same answer.
func (a *asking) failed(count int, err error) {
	var bad *ReplyError
	if errors.As(err, &bad) {
		a.few = max(1, count/2)
	}
}
