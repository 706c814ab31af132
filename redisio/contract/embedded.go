package contract

// EmbeddedDiffers is what the in-process server of redisio/embedded is known to do differently, which is miniredis.
func EmbeddedDiffers() map[string]string {
	return map[string]string{
		"reclaim/dead":        "XAUTOCLAIM with JUSTID counts a delivery there, so what is taken over has one too many",
		"tombstone/reclaimed": "what is deleted while it is pending vanishes from the pending list without a word, so it is not counted as lost",
		"reap/pending":        "XINFO CONSUMERS tells no idle time, so consumers of the past are not deleted",
		"info/lag":            "XINFO GROUPS tells the stream's length for the lag",
	}
}
