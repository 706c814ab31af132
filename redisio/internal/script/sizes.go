package script

// PageSize is the number of ids of one XPENDING page or one script call.
const PageSize = 500

// AckChunk is how many ids one XACK has: more would hold up the server's other clients.
const AckChunk = 1000

// TrimStep is how many entries one script drops at most.
const TrimStep = 10_000
