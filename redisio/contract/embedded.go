package contract

// EmbeddedDiffers returns the known differences of the in-process server of redisio/embedded, which
// is miniredis.
func EmbeddedDiffers() map[string]string {
	return map[string]string{
		"reclaim/dead":        "XAUTOCLAIM with JUSTID counts a delivery, so entries taken over have one too many",
		"tombstone/reclaimed": "an entry deleted while pending leaves the pending list silently, not counted as lost",
		"reap/pending":        "XINFO CONSUMERS returns no idle time, so old consumers are not deleted",
		"info/lag":            "XINFO GROUPS returns the stream's length as the lag",
	}
}
