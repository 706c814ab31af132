//go:build race

package faulttest

// raceEnabled: the race detector's shadow memory grows with the memory touched, and is not a leak.
const raceEnabled = true
