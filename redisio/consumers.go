package redisio

// Two consumers of each group are not readers. Their pending entries are pools from which any
// reader takes entries. See package reader.
const (
	// SuspectsConsumer holds entries of dead readers until another reader takes them.
	SuspectsConsumer = "redisio:suspects"
	// ReleasedConsumer holds entries that were released or that failed twice, until a reader takes them.
	ReleasedConsumer = "redisio:released"
)
