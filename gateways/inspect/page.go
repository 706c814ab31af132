package inspect

import (
	"cmp"
	"context"
	"crypto/rand"
	"embed"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/redisio"
)

// Config configures a page. The zero value is the default.
type Config struct {
	// App is the name of the application. Processes with the same App and the same Redis show each
	// other's parts. Defaults to "app".
	App string
	// MaxViewers is how many pages may be open at this process. Others are answered with 503.
	// Defaults to 32.
	MaxViewers int
	// AllowActions lets viewers replay, edit and drop dead letters, and pause, resume and drain
	// graphs, also in other processes with AllowActions. It requires Authorize. Defaults to false:
	// the page changes nothing.
	AllowActions bool
	// Authorize allows or refuses each action, and each look at a payload. It returns the name of
	// the viewer, which the log shows. An error refuses the action, and the page shows its text.
	Authorize func(r *http.Request, a Action) (who string, err error)
	// ShowPayloads shows the values of dead letters if Authorize allows ActView. It requires
	// AllowActions. Defaults to false: names and sizes of fields only.
	ShowPayloads bool
	// DeadKeys are streams of dead letters to show besides those that the graphs' sources name.
	DeadKeys []string
	// Log receives faults, and a line at Info for each action. Defaults to slog.Default, of which
	// faults use only the warnings and errors, see flow.Logger.
	Log *slog.Logger
}

// Validate reports all mistakes at once, each as a *redisio.ConfigError.
func (c Config) Validate() error {
	m := redisio.MistakesOf("inspect.Config")
	m.If(len(c.App) > maxName, "App", fmt.Sprintf("has %d bytes", len(c.App)), fmt.Sprintf("use at most %d", maxName))
	m.If(strings.ContainsAny(c.App, "{}"), "App", "contains a brace", "use a name without { and }")
	m.If(c.MaxViewers < 0, "MaxViewers", "is negative", "leave it 0 for the default")
	c.validateActions(m)
	return m.Err()
}

const (
	defaultApp     = "app"
	maxName        = 100
	defaultViewers = 32
)

// Page shows the parts of an application. It is an http.Handler for any path that ends with a
// slash. It needs GET, and POST for actions.
type Page struct {
	cfg     Config
	err     error // of the configuration
	own     collector
	shared  *shared // the reports of other processes; nil without Redis
	board   board
	viewers atomic.Int64
	closed  chan struct{} // when Run has ended
	guard   guard
	letters letters
	actions actions
}

// New returns a page of the parts in show. rdb is where the processes of the application meet; with
// nil the page shows this process only. New does no I/O. Mistakes in the arguments are reported by
// Validate, and by Run.
func New(rdb redis.UniversalClient, show *parts.Set, cfg Config) *Page {
	p := &Page{cfg: cfg, err: cfg.Validate(), closed: make(chan struct{})}
	if show == nil {
		show = parts.New()
	}
	p.cfg.App = cmp.Or(cfg.App, defaultApp)
	p.cfg.MaxViewers = cmp.Or(cfg.MaxViewers, defaultViewers)
	p.guard = guard{cfg: &p.cfg, log: cmp.Or(cfg.Log, slog.Default()), origin: http.NewCrossOriginProtection()}
	p.cfg.Log = flow.Thinned(cfg.Log)
	id := hostName() + "-" + strings.ToLower(rand.Text()[:6])
	p.own = collector{
		show: show, app: p.cfg.App, process: id, host: hostName(), started: time.Now(), obeys: cfg.AllowActions,
	}
	p.board = board{
		here: id, processes: make(map[string]*process),
		allows: allows{Actions: cfg.AllowActions, Payloads: cfg.ShowPayloads},
	}
	p.letters = letters{guard: &p.guard, board: &p.board}
	if rdb != nil {
		p.shared = newShared(bounded(rdb, redisTimeout), p.cfg.App, id)
		p.letters.rdb = bounded(rdb, lettersIn/2)
	}
	p.actions = actions{guard: &p.guard, letters: &p.letters, own: &p.own, shared: p.shared, board: &p.board}
	return p
}

// Validate reports all mistakes in the page's arguments. It needs no server.
func (p *Page) Validate() error { return p.err }

// refresh updates the board: this process, and what the others have published.
func (p *Page) refresh(ctx context.Context, b *board) {
	b.put(p.own.collect(ctx))
	if p.shared != nil {
		b.notice = p.shared.read(ctx, b)
	}
	b.dead = p.letters.count(ctx, b)
}

// refreshed makes sure that the board knows the processes and their streams.
func (p *Page) refreshed(ctx context.Context) { p.board.know(ctx, p.refresh) }

//go:embed static
var static embed.FS

// assets are the files of the page, and their types.
var assets = map[string]struct{ file, typ string }{
	"":          {"index.html", "text/html; charset=utf-8"},
	"style.css": {"style.css", "text/css; charset=utf-8"},
	"page.js":   {"page.js", "text/javascript; charset=utf-8"},
	"draw.js":   {"draw.js", "text/javascript; charset=utf-8"},
	"words.js":  {"words.js", "text/javascript; charset=utf-8"},
	"act.js":    {"act.js", "text/javascript; charset=utf-8"},
	"dead.js":   {"dead.js", "text/javascript; charset=utf-8"},
	"icon.svg":  {"icon.svg", "image/svg+xml"},
}

// ServeHTTP serves the page and its files by the last part of the path, so it may be mounted
// anywhere.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if p.err != nil {
		http.Error(w, p.err.Error(), http.StatusInternalServerError)
		return
	}
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if name == "act" {
		p.refreshed(r.Context())
		p.actions.serve(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed: use GET", http.StatusMethodNotAllowed)
		return
	}
	switch name {
	case "letters", "letter", "value":
		p.refreshed(r.Context())
		p.letters.serve(w, r, name)
		return
	case "live":
		p.live(w, r)
		return
	case "report.json":
		p.report(w, r)
		return
	}
	asset, ok := assets[name]
	if !ok {
		http.Error(w, "no such page: the address ends with a slash", http.StatusNotFound)
		return
	}
	text, err := static.ReadFile("static/" + asset.file)
	if err != nil {
		panic(err) // it is embedded
	}
	w.Header().Set("Content-Type", asset.typ)
	_, _ = w.Write(text) // the browser may have disconnected
}

// secure makes browsers run only the page's own code, and send data nowhere else.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
}

// report answers with the report of this process.
func (p *Page) report(w http.ResponseWriter, r *http.Request) {
	text, err := p.own.collect(r.Context()).encode()
	if err != nil {
		p.cfg.Log.Error("inspect: the report can't be encoded", "error", err)
		http.Error(w, "the report can't be encoded: see the log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}
