package inspect

import (
	"log/slog"
	"testing"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

var silentLog = slog.New(slog.DiscardHandler)

func TestPageShowsGraphs(t *testing.T) {
	show := parts.New()
	page := New(nil, show, Config{App: "shop"})
	url := site(t, page)
	for _, s := range sizes {
		tab := tab(t, url, s, false)
		shows(
			t,
			tab,
			"that there are no graphs",
			`document.querySelector('#empty-title').textContent === 'No graphs yet'`,
		)
		picture(t, tab, "empty-"+s.name)
	}

	started(t, show, orders("billing"))
	started(t, show, broken("audit"))
	ended := flow.New("import", flow.To(source.Of(1, 2), sink.Discard[int]()), silent)
	if err := ended.Run(show.Watch(t.Context())); err != nil {
		t.Fatal(err)
	}
	for i, s := range sizes {
		tab := tab(t, url+"#/graph/billing", s, i == 1)
		shows(
			t,
			tab,
			"the busiest stage",
			`document.querySelector('#findings').textContent.includes('price (2 workers) is busy') &&
				document.querySelector('#findings').textContent.includes('its input is full.') &&
				document.querySelector('.mark.worst')`,
		)
		shows(
			t,
			tab,
			"the drawing",
			`document.querySelectorAll('#drawing .row').length === 9`,
		)
		picture(t, tab, "busy-"+s.name)
	}
	for i, s := range sizes {
		tab := tab(t, url+"#/graph/audit", s, i == 0)
		shows(t, tab, "the fault as text", `document.querySelector('#events').textContent.includes('<b>db-1</b>')`)
		shows(
			t,
			tab,
			"what is wrong",
			`document.querySelector('#findings').textContent.includes('Every message fails at store.')`,
		)
		picture(t, tab, "broken-"+s.name)
	}
}
