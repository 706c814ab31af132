package inspect

import (
	"fmt"
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
)

// Verb is what an action does.
type Verb string

const (
	ActPause  Verb = "pause"  // the sources of a graph do not read until it is resumed
	ActResume Verb = "resume" // undo ActPause
	ActDrain  Verb = "drain"  // end a graph in order
	ActReplay Verb = "replay" // write dead letters back to their streams
	ActEdit   Verb = "edit"   // replay one with other values
	ActDrop   Verb = "drop"   // delete dead letters
	ActView   Verb = "view"   // show the payload of a dead letter
)

// Action is what a viewer of the page asks for.
type Action struct {
	Do      Verb     `json:"do"`
	Graph   string   `json:"graph,omitempty"`   // of ActPause, ActResume and ActDrain
	Process string   `json:"process,omitempty"` // where; "": in all processes that run the graph
	Key     string   `json:"key,omitempty"`     // the stream of dead letters, of the other verbs
	IDs     []string `json:"ids,omitempty"`     // the dead letters, at most 100
	To      string   `json:"to,omitempty"`      // the stream to replay to; "": where each came from
}

// maxIDs is the most dead letters of one action.
const maxIDs = 100

// graphs reports whether the action is about a graph, and not about dead letters.
func (a *Action) graphs() bool { return a.Do == ActPause || a.Do == ActResume || a.Do == ActDrain }

// validate reports all mistakes at once.
func (a *Action) validate() error {
	m := redisio.MistakesOf("Action")
	switch a.Do {
	case ActPause, ActResume, ActDrain:
		m.Empty("graph", a.Graph, "name the graph")
		m.If(a.Key+a.To != "" || len(a.IDs) > 0, "key", "is set besides graph", "choose one")
	case ActReplay, ActEdit, ActDrop, ActView:
		m.Empty("key", a.Key, "name the stream of dead letters")
		m.If(a.Graph+a.Process != "", "graph", "is set besides key", "choose one")
		one, n := a.Do == ActEdit || a.Do == ActView, len(a.IDs)
		m.If(n == 0, "ids", "is empty", "select a dead letter")
		m.If(n > maxIDs || one && n > 1, "ids", fmt.Sprintf("has %d dead letters", n), "select fewer")
		m.If(a.To != "" && a.Do != ActReplay && a.Do != ActEdit, "to", "is set", "leave it empty")
		for _, id := range a.IDs[:min(n, maxIDs)] {
			if _, err := redisio.ParseID(id); err != nil {
				m.Add("ids", fmt.Sprintf("%.40q is no entry ID", id), `write it as "1732360000000-0"`)
				break
			}
		}
	default:
		m.Add("do", fmt.Sprintf("%.40q is no action", string(a.Do)),
			"use pause, resume, drain, replay, edit or drop")
	}
	return m.Err()
}

// attrs returns the attributes of the line in the log. It has no payload.
func (a *Action) attrs(who, result string) []any {
	all := []any{"who", who, "do", string(a.Do)}
	for _, s := range [...][2]string{{"graph", a.Graph}, {"process", a.Process}, {"key", a.Key}, {"to", a.To}} {
		if s[1] != "" {
			all = append(all, s[0], s[1])
		}
	}
	if len(a.IDs) > 0 {
		all = append(all, "ids", strings.Join(a.IDs, ","))
	}
	return append(all, "result", result)
}
