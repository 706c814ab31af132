//go:build !linux

package resident

// Set is not available on this system.
func Set() uint64 { return 0 }
