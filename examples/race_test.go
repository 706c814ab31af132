//go:build race

package examples

func init() { race = true }
