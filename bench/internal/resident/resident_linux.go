// Package resident measures the resident memory of this process.
package resident

import (
	"bytes"
	"os"
	"strconv"
)

// Set returns the resident memory of this process in bytes.
func Set() uint64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0 // unknown
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
