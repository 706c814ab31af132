package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio/dead"
)

// actions carries out what viewers ask for.
type actions struct {
	guard   *guard
	letters *letters
	own     *collector
	shared  *shared // nil without Redis
	board   *board
}

const (
	actIn    = 10 * time.Second // for an action
	sendIn   = 30 * time.Second // for the request's body
	maxBody  = 8 << 20          // an edited dead letter of maxWhole, as base64
	maxLines = 50
)

// request is the body of a request.
type request struct {
	Action
	Values []editedValue `json:"values,omitempty"` // of ActEdit: all fields, in order
}

// outcome is the result of an action, in words.
type outcome struct {
	OK    bool     `json:"ok"`
	Text  string   `json:"text"`
	Lines []string `json:"lines,omitempty"` // details, such as one for each process
}

// serve answers the request for an action.
func (a *actions) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		fail(w, http.StatusMethodNotAllowed, errors.New("actions need POST"))
		return
	}
	if err := a.guard.origin.Check(r); err != nil {
		fail(w, http.StatusForbidden, fmt.Errorf("actions are taken from the page itself only: %w", err))
		return
	}
	if typ, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); typ != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, errors.New("actions are sent as application/json"))
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(sendIn)) // not all readers have deadlines
	var q request
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	body.DisallowUnknownFields()
	if err := body.Decode(&q); err != nil {
		status := http.StatusBadRequest
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			status, err = http.StatusRequestEntityTooLarge, fmt.Errorf("the request exceeds %d MiB", maxBody>>20)
		}
		fail(w, status, err)
		return
	}
	a.carryOut(w, r, &q)
}

// carryOut checks an action, does it, and logs it.
func (a *actions) carryOut(w http.ResponseWriter, r *http.Request, q *request) {
	err := q.validate()
	if q.Do == ActView {
		err = errors.Join(err, errors.New("view is no action: open the dead letter"))
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	who, err := a.guard.decide(r, &q.Action)
	if err != nil {
		fail(w, http.StatusForbidden, err)
		return
	}
	if !q.graphs() {
		if err := a.letters.known(q.Key); err != nil {
			fail(w, http.StatusNotFound, err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(
		context.WithoutCancel(r.Context()),
		actIn,
	) // a closed page does not stop it halfway
	defer cancel()
	var o outcome
	if q.graphs() {
		o = a.graph(ctx, &q.Action, who)
	} else {
		o = a.letters.change(ctx, q)
	}
	a.board.hurry()
	a.guard.audit(&q.Action, who, strings.Join(append([]string{o.Text}, o.Lines...), "; "))
	reply(w, o, nil)
}

// graph changes the state of a graph in one process or in all that run it.
func (a *actions) graph(ctx context.Context, q *Action, who string) outcome {
	var asked []string
	answers := []answer{}
	for _, t := range a.board.targets(q.Graph, q.Process) {
		switch {
		case t.here:
			text, ok := a.own.control(q.Do, q.Graph)
			answers = append(answers, answer{t.id, text, ok})
		case t.gone:
			answers = append(answers, answer{t.id, "is gone: it reported last " + span(t.age) + " ago", false})
		case !t.obeys:
			answers = append(answers, answer{t.id, "takes no actions: set Config.AllowActions there", false})
		case a.shared == nil:
			answers = append(answers, answer{t.id, "can't be asked: " + errNoRedis.Error(), false})
		default:
			asked = append(asked, t.id)
		}
	}
	if len(asked) > 0 {
		ctx, cancel := context.WithTimeout(ctx, answerIn+redisTimeout)
		defer cancel()
		answers = append(answers, a.shared.ask(ctx, command{Do: q.Do, Graph: q.Graph, Who: who}, asked)...)
	}
	return outcomeOf(q, answers)
}

// outcomeOf puts the answers of the processes into words.
func outcomeOf(q *Action, answers []answer) outcome {
	if len(answers) == 0 {
		if q.Process == "" {
			return outcome{Text: fmt.Sprintf("No process runs %s any more.", q.Graph)}
		}
		return outcome{Text: fmt.Sprintf("%s does not run %s, or has left.", q.Process, q.Graph)}
	}
	o, done := outcome{}, 0
	for _, a := range answers {
		if a.OK {
			done++
		}
		o.Lines = append(o.Lines, a.Process+": "+a.Text)
	}
	o.OK = done == len(answers)
	if more := len(o.Lines) - maxLines; more > 0 {
		o.Lines = append(o.Lines[:maxLines], fmt.Sprintf("and %d more", more))
	}
	verb := map[Verb]string{ActPause: "paused", ActResume: "resumed", ActDrain: "draining"}[q.Do]
	switch {
	case len(answers) == 1 && o.OK:
		o.Text = fmt.Sprintf("%s is %s.", q.Graph, verb)
	case o.OK:
		o.Text = fmt.Sprintf("%s is %s in all %d processes.", q.Graph, verb, done)
	case done == 0:
		o.Text = fmt.Sprintf("%s was not %s.", q.Graph, cmp.Or(map[Verb]string{ActDrain: "drained"}[q.Do], verb))
	default:
		o.Text = fmt.Sprintf("%s is %s in %d of %d processes.", q.Graph, verb, done, len(answers))
	}
	return o
}

// reply sends JSON, or an error of Redis.
func reply(w http.ResponseWriter, v any, err error) {
	switch {
	case errors.Is(err, dead.ErrNoEntry):
		fail(w, http.StatusNotFound, errors.New("the dead letter is gone: it was replayed or dropped"))
		return
	case errors.Is(err, errBadID):
		fail(w, http.StatusBadRequest, err)
		return
	case errors.Is(err, errNoActions), errors.Is(err, errNoPayloads), errors.Is(err, errLarge):
		fail(w, http.StatusForbidden, err)
		return
	case err != nil:
		fail(w, http.StatusServiceUnavailable, fmt.Errorf("no good answer of Redis: %w", err))
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(text) // the browser may have disconnected
}

// fail sends an error as an outcome.
func fail(w http.ResponseWriter, status int, err error) {
	text, bad := json.Marshal(outcome{Text: cut(err.Error(), maxErrorText)})
	if bad != nil {
		panic(bad) // it has strings only
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
