package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// The implementations named "limit" show what Redis and one connection allow. They write RESP by
// hand, keep several commands in flight, and do nothing else: a failure ends the run.

// bare is a connection that encodes commands into out and reads replies in place.
type bare struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	read []byte // the last bulk string
	done func() bool
}

// dial opens a bare connection to the server of t.Redis. The end of ctx interrupts it.
func (t *Trial) dial(ctx context.Context) (*bare, error) {
	single, ok := t.Redis.(*redis.Client)
	if !ok {
		return nil, fmt.Errorf(
			"bench: the limit needs a single server, and a %T is not one: leave it out with -only",
			t.Redis,
		)
	}
	o := single.Options()
	conn, err := o.Dialer(ctx, o.Network, o.Addr)
	if err != nil {
		return nil, err
	}
	b := &bare{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
	b.done = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if o.Password != "" {
		b.command("AUTH", cmp.Or(o.Username, "default"), o.Password)
		err = b.exchange()
	}
	if o.DB != 0 && err == nil {
		b.command("SELECT", strconv.Itoa(o.DB))
		err = b.exchange()
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bare) close() error {
	if !b.done() {
		return nil // the end of the context has closed it
	}
	return b.conn.Close()
}

// command adds a command to out.
func (b *bare) command(args ...string) {
	b.begin(len(args), args...)
}

// begin adds the beginning of a command with n words.
func (b *bare) begin(n int, words ...string) {
	b.out = append(strconv.AppendInt(append(b.out, '*'), int64(n), 10), "\r\n"...)
	for _, w := range words {
		b.out = bulk(b.out, w)
	}
}

func bulk[S ~string | ~[]byte](to []byte, s S) []byte {
	to = append(strconv.AppendInt(append(to, '$'), int64(len(s)), 10), "\r\n"...)
	return append(append(to, s...), "\r\n"...)
}

// xadd adds an XADD with one field to out.
func (b *bare) xadd(key string, payload []byte) {
	b.begin(5, "XADD", key, "*", Field)
	b.out = bulk(b.out, payload)
}

func (b *bare) xreadgroup(t *Trial, count int) {
	b.command("XREADGROUP", "GROUP", t.Group, "limit", "COUNT", strconv.Itoa(count), "BLOCK", "1000",
		"STREAMS", t.In, ">")
}

// xack adds an XACK of ids, which end with a line break each.
func (b *bare) xack(t *Trial, ids []byte, n int) {
	b.begin(3+n, "XACK", t.In, t.Group)
	for id := range bytes.Lines(ids) {
		b.out = bulk(b.out, id[:len(id)-1])
	}
}

// send writes out.
func (b *bare) send() error {
	_, err := b.conn.Write(b.out)
	b.out = b.out[:0]
	return err
}

func (b *bare) exchange() error {
	if err := b.send(); err != nil {
		return err
	}
	return b.skip()
}

// head reads the first line of a reply: its kind and its number.
func (b *bare) head() (kind byte, n int, err error) {
	line, err := b.in.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	line = line[:len(line)-2]
	switch kind = line[0]; kind {
	case '-':
		return 0, 0, fmt.Errorf("bench: the server answered %q", line)
	case '+':
		return kind, 0, nil
	}
	sign := 1
	for _, c := range line[1:] {
		if c == '-' {
			sign = -1
			continue
		}
		n = n*10 + int(c-'0')
	}
	return kind, sign * n, nil
}

// skip reads a reply without arrays.
func (b *bare) skip() error {
	kind, n, err := b.head()
	if err == nil && kind == '$' {
		_, err = b.in.Discard(n + 2)
	}
	return err
}

// text reads a bulk string, which is valid until the next call.
func (b *bare) text() ([]byte, error) {
	kind, n, err := b.head()
	if err != nil {
		return nil, err
	}
	if kind != '$' || n < 0 {
		return nil, fmt.Errorf("bench: a reply begins with %q, want a bulk string", kind)
	}
	if cap(b.read) < n+2 {
		b.read = make([]byte, n+2)
	}
	b.read = b.read[:n+2]
	_, err = io.ReadFull(b.in, b.read)
	return b.read[:n], err
}

// entries reads the reply of XREADGROUP. each receives each payload; ids are those of the entries,
// with a line break behind each.
func (b *bare) entries(ids []byte, each func([]byte) error) (_ []byte, n int, err error) {
	for range 2 { // one stream: its name and its entries
		if _, n, err = b.head(); err != nil || n < 0 {
			return ids, 0, err
		}
	}
	if err = b.skip(); err != nil {
		return ids, 0, err
	}
	if _, n, err = b.head(); err != nil {
		return ids, 0, err
	}
	for range n {
		if _, _, err = b.head(); err != nil {
			return ids, n, err
		}
		id, err := b.text()
		if err != nil {
			return ids, n, err
		}
		ids = append(append(ids, id...), '\n')
		if _, _, err = b.head(); err != nil {
			return ids, n, err
		}
		if err = b.skip(); err != nil { // the field's name
			return ids, n, err
		}
		payload, err := b.text()
		if err == nil {
			err = each(payload)
		}
		if err != nil {
			return ids, n, err
		}
	}
	return ids, n, nil
}

// produceLimit writes pipelines of 128 behind each other, without waiting for replies.
func produceLimit(ctx context.Context, t *Trial) error {
	b, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	p, sent := payloadsOf(t.Payload), make(chan int, 16)
	return all(ctx, func(ctx context.Context) error {
		defer close(sent)
		for from := 0; from < t.N; from += loopDepth {
			n := min(loopDepth, t.N-from)
			for i := range n {
				b.xadd(t.Out, p.at(from+i))
			}
			if err := b.send(); err != nil {
				return err
			}
			select {
			case sent <- n:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}, func(context.Context) error {
		for n := range sent {
			for range n {
				if err := b.skip(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// readLimit reads t.N entries and acknowledges them. The next read is on its way while a batch is
// handled; answer adds the commands that handle a payload, each of which has one reply, to b.
func readLimit(ctx context.Context, t *Trial, count int, answer func(b *bare, payload []byte) (int, error)) error {
	b, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	b.xreadgroup(t, count)
	if err := b.send(); err != nil {
		return err
	}
	var ids, batch []byte
	var ends []int // of the payloads in batch
	replies := 0   // that are on their way
	for got := 0; got < t.N || replies > 0; {
		n := 0
		ids, batch, ends = ids[:0], batch[:0], ends[:0]
		if got < t.N {
			if ids, n, err = b.entries(ids, func(payload []byte) error {
				batch = append(batch, payload...)
				ends = append(ends, len(batch))
				return nil
			}); err != nil {
				return err
			}
			if got += n; got < t.N {
				b.xreadgroup(t, count)
				if err := b.send(); err != nil {
					return err
				}
			}
		}
		for ; replies > 0; replies-- { // those of the batch before, which were sent behind this read
			if err := b.skip(); err != nil {
				return err
			}
		}
		if n == 0 {
			continue
		}
		from := 0
		for _, to := range ends {
			commands, err := answer(b, batch[from:to])
			if err != nil {
				return err
			}
			from, replies = to, replies+commands
		}
		b.xack(t, ids, n)
		replies++
		if err := b.send(); err != nil {
			return err
		}
	}
	return nil
}

func consumeLimit(ctx context.Context, t *Trial) error {
	return readLimit(ctx, t, 1000, func(_ *bare, payload []byte) (int, error) {
		t.Got.AddPayload(payload)
		return 0, nil
	})
}

func transformLimit(ctx context.Context, t *Trial) error {
	return readLimit(ctx, t, 512, func(b *bare, payload []byte) (int, error) {
		var o order
		if err := json.Unmarshal(payload, &o); err != nil {
			return 0, err
		}
		out, err := json.Marshal(priced(o))
		if err != nil {
			return 0, err
		}
		b.xadd(t.Out, out)
		return 1, nil
	})
}

// latencyLimit acknowledges a batch and asks for the next one in one write.
func latencyLimit(ctx context.Context, t *Trial) error {
	b, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	var ids []byte
	for got := 0; got < t.N; {
		b.xreadgroup(t, 256)
		if err := b.send(); err != nil {
			return err
		}
		if got > 0 { // the reply of XACK
			if err := b.skip(); err != nil {
				return err
			}
		}
		n := 0
		if ids, n, err = b.entries(ids[:0], func(payload []byte) error {
			t.Arrived(payload)
			return nil
		}); err != nil {
			return err
		}
		if got += n; n > 0 {
			b.xack(t, ids, n)
		}
	}
	return b.exchange()
}
