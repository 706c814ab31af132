//go:build !unix

package faulttest

import "errors"

var errNoSignals = errors.New("faulttest: the scenarios need Unix signals, which this system lacks")

func (p *process) pause() error     { return errNoSignals }
func (p *process) resume() error    { return errNoSignals }
func (p *process) terminate() error { return errNoSignals }
