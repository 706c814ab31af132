package redisio

import (
	"strings"
)

// HashTag returns the part of a key that Redis Cluster hashes: the text in the first pair of
// braces, or the whole key if the braces are missing or empty.
func HashTag(key string) string {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			return tag
		}
	}
	return key
}

// Beside returns a key that has the suffix and shares the hash slot of key. It returns "" if no
// such key exists.
func Beside(key, suffix string) string {
	other := key + suffix
	if HashTag(key) == key { // no tag: the whole key is hashed
		other = "{" + key + "}" + suffix
	}
	if HashTag(other) != HashTag(key) {
		return ""
	}
	return other
}
