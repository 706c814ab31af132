package redistest

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	pieceSize = 64 << 10 // bytes per read
	maxOnLine = 1024     // delayed pieces in flight, per direction
)

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.wg.Go(func() { p.serve(c) })
		}
	}
}

// line is one connection through the proxy.
type line struct {
	p              *Proxy
	client, server net.Conn
	doom           chan Cut // how the next reply is cut
}

func (p *Proxy) serve(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	p.counts.Conns++
	down := p.down
	if down {
		p.counts.Refused++
	} else {
		p.conns[c] = struct{}{} // if the proxy closes before the dial ends, it is closed too
	}
	p.mu.Unlock()
	if down || !p.pass() {
		return
	}
	defer p.forget(c)
	p.mu.Lock()
	upstream := p.upstream
	p.mu.Unlock()
	s, err := (&net.Dialer{Timeout: answerIn}).DialContext(context.Background(), "tcp", upstream)
	if err != nil {
		return
	}
	defer s.Close()
	defer p.forget(s)
	p.mu.Lock()
	p.conns[s] = struct{}{}
	down = p.down
	p.mu.Unlock()
	if down {
		return
	}
	l := &line{p: p, client: c, server: s, doom: make(chan Cut, 1)}
	var both sync.WaitGroup
	both.Go(func() { l.carry(c, s, l.request, &p.counts.Up) })
	both.Go(func() { l.carry(s, c, l.reply, &p.counts.Down) })
	both.Wait()
}

func (p *Proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// pass blocks while the proxy hangs. It returns false when the proxy ends.
func (p *Proxy) pass() bool {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	select {
	case <-gate:
		return true
	case <-p.closed:
		return false
	}
}

// piece is the data of one read. The last piece before a cut is marked.
type piece struct {
	data []byte
	due  time.Time
	last bool
}

// carry copies pieces from one side to the other until either ends. judge decides how much of a
// piece is forwarded, and whether it is the last.
func (l *line) carry(from, to net.Conn, judge func([]byte) (int, bool), count *int64) {
	pieces := make(chan piece, maxOnLine)
	gone := make(chan struct{}) // closed when the writing side has ended
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(pieces)
		buf := make([]byte, pieceSize)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			l.p.mu.Lock()
			latency := l.p.traffic.Latency
			l.p.mu.Unlock()
			pc := piece{due: time.Now().Add(latency)}
			keep, last := judge(buf[:n])
			pc.data, pc.last = append([]byte(nil), buf[:keep]...), last
			select {
			case pieces <- pc:
			case <-gone:
				return
			}
			if last {
				return
			}
		}
	})
	for pc := range pieces {
		if !l.wait(time.Until(pc.due)) || !l.send(to, pc.data, count) || pc.last {
			break
		}
	}
	close(gone)
	_ = from.Close() // both sides notice: the other direction can't read any more
	_ = to.Close()
	reading.Wait()
}

// send writes a piece at the line's rate, in portions of a twentieth of a second.
func (l *line) send(to net.Conn, data []byte, count *int64) bool {
	for len(data) > 0 {
		if !l.p.pass() {
			return false
		}
		l.p.mu.Lock()
		rate := l.p.traffic.Bandwidth
		l.p.mu.Unlock()
		n := len(data)
		if rate > 0 {
			n = min(n, max(1, rate/20))
			if !l.wait(time.Duration(n) * time.Second / time.Duration(rate)) {
				return false
			}
		}
		if _, err := to.Write(data[:n]); err != nil {
			return false
		}
		l.p.mu.Lock()
		*count += int64(n)
		l.p.mu.Unlock()
		data = data[n:]
	}
	return true
}

// wait sleeps. It returns false when the proxy ends.
func (l *line) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.p.closed:
		return false
	}
}

// request decides how much of a request is forwarded to the server.
func (l *line) request(data []byte) (keep int, last bool) {
	how, cut := l.p.fate(data)
	switch {
	case !cut:
	case how == CutRequest:
		return 0, true
	case how == CutHalfRequest:
		return len(data) / 2, true
	default:
		select {
		case l.doom <- how: // the complete request is forwarded: the server acts, and its reply is cut
		default:
		}
	}
	return len(data), false
}

// reply decides how much of a reply is forwarded to the client.
func (l *line) reply(data []byte) (keep int, last bool) {
	select {
	case how := <-l.doom:
		if how == CutHalfReply {
			return len(data) / 2, true
		}
		return 0, true
	default:
		return len(data), false
	}
}
