// Package slot names the keys of topics and hubs, which share a slot of Redis Cluster.
package slot

import (
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
)

// Tag returns the hash tag of a name. All keys of the name begin with it.
func Tag(name string) string {
	if strings.HasPrefix(name, "{") {
		return name
	}
	return "{" + name + "}"
}

// Check reports a name that gives keys in different slots, as a mistake in a field of a
// configuration. The example is a valid name for the message.
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
		Fix: `choose a short name such as "` + example +
			`"; for a hash tag put all of it in braces, such as "{` + example + `}"`,
	}
}
