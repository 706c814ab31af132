// Package view keeps data that is computed from streams, together with the position up to which it
// is computed. Package gateways/projection runs on it.
//
// # The words
//
//   - A view has a name and belongs to a space: the name and the number of partitions of an
//     eventstore.Store. Partition p of a view has keys in the slot {space:p}.
//   - A build is one computation of a view from the beginning, such as 2.7: the seventh build, by
//     code of version 2. One build is live, and readers read it. Another may be computed next to it.
//   - The position of a build in a partition is the ID of the last entry that its data includes.
//   - A [Tx] collects changes of a partition. [View.Commit] writes them together with the new
//     position, in one script, if the position is the one that they were computed from.
//
// So each entry changes the data once, whatever fails: a process that was replaced, or a second one
// that computes the same, finds another position and writes nothing. A claim keeps two processes from
// computing the same all the time. It is not needed for correctness.
//
// # In Redis
//
//	{bank:0}v:balances             hash: live, next, old builds
//	{bank:0}v:balances:2.7         hash: position, number of entries, claim, pause
//	{bank:0}v:balances:2.7:keys    set: the keys below, to delete them later
//	{bank:0}v:balances:2.7:k:rich  the data: hashes, lists and sorted sets
//
// [View.Switch] makes the next build live by changing one field, so a reader sees the old or the new
// build and no mixture. The old one is dropped after a grace, when its last readers have finished.
//
// As those of event stores, the scripts have a varying number of keys in one slot, which some proxies
// in front of a cluster refuse.
package view
