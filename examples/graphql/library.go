package main

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
)

const topic = "library"

// Book, Author and Review are what services answer with.
type (
	Book struct {
		ID     string `json:"id"`
		Title  string `json:"title"`
		Year   int    `json:"year"`
		Author string `json:"author"` // its ID
	}
	Author struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	Review struct {
		ID    string    `json:"id"`
		Book  string    `json:"book"` // its ID
		By    string    `json:"by"`
		Stars int       `json:"stars"`
		Text  string    `json:"text"`
		At    time.Time `json:"at"`
	}
)

// many asks for many keys by one request. The answer is a map: a key that is not in it does not
// exist, which is no failure of the others.
type many struct {
	Keys  []string `json:"keys"`
	First int      `json:"first,omitempty"` // of each key
}

var authors = []Author{
	{"austen", "Jane Austen"}, {"borges", "Jorge Luis Borges"}, {"carroll", "Lewis Carroll"},
	{"lem", "Stanisław Lem"}, {"shelley", "Mary Shelley"}, {"woolf", "Virginia Woolf"},
}

var books = []Book{ // by title
	{"alice", "Alice's Adventures in Wonderland", 1865, "carroll"}, {"emma", "Emma", 1815, "austen"},
	{"ficciones", "Ficciones", 1944, "borges"}, {"frankenstein", "Frankenstein", 1818, "shelley"},
	{"lighthouse", "To the Lighthouse", 1927, "woolf"}, {"orlando", "Orlando", 1928, "woolf"},
	{"persuasion", "Persuasion", 1817, "austen"}, {"solaris", "Solaris", 1961, "lem"},
	{"cyberiad", "The Cyberiad", 1965, "lem"}, {"lastman", "The Last Man", 1826, "shelley"},
}

// service answers the questions about the library. Any number of processes may run it: the books are
// in the program, and the reviews in Redis.
func service(rdb redis.UniversalClient, pub *events.Publisher, log *slog.Logger) *gateways.Service {
	svc := gateways.NewService(rdb, topic, gateways.ServiceConfig{Log: log})
	gateways.Handle(svc, "books", func(_ context.Context, q many) ([]Book, error) {
		return books[:min(len(books), max(0, q.First))], nil
	})
	gateways.Handle(svc, "booksByID", func(_ context.Context, q many) (map[string]Book, error) {
		return pick(books, q.Keys, func(b Book) string { return b.ID }), nil
	})
	gateways.Handle(svc, "authorsByID", func(_ context.Context, q many) (map[string]Author, error) {
		return pick(authors, q.Keys, func(a Author) string { return a.ID }), nil
	})
	gateways.Handle(svc, "booksByAuthor", func(_ context.Context, q many) (map[string][]Book, error) {
		found := make(map[string][]Book)
		for _, b := range books {
			if slices.Contains(q.Keys, b.Author) {
				found[b.Author] = append(found[b.Author], b)
			}
		}
		return found, nil
	})
	shelf := reviews{rdb}
	gateways.Handle(svc, "reviewsByBook", shelf.newest)
	publish := events.Publish[Review](pub, "reviewed", gateways.Keyed(func(r Review) string { return r.Book }))
	gateways.Handle(svc, "addReview", func(ctx context.Context, r Review) (Review, error) {
		if err := r.check(); err != nil {
			return r, err
		}
		if err := shelf.add(ctx, r); err != nil {
			return r, err
		}
		return r, publish(ctx, r)
	})
	return svc
}

func pick[T any](all []T, keys []string, id func(T) string) map[string]T {
	found := make(map[string]T, len(keys))
	for _, v := range all {
		if slices.Contains(keys, id(v)) {
			found[id(v)] = v
		}
	}
	return found
}

func (r Review) check() error {
	known := slices.ContainsFunc(books, func(b Book) bool { return b.ID == r.Book })
	switch n := utf8.RuneCountInString(r.Text); {
	case !known:
		return gateways.Errorf(gateways.CodeNotFound, "no book has the id %.40q", r.Book)
	case r.Stars < 1 || r.Stars > 5:
		return gateways.Errorf(gateways.CodeInvalid, "stars must be 1 to 5")
	case strings.TrimSpace(r.By) == "" || utf8.RuneCountInString(r.By) > 40:
		return gateways.Errorf(gateways.CodeInvalid, "by must have 1 to 40 characters")
	case strings.TrimSpace(r.Text) == "" || n > 500:
		return gateways.Errorf(gateways.CodeInvalid, "text must have 1 to 500 characters")
	}
	return nil
}

// reviews are sorted sets in Redis, one for each book.
type reviews struct{ rdb redis.UniversalClient }

const (
	keptReviews = 100                 // of a book
	keptFor     = 30 * 24 * time.Hour // after the last review of a book
)

func reviewsKey(book string) string { return "{" + topic + "}:reviews:" + book }

// add adds a review. A request may be handled twice, after a crash. The review has its ID and time
// from the request, so the second time adds nothing.
func (s reviews) add(ctx context.Context, r Review) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	key := reviewsKey(r.Book)
	_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, key, redis.Z{Score: float64(r.At.UnixMilli()), Member: text})
		p.ZRemRangeByRank(ctx, key, 0, -keptReviews-1)
		p.Expire(ctx, key, keptFor)
		return nil
	})
	return err
}

// newest returns the newest reviews of many books, by one round trip to Redis.
func (s reviews) newest(ctx context.Context, q many) (map[string][]Review, error) {
	lists := make([]*redis.StringSliceCmd, len(q.Keys))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, book := range q.Keys {
			lists[i] = p.ZRevRange(ctx, reviewsKey(book), 0, int64(cmp.Or(q.First, 1)-1))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := make(map[string][]Review, len(q.Keys))
	for i, book := range q.Keys {
		for _, text := range lists[i].Val() {
			var r Review
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				return nil, err
			}
			found[book] = append(found[book], r)
		}
	}
	return found, nil
}
