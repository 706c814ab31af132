package operators

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
)

// Partition sends each key to one of n outputs. Keyed state and order by key require it.
//
// The output of a key is its 64-bit xxHash (seed 0) modulo n, if it is a string, a bool, a number,
// or an array or struct of these. So it stays the same as long as n does, also in other processes
// and after restarts. A string is hashed as its bytes. A number is hashed as eight bytes in
// little-endian order (integers extended to 64 bits, floats as float64 bits). A bool is one byte.
// Arrays and structs are hashed as their elements in turn, where strings are preceded by their
// length. An array of bytes is hashed as its bytes. Keys of other types (interfaces, pointers,
// channels, and types that contain them) have no such form. Their output stays the same only for
// the life of the blueprint.
//
//	in      --a1--b2--a3--c4--|
//	out[0]  --a1------a3------|
//	out[1]  ------b2------c4--|
//
// Order: kept on each output, and so within a key. Acks: carried by the output.
// Holds: two chunks waiting on each output. Ends: when in ends.
func Partition[T any, K comparable](
	in flow.Source[T], n int, key func(T) K, opts ...flow.StageOption,
) []flow.Source[T] {
	return partition(in, "partition", n, key, opts)
}

func partition[T any, K comparable](
	in flow.Source[T], name string, n int, key func(T) K, opts []flow.StageOption,
) []flow.Source[T] {
	hash := hasher[K]()
	return flow.Route(in, name, n, func() flow.RouteFunc[T, T] {
		return func(_ context.Context, m flow.Message[T], emit func(int, flow.Message[T])) error {
			emit(int(hash(key(m.Value))%uint64(n)), m)
			return nil
		}
	}, with(opts, function("key", key != nil), flow.Traits{Passes: true})...)
}

// ByKey runs a sub-pipeline on each of n shards. The shards run concurrently, and their results are
// merged. It combines Partition, sub for each shard, and FanIn. It calls sub n times, when the
// blueprint is built. So each shard has its own state and sees all messages of its keys in order.
// The options are those of Partition.
//
//	in   --a1----b2----a3----|
//	out  --A1----B2----A3----|  each key in the shard that its hash selects
//
// Order: kept within a key, as far as sub keeps it. Acks: as sub does.
// Holds: two chunks waiting on each shard and two on the output, besides what sub holds. Ends: when all shards have.
func ByKey[T, U any, K comparable](
	in flow.Source[T], n int, key func(T) K, sub func(shard flow.Source[T]) flow.Source[U], opts ...flow.StageOption,
) flow.Source[U] {
	if n < 1 || sub == nil {
		return mistaken[T, U](in, "by-key", opts,
			atLeastOne("n", n, "shards"), function("key", key != nil), function("sub", sub != nil))
	}
	shards := partition(in, "by-key", n, key, opts)
	results := make([]flow.Source[U], n)
	for i, shard := range shards {
		results[i] = sub(shard)
	}
	return FanIn(results...)
}
