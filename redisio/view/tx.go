package view

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Tx collects changes of the data of a build in a partition, until View.Commit. Names are those of
// Keys.Key. A name holds a hash, a list or a sorted set. It is used by one goroutine.
type Tx struct {
	view      *View
	build     Build
	partition int
	rows      map[string]*row
	size      int
	err       error // the first mistake
}

// row is the changes of one key.
type row struct {
	kind    string // hash, list or zset
	cleared bool   // deleted before the changes below
	fields  map[string]change
	pushed  []string
	keep    int // most elements of a list; 0: no limit
}

// change is what happens to a field of a hash or a member of a sorted set: it is set to a value,
// deleted, or increased.
type change struct {
	set, del bool
	value    string
	by       int64
}

// Begin returns an empty Tx for a build in a partition.
func (k Keys) Begin(partition int) *Tx {
	return &Tx{view: k.view, build: k.Build, partition: partition, rows: make(map[string]*row)}
}

// Size returns about how many bytes the changes have.
func (tx *Tx) Size() int { return tx.size }

// row returns the row of a name, which must be of a kind.
func (tx *Tx) row(name, kind string, size int) *row {
	tx.size += len(name) + size + 16
	r := tx.rows[name]
	if r == nil {
		r = &row{fields: make(map[string]change)}
		tx.rows[name] = r
	}
	if r.kind == "" {
		r.kind = kind
	}
	if r.kind != kind && tx.err == nil {
		tx.err = &KeyError{Key: name, Problem: "is used as a " + r.kind + " and as a " + kind}
	}
	return r
}

// HSet sets a field of a hash.
func (tx *Tx) HSet(name, field, value string) {
	tx.row(name, "hash", len(field)+len(value)).fields[field] = change{set: true, value: value}
}

// mostCount bounds the numbers that HIncrBy adds, so that no sum overflows on the server.
const mostCount = 1e16

// HIncrBy adds to a field of a hash, which holds an integer. Its numbers have at most 16 digits.
func (tx *Tx) HIncrBy(name, field string, n int64) {
	r := tx.row(name, "hash", len(field)+8)
	c, sum := r.fields[field], n
	var err error
	switch {
	case c.set:
		var have int64
		have, err = strconv.ParseInt(c.value, 10, 64)
		sum += have
		c.value = strconv.FormatInt(sum, 10)
	case c.del || r.cleared:
		c = change{set: true, value: strconv.FormatInt(n, 10)}
	default:
		c.by += n
		sum = c.by
	}
	large := max(n, sum) >= mostCount || min(n, sum) <= -mostCount
	if tx.err == nil && (err != nil || large) {
		tx.err = &KeyError{Key: name, Problem: "has a field that HIncrBy cannot add to"}
	}
	r.fields[field] = c
}

// HDel deletes a field of a hash.
func (tx *Tx) HDel(name, field string) {
	tx.row(name, "hash", len(field)).fields[field] = change{del: true}
}

// RPush appends a value to a list and keeps its last keep elements. 0 keeps all.
func (tx *Tx) RPush(name, value string, keep int) {
	r := tx.row(name, "list", len(value))
	r.pushed, r.keep = append(r.pushed, value), max(keep, 0)
}

// ZAdd sets the score of a member of a sorted set.
func (tx *Tx) ZAdd(name, member string, score float64) {
	value := strconv.FormatFloat(score, 'g', 17, 64)
	if score != score && tx.err == nil {
		tx.err = &KeyError{Key: name, Problem: "gets a score that is not a number"}
	}
	tx.row(name, "zset", len(member)+len(value)).fields[member] = change{set: true, value: value}
}

// ZRem removes a member of a sorted set.
func (tx *Tx) ZRem(name, member string) {
	tx.row(name, "zset", len(member)).fields[member] = change{del: true}
}

// Del deletes a hash, a list or a sorted set. Later changes apply to an empty key.
func (tx *Tx) Del(name string) {
	tx.size += len(name) + 16
	tx.rows[name] = &row{cleared: true, fields: make(map[string]change)}
}

// HGet returns a field of a hash with the changes of this Tx. ok is false if it does not exist. It
// asks the server for fields that the Tx has not set.
func (tx *Tx) HGet(ctx context.Context, name, field string) (value string, ok bool, err error) {
	r := tx.rows[name]
	var c change
	if r != nil {
		c = r.fields[field]
	}
	switch {
	case c.set:
		return c.value, true, nil
	case c.del || r != nil && r.cleared:
		return "", false, nil
	}
	key := tx.view.Of(tx.build).Key(tx.partition, name)
	ok = true
	err = tx.view.try(ctx, "read", key, func() (err error) {
		value, err = tx.view.rdb.Eval(ctx, script.Read, []string{key}, "HGET", field).Text()
		if errors.Is(err, redis.Nil) {
			ok, err = false, nil
		}
		return err
	})
	if err != nil || c.by == 0 {
		return value, ok, err
	}
	have := int64(0)
	if ok {
		if have, err = strconv.ParseInt(value, 10, 64); err != nil {
			return "", false, &KeyError{Key: key, Problem: "has a field that HIncrBy cannot add to"}
		}
	}
	return strconv.FormatInt(have+c.by, 10), true, nil
}

// HGetInt is HGet for an integer. A field that does not exist is 0.
func (tx *Tx) HGetInt(ctx context.Context, name, field string) (int64, error) {
	value, ok, err := tx.HGet(ctx, name, field)
	if err != nil || !ok {
		return 0, err
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, &KeyError{Key: name, Problem: fmt.Sprintf("has a field that is no integer: %.20q", value)}
	}
	return n, nil
}

// encode returns the keys and the changes as script.ViewCommit takes them, in a fixed order.
func (tx *Tx) encode() (keys []string, args []any) {
	of := tx.view.Of(tx.build)
	for _, name := range slices.Sorted(maps.Keys(tx.rows)) {
		r := tx.rows[name]
		keys = append(keys, of.Key(tx.partition, name))
		add := func(op string, values ...any) {
			args = append(append(args, op, len(keys), len(values)), values...)
		}
		if r.cleared {
			add("DEL")
		}
		for _, f := range slices.Sorted(maps.Keys(r.fields)) {
			switch c := r.fields[f]; {
			case r.kind == "zset" && c.set:
				add("ZADD", c.value, f)
			case r.kind == "zset":
				add("ZREM", f)
			case c.set:
				add("HSET", f, c.value)
			case c.del:
				add("HDEL", f)
			default:
				add("HINCRBY", f, c.by)
			}
		}
		for _, value := range r.pushed {
			add("RPUSH", value)
		}
		if r.keep > 0 {
			add("LTRIM", -r.keep, -1)
		}
	}
	return keys, args
}
