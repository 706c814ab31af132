package relay

import (
	"context"

	"github.com/streamerson/streamerson-go/redisio"
)

// Past reads what a topic had before a listener wanted it. Read it up to its end, then Join:
//
//	p, err := l.Past(ctx, "room:7", cursor)
//	for p.More() { items, err := p.Read(ctx) }
//	items, err := p.Join(ctx)   // the rest; from here on the listener has the topic
//
// Nothing of the topic is missing between its last item and what the listener delivers, and nothing
// comes twice.
type Past[T any] struct {
	l     *Listener[T]
	topic string
	at    redisio.ID
	life  int
	until redisio.ID // no further; zero: up to what the listener will deliver
	more  bool
	gap   *Gap
}

// Past begins to read a topic behind a cursor: see Options.From, of which "" is not one. Errors are
// those of Relay.Listen.
func (l *Listener[T]) Past(ctx context.Context, topic, from string) (*Past[T], error) {
	c, err := parseCursor(from)
	if err != nil {
		return nil, err
	}
	begin, err := l.r.begin(ctx, c)
	if err != nil {
		return nil, err
	}
	l.r.mu.Lock()
	life := l.r.life
	l.r.mu.Unlock()
	return &Past[T]{l: l, topic: topic, at: begin.at, life: life, more: true, gap: begin.gap}, nil
}

// Gap is what is missing, if something is: the entries were trimmed.
func (p *Past[T]) Gap() *Gap { return p.gap }

// More reports whether there is more to Read before Join.
func (p *Past[T]) More() bool { return p.more }

// Until ends it at a cursor, for a listener that has the topic already: its Cursor.
func (p *Past[T]) Until(cursor string) error {
	id, err := redisio.ParseID(cursor)
	p.until = id
	return err
}

// Read reads a page. The items are the caller's.
func (p *Past[T]) Read(ctx context.Context) ([]Item[T], error) {
	p.l.r.mu.Lock()
	to := p.l.place() // no further: the listener will deliver what is behind
	p.l.r.mu.Unlock()
	if !p.until.IsZero() && p.until.Compare(to) < 0 {
		to = p.until
	}
	if p.at.Compare(to) >= 0 {
		p.more = false
		return nil, nil
	}
	return p.read(ctx, to)
}

func (p *Past[T]) read(ctx context.Context, to redisio.ID) (items []Item[T], err error) {
	page, err := p.l.r.page(ctx, span{from: p.at, to: to, life: p.life})
	if err != nil {
		return nil, err
	}
	if page.gap != nil {
		p.gap = p.gap.and(page.gap)
	}
	for i := range page.items {
		for _, t := range page.items[i].topics {
			if t == p.topic {
				items = append(items, page.items[i].Item)
				break
			}
		}
	}
	p.at, p.more = page.end, page.more
	return items, nil
}

// Join has the listener want the topic, and reads what came since the last Read. Nothing that the
// listener delivers may be passed on before these items.
func (p *Past[T]) Join(ctx context.Context) (items []Item[T], err error) {
	to := p.l.add([]string{p.topic})
	for p.at.Compare(to) < 0 {
		more, err := p.read(ctx, to)
		if err != nil {
			p.l.Remove(p.topic)
			return nil, err
		}
		items = append(items, more...)
	}
	return items, nil
}
