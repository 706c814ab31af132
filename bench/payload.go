package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Payloads of the Redis cases begin with a number, so that output can be compared with input. They
// are made before the clock starts and never changed.

const (
	ring   = 1 << 14 // number of different payloads, used round robin
	digits = 8
)

// payloads holds the first ring payloads of a size.
type payloads struct{ each [][]byte }

var made sync.Map // size → *payloads

func payloadsOf(size int) *payloads {
	size = max(size, digits)
	if p, ok := made.Load(size); ok {
		return p.(*payloads)
	}
	slab := make([]byte, size*ring)
	p := &payloads{each: make([][]byte, ring)}
	for i := range p.each {
		b := slab[i*size : (i+1)*size : (i+1)*size]
		copy(b, fmt.Sprintf("%0*d", digits, i))
		for j := digits; j < size; j++ {
			b[j] = 'a' + byte(j%26)
		}
		p.each[i] = b
	}
	made.Store(size, p)
	return p
}

func (p *payloads) at(i int) []byte { return p.each[i%ring] }

// PayloadAt returns the i-th payload of the produce and consume cases. It must not be changed.
func (t *Trial) PayloadAt(i int) []byte { return payloadsOf(t.Payload).at(i) }

// AddPayload adds a payload to the tally. A payload that does not begin with a number invalidates
// the checksum.
func (y *Tally) AddPayload(b []byte) {
	if len(b) < digits {
		y.add(len(b), 1<<40)
		return
	}
	y.add(len(b), number(b[:digits]))
}

func (y *Tally) addString(s string) {
	if len(s) < digits {
		y.add(len(s), 1<<40)
		return
	}
	y.add(len(s), number(s[:digits]))
}

func number[S ~string | ~[]byte](s S) (n uint64) {
	for i := range len(s) {
		n = n*10 + uint64(s[i]-'0')
	}
	return n
}

// wantPayloads returns the tally of n payloads.
func wantPayloads(n, size int) Tally {
	size = max(size, digits)
	want := Tally{Count: n, Bytes: n * size}
	for i := range min(n, ring) {
		rounds := n / ring
		if i < n%ring {
			rounds++
		}
		want.Sum += uint64(i) * uint64(rounds)
	}
	return want
}

// CheckPayloads compares a tally with that of all payloads of the trial.
func (t *Trial) CheckPayloads(got Tally) error {
	return compare("the payloads", got, wantPayloads(t.N, t.Payload))
}

// Field is the only field of the entries in the Redis cases, except those of requests and replies.
const Field = "data"

// tallyStream reads a whole stream.
func tallyStream(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	count func(*Tally, string),
) (Tally, error) {
	var got Tally
	from := "-"
	for {
		page, err := rdb.XRangeN(ctx, key, from, "+", 200).Result()
		if err != nil {
			return got, err
		}
		if len(page) == 0 {
			return got, nil
		}
		for _, m := range page {
			data, ok := m.Values[Field].(string)
			if !ok {
				return got, fmt.Errorf("entry %s of %q has no field %q", m.ID, key, Field)
			}
			count(&got, data)
		}
		from = "(" + page[len(page)-1].ID
	}
}

// fill creates the stream t.In with n entries, unless the previous run left it, and a new group at
// its start.
func fill(ctx context.Context, t *Trial, payload func(i int) []byte) error {
	have, err := t.Redis.XLen(ctx, t.In).Result()
	if err != nil {
		return err
	}
	if have != int64(t.N) {
		if err := t.Redis.Unlink(ctx, t.In).Err(); err != nil {
			return err
		}
		if err := writeLoop(ctx, t, t.In, payload); err != nil {
			return err
		}
	}
	if err := t.Redis.XGroupDestroy(ctx, t.In, t.Group).Err(); err != nil {
		return err
	}
	return t.Redis.XGroupCreate(ctx, t.In, t.Group, "0").Err()
}

// drained checks that the group has read all of t.In and acknowledged everything.
func drained(ctx context.Context, t *Trial) error {
	pending, err := t.Redis.XPending(ctx, t.In, t.Group).Result()
	if err != nil {
		return err
	}
	groups, err := t.Redis.XInfoGroups(ctx, t.In).Result()
	if err != nil {
		return err
	}
	for _, g := range groups {
		switch {
		case g.Name != t.Group:
		case pending.Count != 0 || g.Lag != 0 || g.EntriesRead != int64(t.N+t.connecting):
			return fmt.Errorf("group %q: %d pending, lag %d, %d read of %d; want 0, 0 and all of them",
				g.Name, pending.Count, g.Lag, g.EntriesRead, t.N+t.connecting)
		default:
			return nil
		}
	}
	return errors.New("the group does not exist")
}
