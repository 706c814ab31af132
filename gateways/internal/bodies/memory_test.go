package bodies

import (
	"sync"
	"testing"
)

// A large body that is refused does not count, so a small one that fits is not refused meanwhile.
func TestFault_RefusedBodyDoesNotCount(t *testing.T) {
	m := Of(64 << 10)
	done := make(chan struct{})
	var large sync.WaitGroup
	defer large.Wait()
	defer close(done)
	large.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if m.take(64 << 10) {
					t.Error("a body larger than the limit was accepted")
					return
				}
			}
		}
	})
	for range 200_000 {
		if !m.take(100) {
			t.Fatal("a small body was refused")
		}
		m.give(100)
	}
}
