package inspect

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/streamerson/streamerson-go/redisio"
)

// guard allows or refuses actions, and logs them.
type guard struct {
	cfg    *Config
	log    *slog.Logger // not thinned: each action is in it
	origin *http.CrossOriginProtection
}

var (
	errNoActions  = errors.New("the page changes nothing: set Config.AllowActions and Authorize")
	errNoPayloads = errors.New("values are hidden: the page shows them with Config.ShowPayloads")
)

// decide returns the user who asks. The error is the reason if the action is not allowed.
func (g *guard) decide(r *http.Request, a *Action) (who string, err error) {
	switch {
	case a.Do == ActView && !g.cfg.ShowPayloads:
		return "", errNoPayloads
	case !g.cfg.AllowActions:
		return "", errNoActions
	}
	given := *a
	given.IDs = append([]string(nil), a.IDs...) // it may keep them
	who, err = g.cfg.Authorize(r, given)
	if err != nil {
		g.audit(a, who, "refused: "+short(err.Error()))
		return who, fmt.Errorf("not allowed: %w", err)
	}
	return who, nil
}

// audit logs an action.
func (g *guard) audit(a *Action, who, result string) {
	g.log.Info("inspect: action", a.attrs(who, result)...)
}

// validateActions adds the mistakes of the actions' fields.
func (c *Config) validateActions(m *redisio.Mistakes) {
	m.If(c.AllowActions && c.Authorize == nil, "Authorize", "is nil, but AllowActions is set",
		"give a function that returns who asks, or an error for those who may not")
	m.If(c.ShowPayloads && !c.AllowActions, "ShowPayloads", "is set without AllowActions",
		"set AllowActions, and let Authorize decide about ActView too")
	m.If(!c.AllowActions && c.Authorize != nil, "Authorize", "is set, but AllowActions is not",
		"set AllowActions, or leave Authorize nil")
	for _, key := range c.DeadKeys {
		if key == "" {
			m.Add("DeadKeys", "has an empty key", "name streams of dead letters")
			break
		}
	}
}
