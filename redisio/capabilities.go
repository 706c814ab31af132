package redisio

// Capabilities are commands and options beyond Redis 7.0 that a server has. Nothing here needs
// them. A reader.Group uses Claim and MaxSize and finds out about them by itself, see
// reader.GroupConfig.Capabilities; a Writer uses IDMP, see writer.Config.DedupeWindow.
//
// A reader.Group does not use XNACK. It moves released entries to ReleasedConsumer, on every server. So it
// can say when they are due, and that their history is known.
type Capabilities struct {
	Claim   bool // XREADGROUP … CLAIM (Redis 8.4): reclaiming and reading in one call
	XNack   bool // XNACK (8.8): giving entries back without setting idle times
	XAckDel bool // XACKDEL (8.2): acking and deleting in one step
	IDMP    bool // XADD … IDMP (8.6): retries of writes that don't duplicate
	MaxSize bool // XREADGROUP … MAXSIZE (8.10): replies bounded in bytes
}
