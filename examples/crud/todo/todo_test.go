package todo

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestList(t *testing.T) {
	l := New()
	milk, err := l.Add("  buy \n milk ")
	if want := (Item{ID: "1", Title: "buy milk", Version: 1}); err != nil || milk != want {
		t.Fatalf("%+v, %v", milk, err)
	}
	tea, err := l.Add("drink tea")
	if err != nil {
		t.Fatal(err)
	}
	yes, title := true, "Buy oat milk"
	milk, err = l.Change("1", Change{Title: &title, Done: &yes, Version: 1})
	if want := (Item{ID: "1", Title: "Buy oat milk", Done: true, Version: 2}); err != nil || milk != want {
		t.Fatalf("%+v, %v", milk, err)
	}
	if diff := cmp.Diff([]Item{milk, tea}, l.All(nil)); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Item{milk}, l.All(&yes)); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
	if got, err := l.Get("2"); err != nil || got != tea {
		t.Errorf("%+v, %v", got, err)
	}
	if err := l.Remove("1"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]Item{tea}, l.All(nil)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestListRefuses(t *testing.T) {
	l := New()
	if _, err := l.Add("buy milk"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Add("drink tea"); err != nil {
		t.Fatal(err)
	}
	add := func(title string) error { _, err := l.Add(title); return err }
	change := func(id string, c Change) error { _, err := l.Change(id, c); return err }
	_, missing := l.Get("3")
	taken, itself, empty := "BUY MILK", "Drink tea", " "
	for name, c := range map[string]struct{ got, want error }{
		"nothing":           {add(" \t"), ErrTitle},
		"101 characters":    {add(strings.Repeat("é", 101)), ErrTitle},
		"100 characters":    {add(strings.Repeat("é", 100)), nil},
		"twice":             {add("Buy  Milk"), ErrTwice},
		"get":               {missing, ErrNotFound},
		"change what is no": {change("9", Change{}), ErrNotFound},
		"to a taken title":  {change("2", Change{Title: &taken}), ErrTwice},
		"to nothing":        {change("2", Change{Title: &empty}), ErrTitle},
		"to its own":        {change("2", Change{Title: &itself}), nil},
		"an old version":    {change("2", Change{Version: 1}), ErrChanged},
		"remove":            {l.Remove("9"), ErrNotFound},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}

func TestListIsBounded(t *testing.T) {
	l := New()
	for i := range MaxItems {
		if _, err := l.Add(strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Add("one more"); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if all := l.All(nil); len(all) != MaxItems || all[999].ID != "1000" {
		t.Errorf("%d, the last %+v", len(all), all[len(all)-1])
	}
}
