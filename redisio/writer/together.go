package writer

import (
	"fmt"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// togetherMost is the maximum number of entries of a transaction. A blocked reader gets the first of
// more alone, and then the rest.
const togetherMost = 64

// transacts reports whether the writer writes n entries in transactions.
func (s *sender) transacts(n int) bool {
	return s.cfg.Together && n > 1 && n <= togetherMost && s.lines != nil && !s.apart.Load()
}

// together reports whether entries are written in one transaction. All keys must be in one slot.
func (s *sender) together(c *chunk, index []int) bool {
	if !s.transacts(len(index)) {
		return false
	}
	tag := redisio.HashTag(s.keyOf(&c.entries[index[0]]))
	for _, at := range index[1:] {
		if redisio.HashTag(s.keyOf(&c.entries[at])) != tag {
			return false
		}
	}
	return true
}

// bySlot groups entries by the hash slot that their keys surely share. The first group has the
// entries that are alone in their slots. It returns index as one group if there is nothing to group.
func (s *sender) bySlot(c *chunk, index []int) [][]int {
	one := [][]int{index}
	if len(index) == 2 || !s.transacts(len(index)) || s.together(c, index) {
		return one
	}
	var groups [][]int
	group := make(map[string]int)
	for _, at := range index {
		tag := redisio.HashTag(s.keyOf(&c.entries[at]))
		n, known := group[tag]
		if !known {
			n = len(groups)
			group[tag] = n
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], at)
	}
	if len(groups) == len(index) {
		return one
	}
	several := [][]int{nil}
	for _, g := range groups {
		if len(g) == 1 {
			several[0] = append(several[0], g[0])
		} else {
			several = append(several, g)
		}
	}
	return several
}

// transaction is the state of a pipeline of MULTI, XADDs and EXEC while its replies are read.
type transaction struct {
	index   []int // of the entries
	refused bool  // MULTI was refused, so the XADDs ran on their own
	why     error // why an entry was refused
}

// addTogether adds a transaction of XADDs.
func (s *sender) addTogether(c *chunk, index []int) {
	c.tx.index = index
	c.ask(0, (*chunk).began, "multi")
	for _, at := range index {
		s.xadd(c, at, nil, (*chunk).queued)
	}
	c.ask(0, (*chunk).ended, "exec")
}

// began reads the reply to MULTI.
func (c *chunk) began(int) {
	if _, err := c.replies.text(); fault.IsServerSaid(err) { // for example if the right was revoked
		c.tx.refused = true
		c.replies.denied = c.replies.denied || fault.NoRight(err)
	}
}

// queued reads the reply to an XADD within a transaction.
func (c *chunk) queued(at int) {
	if c.tx.refused {
		c.wrote(at)
		return
	}
	c.results[at] = redisio.Result{}
	text, err := c.replies.text()
	if err == nil && text != "QUEUED" || err == resp.ErrNilReply {
		c.replies.stuck = true // nobody knows whether there is a transaction
		err = c.replies.note(&resp.ReplyError{Offset: c.replies.Pos, Problem: "not QUEUED"})
	}
	if err != nil {
		c.results[at] = c.replies.failed(err)
		if c.tx.why == nil {
			c.tx.why = err
		}
	}
}

// ended reads the reply to EXEC.
func (c *chunk) ended(int) {
	r := &c.replies
	if c.tx.refused {
		_, _ = r.text() // an error, because there is no transaction
		return
	}
	err := r.list(len(c.tx.index))
	switch {
	case err == nil:
		for _, at := range c.tx.index {
			c.wrote(at)
		}
		return
	case fault.IsServerSaid(err) && c.tx.why != nil && !fault.NoRight(err):
		for _, at := range c.tx.index {
			if c.results[at].Err == nil {
				c.results[at] = r.failed(fmt.Errorf("transaction discarded: %w", c.tx.why))
			}
		}
		return
	case fault.NoRight(err): // the right to EXEC was revoked
		r.denied, r.stuck = true, true
	}
	for _, at := range c.tx.index {
		c.results[at] = r.failed(err)
	}
}
