// Package slot makes names whose keys share a slot of Redis Cluster.
package slot

import (
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
)

// Tag is the hash tag of a name: what all its keys begin with.
func Tag(name string) string {
	if strings.HasPrefix(name, "{") {
		return name
	}
	return "{" + name + "}"
}

// Check reports names that don't make keys of one slot, as a mistake in a field of a configuration.
// The example is a good one.
func Check(config, field, name, example string) error {
	inner := name
	if strings.HasPrefix(name, "{") && strings.HasSuffix(name, "}") {
		inner = name[1 : len(name)-1]
	}
	problem := ""
	switch {
	case inner == "":
		problem = "is empty"
	case len(name) > 200:
		problem = "is longer than 200 bytes"
	case strings.ContainsAny(inner, "{}"):
		problem = "has braces inside"
	default:
		return nil
	}
	return &redisio.ConfigError{
		Type:    config,
		Field:   field,
		Problem: problem,
		Fix: `name it in a word or a few, as "` + example +
			`"; for a hash tag of Redis Cluster put all of it in braces, as "{` + example + `}"`,
	}
}
