//go:build race

package faulttest

// raceEnabled: the detector's shadow memory grows with what is touched, and is no leak.
const raceEnabled = true
