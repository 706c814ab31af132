package redisio

import (
	"strings"
)

// HashTag is the part of a key that Redis Cluster hashes: what stands in the first braces, if anything does, else all.
func HashTag(key string) string {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			return tag
		}
	}
	return key
}

// Beside is a key in the hash slot of another; "" if there is none.
func Beside(key, suffix string) string {
	other := key + suffix
	if HashTag(key) == key { // no tag: the whole key is what is hashed
		other = "{" + key + "}" + suffix
	}
	if HashTag(other) != HashTag(key) {
		return ""
	}
	return other
}
