// Package todo is a to-do list. It knows nothing of Redis or HTTP.
package todo

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// Item is something to do.
type Item struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Done    bool   `json:"done"`
	Version int    `json:"version"` // starts at 1 and increases with each change
}

// Change has the new values of an item. A nil field keeps the old value.
type Change struct {
	Title *string
	Done  *bool
	// Version is the version that the change applies to. 0 means any.
	Version int
}

// Errors of a List.
var (
	ErrNotFound = errors.New("item not found")
	ErrTitle    = errors.New("a title has 1 to 100 characters")
	ErrTwice    = errors.New("an item with this title already exists")
	ErrChanged  = errors.New("the item has changed meanwhile")
	ErrFull     = errors.New("the list is full: remove what is done")
)

// MaxItems is the maximum number of items in a list.
const MaxItems = 1000

// List is a list of items. It is safe for concurrent use.
type List struct {
	mu    sync.Mutex
	items map[string]Item
	last  int
}

// New returns an empty list.
func New() *List { return &List{items: make(map[string]Item)} }

// All returns the items, oldest first. If done is not nil, only finished or only open items.
func (l *List) All(done *bool) []Item {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Item, 0, len(l.items))
	for _, it := range l.items {
		if done == nil || it.Done == *done {
			all = append(all, it)
		}
	}
	slices.SortFunc(
		all,
		func(a, b Item) int { return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID)) },
	)
	return all
}

// Get returns an item.
func (l *List) Get(id string) (Item, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it, found := l.items[id]
	if !found {
		return Item{}, ErrNotFound
	}
	return it, nil
}

// Add adds an item. Titles are unique.
func (l *List) Add(title string) (Item, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	title, err := l.title(title, "")
	if err != nil {
		return Item{}, err
	}
	if len(l.items) >= MaxItems {
		return Item{}, ErrFull
	}
	l.last++
	it := Item{ID: strconv.Itoa(l.last), Title: title, Version: 1}
	l.items[it.ID] = it
	return it, nil
}

// Change changes an item.
func (l *List) Change(id string, c Change) (Item, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it, found := l.items[id]
	switch {
	case !found:
		return Item{}, ErrNotFound
	case c.Version != 0 && c.Version != it.Version:
		return Item{}, ErrChanged
	}
	if c.Title != nil {
		title, err := l.title(*c.Title, id)
		if err != nil {
			return Item{}, err
		}
		it.Title = title
	}
	if c.Done != nil {
		it.Done = *c.Done
	}
	it.Version++
	l.items[id] = it
	return it, nil
}

// Remove removes an item.
func (l *List) Remove(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, found := l.items[id]; !found {
		return ErrNotFound
	}
	delete(l.items, id)
	return nil
}

// title normalizes and checks the title of an item; id is "" for a new item.
func (l *List) title(title, id string) (string, error) {
	title = strings.Join(strings.Fields(title), " ")
	if n := utf8.RuneCountInString(title); n < 1 || n > 100 {
		return "", ErrTitle
	}
	for _, it := range l.items {
		if it.ID != id && strings.EqualFold(it.Title, title) {
			return "", ErrTwice
		}
	}
	return title, nil
}
