//go:build !unix

package faulttest

import "errors"

var errNoSignals = errors.New("faulttest: this system has no signals: the scenarios need one of the Unix kind")

func (p *process) pause() error     { return errNoSignals }
func (p *process) resume() error    { return errNoSignals }
func (p *process) terminate() error { return errNoSignals }
