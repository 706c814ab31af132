//go:build !linux

package bench

// residentSet is not known here.
func residentSet() uint64 { return 0 }
