package inspect

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// hostile are values that a page, a terminal or a parser may trip over.
var hostile = []string{
	`<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`,
	`"><svg onload=window.hacked=1><iframe srcdoc="<script>parent.hacked=1</script>">`,
	"javascript:window.hacked=1//</textarea></pre></td><b>",
	"\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x9b31m",
	strings.Repeat("<b>large</b>", 1<<20/12),
	"\x00\x01\x02\xfe\xff\x80binary",
	"caf\xe9 \xc3\x28 \xed\xa0\x80",
	"user\u202etxt.exe\u2066\u2069\u200f\u061c\ufeff\u2028",
	strings.Repeat("a\u0300\u0301\u0302", 200) + "\U0001F468\u200d\U0001F469",
	"${window.hacked=1}{{constructor.constructor('window.hacked=1')()}}",
}

// buryHostile writes dead letters with hostile names, values and reasons in one pipeline. Few are
// large.
func buryHostile(t *testing.T, rdb redis.UniversalClient, key string, n int) {
	t.Helper()
	pipe := rdb.Pipeline()
	for i := range n {
		value := hostile[i%len(hostile)]
		if len(value) > 1000 && i > 40 {
			value = value[:1000]
		}
		words := value[:min(len(value), 2000)]
		r := dead.Reason{
			Error: words, Causes: []string{words, words}, Stack: words, Graph: words, Stage: words, Key: words,
			Group: words, ID: words, Attempts: int64(i),
		}
		args := []any{"xadd", key, "*", "data", value, words, "named"}
		for _, f := range r.Fields() {
			args = append(args, f.Name, f.Value)
		}
		pipe.Do(t.Context(), args...)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// harmless is an expression for: nothing of the dead letters has become an element or has run.
const harmless = `window.hacked === undefined && !document.querySelector('#view-dead img, #view-dead script, ' +
	'#view-dead svg, #view-dead iframe, #view-dead b') && document.getElementsByTagName('*').length < 3000`

// A thousand hostile dead letters run nothing, and the page stays small and live.
func TestHostileDeadLetters(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)+`<b onclick="x">`
	buryHostile(t, rdb, key, 1000)
	cfg := acting(silentLog)
	cfg.DeadKeys = []string{key}
	url := site(t, New(rdb, nil, cfg))
	tab := tab(t, url+"#/dead", sizes[0], false)
	shows(t, tab, "the stream", `document.querySelector('#streams').textContent.includes('1,000')`)
	do(t, tab, chromedp.Click[string]("#streams a"))
	shows(t, tab, "the first page", `document.querySelectorAll('#list tbody tr').length === 50`)
	picture(t, tab, "dead-hostile")
	shows(t, tab, "no harm", harmless)
	ids := look[[]string](t, tab, `[...document.querySelectorAll('#list tbody th a')].map((a) => a.hash)`)
	do(t, tab, chromedp.Click[string]("#list-more"))
	shows(t, tab, "the second page", `document.querySelectorAll('#list tbody tr').length === 50 &&
		document.querySelector('#list tbody th a').hash !== `+fmt.Sprintf("%q", ids[0]))
	for _, hash := range ids[:len(hostile)] {
		look[string](t, tab, fmt.Sprintf("location.hash = %q", hash))
		shows(t, tab, "a letter", fmt.Sprintf(`!document.querySelector('#dead-letter').hidden &&
			!document.querySelector('#letter[aria-busy]') && document.querySelectorAll('#letter .value').length === 2 &&
			%q.endsWith(document.querySelector('#letter-name').textContent)`, hash))
		shows(t, tab, "no harm", harmless)
	}
	picture(t, tab, "dead-letter-hostile")
	at := look[string](t, tab, `document.querySelector('#count-dead').textContent`)
	buryHostile(t, rdb, key, 1)
	shows(t, tab, "that it still listens", fmt.Sprintf(`document.querySelector('#count-dead').textContent !== %q`, at))
}

// The beginning of a large value is shown, and the rest can be downloaded.
func TestLargeDeadLetter(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	id := bury(t, rdb, key, redisio.Fields{field("data", hostile[4])}, dead.Reason{Error: "x", Key: "orders"})
	cfg := acting(silentLog)
	cfg.DeadKeys = []string{key}
	tab := tab(t, site(t, New(rdb, nil, cfg))+"#/dead/"+key+"/letter/"+id, sizes[2], true)
	shows(t, tab, "its beginning", `document.querySelector('#letter pre')?.textContent.length === 4096`)
	picture(t, tab, "dead-letter-phone")
	look[bool](t, tab, `(() => {
		const a = [...document.querySelectorAll('#letter a')].find((a) => a.textContent === 'Download the value');
		fetch(a.href).then((r) => r.arrayBuffer()).then((b) => { window.bytes = b.byteLength; });
		return true;
	})()`)
	shows(t, tab, "all its bytes", fmt.Sprintf("window.bytes === %d", len(hostile[4])))
}

const focused = `document.activeElement.id || document.activeElement.textContent`

// press presses keys in the page.
func press(t *testing.T, tab context.Context, keys ...string) {
	t.Helper()
	for _, k := range keys {
		do(t, tab, chromedp.KeyEvent(k))
	}
}

// By keyboard alone: a dead letter with binary fields is edited and replayed, and each byte that was
// not edited is kept. Escape leaves the dialog, and the focus returns.
func TestEditByKeyboard(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	fields := redisio.Fields{
		field("data", "ten\n\t<b>"), field("raw", hostile[5]), field("crlf", "a\r\nb"), field("bidi", hostile[7]),
		field("bytes", "\xff\xfe"), field("empty", ""),
	}
	id := bury(t, rdb, key, fields, dead.Reason{Error: "no number", Key: key + ":to"})
	cfg := acting(silentLog)
	cfg.DeadKeys = []string{key}
	tab := tab(t, site(t, New(rdb, nil, cfg))+"#/dead/"+key+"/letter/"+id, sizes[1], false)
	shows(t, tab, "the letter", `document.querySelectorAll('#letter .value').length === 6`)
	picture(t, tab, "dead-letter")
	look[bool](t, tab, `document.querySelector('#letter .tools button:nth-of-type(2)').focus(), true`)
	press(t, tab, kb.Enter)
	shows(t, tab, "the editor", `document.querySelectorAll('#letter textarea').length === 6 &&
		document.activeElement === document.querySelector('#letter textarea')`)
	look[bool](t, tab, `(() => {
		const areas = document.querySelectorAll('#letter textarea');
		areas[0].value = '10';
		areas[4].value = '/wA= ';
		document.querySelector('#letter .primary').focus();
		return true;
	})()`)
	picture(t, tab, "dead-editor")
	press(t, tab, kb.Enter)
	shows(t, tab, "the question", `document.querySelector('#confirm').open && `+focused+` === 'confirm-no'`)
	press(t, tab, kb.Escape)
	shows(t, tab, "the editor again", `!document.querySelector('#confirm').open &&
		document.activeElement === document.querySelector('#letter .primary')`)
	if n := rdb.XLen(t.Context(), key).Val(); n != 1 {
		t.Errorf("%d dead letters after Escape", n)
	}
	press(t, tab, kb.Enter)
	shows(t, tab, "the question", `document.querySelector('#confirm').open`)
	picture(t, tab, "confirm")
	press(t, tab, kb.Tab, kb.Enter)
	shows(
		t,
		tab,
		"the result",
		`document.querySelector('#result-text').textContent.startsWith('1 dead letter replayed to') &&
		document.querySelector('#list').textContent.includes('No dead letters')`,
	)
	picture(t, tab, "dead-done")
	want := slices.Clone(fields)
	want[0].Value, want[4].Value = []byte("10"), []byte{0xff, 0}
	if d := cmp.Diff(want, fieldsOf(t, rdb, key+":to")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Several dead letters are selected and dropped. Without AllowActions there is nothing to press.
func TestSelectAndDrop(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	for i := range 3 {
		bury(
			t,
			rdb,
			key,
			redisio.Fields{field("n", fmt.Sprint(i))},
			dead.Reason{Error: fmt.Sprint("error ", i), Key: "orders"},
		)
	}
	cfg := acting(silentLog)
	cfg.DeadKeys = []string{key}
	plain := tab(t, site(t, New(rdb, nil, Config{DeadKeys: cfg.DeadKeys}))+"#/dead/"+key, sizes[0], false)
	shows(t, plain, "the list", `document.querySelectorAll('#list tbody tr').length === 3`)
	if n := look[float64](t, plain, `document.querySelectorAll('#view-dead button, #view-dead input').length`); n != 0 {
		t.Errorf("%v buttons without AllowActions", n)
	}
	picture(t, plain, "dead-list-read-only")

	tab := tab(t, site(t, New(rdb, nil, cfg))+"#/dead/"+key, sizes[2], false)
	shows(t, tab, "the list", `document.querySelectorAll('#list tbody tr').length === 3 &&
		document.querySelector('#list .tools .danger').disabled`)
	look[bool](t, tab, `document.querySelectorAll('#list tbody input').forEach((b, i) => i < 2 && b.click()), true`)
	shows(t, tab, "what is selected", `document.querySelector('#list [role=status]').textContent === '2 selected'`)
	picture(t, tab, "dead-list-phone")
	do(t, tab, chromedp.Click[string]("#list .tools .danger"), chromedp.Click[string]("#confirm-yes"))
	shows(t, tab, "the rest", `document.querySelector('#result-text').textContent === '2 dead letters dropped.' &&
		document.querySelectorAll('#list tbody tr').length === 1 &&
		document.querySelector('#list').textContent.includes('error 0')`)
	if n := rdb.XLen(t.Context(), key).Val(); n != 1 {
		t.Errorf("%d dead letters are left", n)
	}
}

// A graph is paused and resumed with the buttons of the page, and the focus stays with them.
func TestGraphButtons(t *testing.T) {
	show := parts.New()
	g := started(t, show, orders("billing"))
	tab := tab(t, site(t, New(nil, show, acting(silentLog)))+"#/graph/billing", sizes[0], true)
	for i, c := range []struct {
		verb, next string
		state      flow.State
	}{{"pause", "resume", flow.Paused}, {"resume", "pause", flow.Active}} {
		button := fmt.Sprintf(`#graph-actions [data-verb=%s]`, c.verb)
		shows(t, tab, "a button", fmt.Sprintf("document.querySelector(%q)", button))
		look[bool](t, tab, fmt.Sprintf("document.querySelector(%q).focus(), true", button))
		press(t, tab, kb.Enter)
		shows(t, tab, "the question", `document.querySelector('#confirm').open`)
		picture(t, tab, fmt.Sprintf("confirm-graph-%d", i))
		press(t, tab, kb.Tab, kb.Enter)
		shows(
			t,
			tab,
			"the result",
			fmt.Sprintf(`document.querySelector('#result-text').textContent === 'billing is %sd.' &&
			document.querySelector('#graph-actions [data-verb=%s]') &&
			document.querySelector('#graph-actions').contains(document.activeElement)`,
				strings.TrimSuffix(c.verb, "d"), c.next),
		)
		if g.State() != c.state {
			t.Errorf("the graph is %v after %s", g.State(), c.verb)
		}
	}
	picture(t, tab, "graph-actions")
}

func TestPlain(t *testing.T) {
	for _, s := range []string{"", "a\n\tb", "ä — 你好", "\u0627\u0644"} {
		if !plain([]byte(s)) {
			t.Errorf("%q is edited as bytes", s)
		}
	}
	for _, s := range []string{"\r", "\x00", "\xff", "\u202e", "\u2066", "\u200f", "\u2028", "\ufeff", "\x1b"} {
		if plain([]byte(s)) {
			t.Errorf("%q is edited as text", s)
		}
	}
	text := []byte("aä€😀")
	for n := range len(text) {
		if got := whole(text[:n], true); !bytes.HasPrefix(text, got) || len(got) > n || n-len(got) > 3 ||
			strings.ContainsRune(string(got), '\ufffd') {
			t.Errorf("%d bytes become %q", n, got)
		}
	}
}
