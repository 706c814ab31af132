package redisio

// Capabilities are the commands and options beyond Redis 7.0 that a server has. All of them are
// optional. A reader.Group detects and uses Claim and MaxSize, see reader.GroupConfig.Capabilities.
// A Writer uses IDMP, see writer.Config.DedupeWindow.
//
// A reader.Group does not use XNACK. It moves released entries to ReleasedConsumer, on every
// server, so that it can set when they are due and keep their delivery count.
type Capabilities struct {
	Claim   bool // XREADGROUP … CLAIM (Redis 8.4): reclaims and reads in one call
	XNack   bool // XNACK (8.8): releases entries without setting idle times
	XAckDel bool // XACKDEL (8.2): acks and deletes in one step
	IDMP    bool // XADD … IDMP (8.6): repeated writes add no duplicates
	MaxSize bool // XREADGROUP … MAXSIZE (8.10): bounds replies in bytes
}
