package relay

import (
	"context"

	"github.com/streamerson/streamerson-go/redisio"
)

// Past reads the entries that a topic had before a listener subscribed to it. Read until More is
// false, then Join:
//
//	p, err := l.Past(ctx, "room:7", cursor)
//	for p.More() { items, err := p.Read(ctx) }
//	items, err := p.Join(ctx)   // the rest; from here on the listener has the topic
//
// No entry of the topic is missing between its last item and what the listener delivers, and none
// is delivered twice.
type Past[T any] struct {
	l     *Listener[T]
	topic string
	at    redisio.ID
	epoch int
	until redisio.ID // where to end; zero: where the listener's entries begin
	more  bool
	gap   *Gap
}

// Past starts to read a topic after a cursor, see Options.From; "" is not allowed. It returns the
// errors of Relay.Listen.
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
	epoch := l.r.epoch
	l.r.mu.Unlock()
	return &Past[T]{l: l, topic: topic, at: begin.at, epoch: epoch, more: true, gap: begin.gap}, nil
}

// Gap returns the gap of trimmed entries, or nil.
func (p *Past[T]) Gap() *Gap { return p.gap }

// More reports whether Read has to be called again before Join.
func (p *Past[T]) More() bool { return p.more }

// Until sets the cursor at which to end. For a listener that already has the topic, this is its
// Cursor.
func (p *Past[T]) Until(cursor string) error {
	id, err := redisio.ParseID(cursor)
	p.until = id
	return err
}

// Read reads a page. The caller owns the items.
func (p *Past[T]) Read(ctx context.Context) ([]Item[T], error) {
	p.l.r.mu.Lock()
	to := p.l.topicStart() // the listener delivers the later entries
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
	page, err := p.l.r.history.page(ctx, pageRange{from: p.at, to: to, epoch: p.epoch})
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

// Join subscribes the listener to the topic, and reads what arrived since the last Read. The caller
// must pass on these items before any that the listener delivers.
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
