package view

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

const droppedFor = time.Hour

var (
	// ErrMoved reports that the position is another one than a commit was computed from: another
	// process has committed. Or the log lacks the new position: a failover has lost it. Nothing was
	// written. Claim the partition again, and continue at its position.
	ErrMoved = errors.New("view: the position is another one; claim the partition again")
	// ErrPaused reports that the build is paused, see View.Pause. Nothing was written. Look for the
	// live build, and continue with it.
	ErrPaused = errors.New("view: the build is paused; try again")
	// ErrDropped reports that the build is no longer needed.
	ErrDropped = errors.New("view: the build was dropped")
)

// KeyError reports a change that does not fit the data, such as HIncrBy of a text. Nothing was
// written.
type KeyError struct {
	Key     string
	Problem string
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("view: %q %s; correct the code, and rebuild the view", fault.KeyName(e.Key), e.Problem)
}

// Claim is the outcome of View.Claim.
type Claim struct {
	// Position is the ID of the last entry that the build includes.
	Position redisio.ID
	Entries  int64 // number of entries that it includes
	// Busy is how long another process has the partition if it does not renew its claim. 0 means that
	// this process has it.
	Busy time.Duration
}

// Claim makes owner the process that computes a build in a partition, or renews its claim.
func (v *View) Claim(ctx context.Context, b Build, partition int, owner string) (c Claim, err error) {
	key, start := v.state(b, partition), redisio.ID{Seq: 1}
	var reply []any
	err = v.try(ctx, "claim", key, func() (err error) {
		reply, err = v.rdb.Eval(ctx, script.ViewClaim, []string{key}, owner, v.cfg.Lease.Milliseconds(),
			start.String(), droppedPosition).Slice()
		return err
	})
	if err != nil || len(reply) == 0 {
		return c, err
	}
	switch word, _ := reply[0].(string); {
	case word == "dropped":
		return c, ErrDropped
	case word == "busy" && len(reply) == 2:
		ms, _ := reply[1].(int64)
		c.Busy = max(time.Duration(ms), 1) * time.Millisecond
		return c, nil
	case word == "mine" && len(reply) == 3:
		text, _ := reply[1].(string)
		c.Entries, _ = reply[2].(int64)
		c.Position, err = redisio.ParseID(text)
		return c, err
	}
	return c, fmt.Errorf("view: unknown reply %.40v", reply)
}

// Release ends a claim, so that another process can take the partition at once.
func (v *View) Release(ctx context.Context, b Build, partition int, owner string) error {
	key := v.state(b, partition)
	return v.try(ctx, "release", key, func() error {
		return v.rdb.Eval(ctx, script.ViewRelease, []string{key}, owner).Err()
	})
}

// Commit writes the changes of tx, and moves the position from one ID to another over a number of
// entries. It does both or neither, and once, also if a reply is lost. It renews the owner's claim.
// ErrMoved means that the position was not from.
func (v *View) Commit(ctx context.Context, tx *Tx, owner string, from, to redisio.ID, entries int) error {
	if tx.err != nil {
		return tx.err
	}
	keys, args := tx.encode()
	keys = append([]string{v.state(tx.build, tx.partition), v.keys(tx.build, tx.partition), v.cfg.Log(tx.partition)},
		keys...)
	args = append([]any{owner, rand.Text()[:12], from.String(), to.String(), entries, v.cfg.Lease.Milliseconds()},
		args...)
	var reply []string
	err := v.try(ctx, "commit", keys[0], func() (err error) {
		reply, err = v.rdb.Eval(ctx, script.ViewCommit, keys, args...).StringSlice()
		return err
	})
	switch {
	case err != nil:
		return err
	case len(reply) == 0:
		return errors.New("view: an empty reply")
	}
	switch reply[0] {
	case "ok", "again":
		return nil
	case "moved":
		return ErrMoved
	case "paused":
		return ErrPaused
	case "wrong":
		return &KeyError{Key: reply[1], Problem: reply[2]}
	}
	return fmt.Errorf("view: unknown reply %.40q", reply[0])
}

// Progress is how far a build is.
type Progress struct {
	Build   Build  `json:"build"`
	Entries int64  `json:"entries"` // that it includes
	Behind  int64  `json:"behind"`  // that it lacks
	Parts   []Part `json:"parts"`
}

// Part is how far a build is in a partition.
type Part struct {
	Position redisio.ID `json:"-"`
	Entries  int64      `json:"entries"`
	Behind   int64      `json:"behind"`
	Owner    string     `json:"owner,omitempty"` // the process that computes it, or did last
}

// Share returns the part of the entries that it includes, from 0 to 1.
func (p Progress) Share() float64 {
	if p.Entries+p.Behind == 0 {
		return 1
	}
	return float64(p.Entries) / float64(p.Entries+p.Behind)
}

// Progress returns how far a build is.
func (v *View) Progress(ctx context.Context, b Build) (p Progress, err error) {
	p.Build = b
	if p.Parts, err = v.parts(ctx, b, 0, v.cfg.Partitions); err != nil {
		return p, err
	}
	for _, part := range p.Parts {
		p.Entries, p.Behind = p.Entries+part.Entries, p.Behind+part.Behind
	}
	return p, nil
}

// Part returns how far a build is in a partition.
func (v *View) Part(ctx context.Context, b Build, partition int) (Part, error) {
	parts, err := v.parts(ctx, b, partition, 1)
	return parts[0], err
}

// parts reads n partitions, from the first on.
func (v *View) parts(ctx context.Context, b Build, first, n int) ([]Part, error) {
	parts := make([]Part, n)
	if b == "" {
		return parts, ErrNoBuild
	}
	states, logs := make([]*redis.SliceCmd, n), make([]*redis.IntCmd, n)
	if err := v.try(ctx, "read progress", v.state(b, first), func() error {
		_, err := v.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i := range parts {
				states[i] = pipe.HMGet(ctx, v.state(b, first+i), "pos", "n", "owner")
				logs[i] = pipe.XLen(ctx, v.cfg.Log(first+i))
			}
			return nil
		})
		return err
	}); err != nil {
		return parts, err
	}
	for i := range parts {
		part := &parts[i]
		if s := states[i].Val(); len(s) == 3 {
			pos, _ := s[0].(string)
			part.Position, _ = redisio.ParseID(pos) // "" if it has not begun
			n, _ := s[1].(string)
			part.Entries, _ = strconv.ParseInt(n, 10, 64) // "" likewise
			part.Owner, _ = s[2].(string)
		}
		part.Behind = max(logs[i].Val()-1-part.Entries, 0) // without the mark
	}
	return parts, nil
}
