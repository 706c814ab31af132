package main

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/graph-gophers/graphql-go"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
)

// The methods of these types are the fields of the schema.
type (
	book struct {
		op *operation
		Book
	}
	author struct {
		op *operation
		Author
	}
	review struct {
		op *operation
		Review
	}
	first struct{ First int32 }
	byID  struct{ ID graphql.ID }
)

func (f first) check() error {
	if f.First < 1 || f.First > maxFirst {
		return &codedError{gateways.CodeInvalid, "first must be 1 to 50"}
	}
	return nil
}

func (a *api) Books(ctx context.Context, args first) ([]*book, error) {
	o := operationOf(ctx)
	if err := errors.Join(args.check(), o.spend(int(args.First))); err != nil {
		return nil, failure(err)
	}
	o.calls.Add(1)
	list, err := a.call.books(ctx, many{First: int(args.First)})
	return o.list(list), failure(err)
}

func (o *operation) list(books []Book) []*book {
	list := make([]*book, len(books))
	for i, b := range books {
		list[i] = &book{o, b}
	}
	return list
}

func (a *api) Book(ctx context.Context, args byID) (*book, error) {
	return operationOf(ctx).book(ctx, string(args.ID))
}

func (a *api) Author(ctx context.Context, args byID) (*author, error) {
	return operationOf(ctx).author(ctx, string(args.ID))
}

func (o *operation) book(ctx context.Context, id string) (*book, error) {
	if err := o.spend(1); err != nil {
		return nil, err
	}
	b, err := o.books.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	return &book{o, b}, nil
}

func (o *operation) author(ctx context.Context, id string) (*author, error) {
	if err := o.spend(1); err != nil {
		return nil, err
	}
	w, err := o.authors.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	return &author{o, w}, nil
}

func (b *book) ID() graphql.ID { return graphql.ID(b.Book.ID) }
func (b *book) Title() string  { return b.Book.Title }
func (b *book) Year() int32    { return int32(b.Book.Year) }

func (b *book) Author(ctx context.Context) (*author, error) { return b.op.author(ctx, b.Book.Author) }

func (b *book) Reviews(ctx context.Context, args first) ([]*review, error) {
	if err := errors.Join(args.check(), b.op.spend(int(args.First))); err != nil {
		return nil, failure(err)
	}
	found, err := b.op.reviews.Load(ctx, reviewsOf{b.Book.ID, int(args.First)})
	if err != nil && !errors.Is(err, errMissing) { // the service omits books without reviews
		return nil, err
	}
	list := make([]*review, min(len(found), int(args.First)))
	for i := range list {
		list[i] = &review{b.op, found[i]}
	}
	return list, nil
}

func (w *author) ID() graphql.ID { return graphql.ID(w.Author.ID) }
func (w *author) Name() string   { return w.Author.Name }

func (w *author) Books(ctx context.Context) ([]*book, error) {
	if err := w.op.spend(10); err != nil {
		return nil, err
	}
	list, err := w.op.byAuthor.Load(ctx, w.Author.ID)
	return w.op.list(list), err
}

func (r *review) ID() graphql.ID { return graphql.ID(r.Review.ID) }
func (r *review) By() string     { return r.Review.By }
func (r *review) Stars() int32   { return int32(r.Review.Stars) }
func (r *review) Text() string   { return r.Review.Text }
func (r *review) At() string     { return r.Review.At.Format(time.RFC3339) }

func (r *review) Book(ctx context.Context) (*book, error) { return r.op.book(ctx, r.Review.Book) }

// AddReview is the mutation. It chooses the ID and the time, so that a service that handles the
// request twice stores one review.
func (a *api) AddReview(ctx context.Context, args struct {
	Review struct {
		Book  graphql.ID
		By    string
		Stars int32
		Text  string
	}
}) (*review, error) {
	o, in := operationOf(ctx), args.Review
	if err := o.spend(1); err != nil {
		return nil, err
	}
	o.calls.Add(1)
	r, err := a.call.addReview(ctx, Review{ID: rand.Text(), Book: string(in.Book), By: in.By, Stars: int(in.Stars),
		Text: in.Text, At: time.Now().UTC().Truncate(time.Millisecond)})
	if err != nil {
		return nil, failure(err)
	}
	return &review{o, r}, nil
}

// reviewAdded is one result of the subscription.
type reviewAdded struct {
	op *operation
	events.Event[Review]
	err error
}

// heartbeat is how long a subscription is silent at most. Clients keep the cursor of the heartbeat.
const heartbeat = 10 * time.Second

// ReviewAdded is the subscription: a loop over the events of the library. All subscriptions of this
// process share one reader of the stream.
func (a *api) ReviewAdded(ctx context.Context, args struct {
	Book  *graphql.ID
	After *string
}) <-chan *reviewAdded {
	opts := []events.FollowOption{events.Heartbeats(heartbeat)}
	if args.Book != nil {
		opts = append(opts, events.ForKeys(string(*args.Book)))
	}
	out := make(chan *reviewAdded)
	send := func(e events.Event[Review], err error) bool {
		select {
		case out <- &reviewAdded{a.operation(), e, err}:
			return true
		case <-ctx.Done():
			return false
		}
	}
	a.running.Go(func() {
		defer close(out)
		after := ""
		if args.After != nil {
			after = *args.After
		}
		if after == "" {
			now, err := a.feed.Now(ctx)
			if !send(events.Event[Review]{Cursor: now, Heartbeat: true}, err) || err != nil {
				return
			}
			after = now
		}
		for e, err := range events.Follow[Review](a.feed, "reviewed", opts...)(ctx, after) {
			if !send(e, err) {
				return
			}
		}
	})
	return out
}

// Cursor fails if the subscription ends with an error.
func (r *reviewAdded) Cursor() (string, error) {
	var bad *events.CursorError
	switch {
	case r.Event.Cursor != "":
		return r.Event.Cursor, nil
	case errors.As(r.err, &bad):
		return "", &codedError{gateways.CodeInvalid, "after is not a cursor"}
	}
	return "", failure(r.err)
}

func (r *reviewAdded) Review() (*review, error) {
	switch {
	case r.Heartbeat || r.Gap() != nil || r.Event.Cursor == "":
		return nil, nil
	case r.err != nil:
		return nil, &codedError{gateways.CodeInternal, "a review cannot be read"}
	}
	return &review{r.op, r.Value}, nil
}

func (r *reviewAdded) Gap() *gap {
	var missing *events.GapError
	if !errors.As(r.err, &missing) {
		return nil
	}
	return &gap{missing}
}

type gap struct{ e *events.GapError }

func (g *gap) From() string { return g.e.From }
func (g *gap) To() string   { return g.e.To }

func (g *gap) Missed() *int32 {
	if g.e.Missed < 0 {
		return nil
	}
	n := int32(g.e.Missed)
	return &n
}
