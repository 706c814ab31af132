//go:build !linux

package bench

// residentSet is not available on this system.
func residentSet() uint64 { return 0 }
