package redisio

// Two consumers of each group are no readers: their pending entries are pools that any reader takes
// from. See package reader.
const (
	// SuspectsConsumer holds entries whose reader died, until another reader takes them.
	SuspectsConsumer = "redisio:suspects"
	// ReleasedConsumer holds entries that were released or that failed twice, until a reader takes them.
	ReleasedConsumer = "redisio:released"
)
