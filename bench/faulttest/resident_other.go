//go:build !linux

package faulttest

// residentSet is not known here.
func residentSet() uint64 { return 0 }
