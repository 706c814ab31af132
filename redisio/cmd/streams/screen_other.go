//go:build !windows

package main

import "os"

// enableEscapes does nothing: other terminals understand escape sequences.
func enableEscapes(*os.File) (restore func()) { return func() {} }
