//go:build !linux

package faulttest

// residentSet is not available on this system.
func residentSet() uint64 { return 0 }
