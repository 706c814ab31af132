//go:build race

package redisio

const raceEnabled = true
