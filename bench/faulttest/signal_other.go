//go:build !unix

package faulttest

import "os"

var sigPause, sigResume, sigTerm os.Signal // this system lacks them
