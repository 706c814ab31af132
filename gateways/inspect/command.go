package inspect

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Commands to other processes wait in one list for each, which expires. The process takes them,
// and writes an answer, which expires too. A command is carried out at most once.
const (
	askEvery    = 500 * time.Millisecond // a process looks for commands
	pollEvery   = 100 * time.Millisecond // the asking process looks for the answers
	answerIn    = 4 * time.Second        // a command that was not taken by then is void
	keepAnswers = 30 * time.Second
	maxCommands = 32 // that wait for a process
)

// command asks another process to do something with a graph.
type command struct {
	ID    string `json:"id"`
	Do    Verb   `json:"do"`
	Graph string `json:"graph"`
	Who   string `json:"who"`
	From  string `json:"from"` // the asking process
}

// answer is the answer of one process.
type answer struct {
	Process string `json:"process"`
	Text    string `json:"text"`
	OK      bool   `json:"ok"`
}

func (s *shared) todo(process string) string { return s.prefix + "todo:" + process }

func (s *shared) answerTo(id, process string) string {
	return s.prefix + "answer:" + id + ":" + process
}

// askScript: KEYS list. ARGV command, milliseconds until it is void, most commands. It returns 0 if
// too many wait.
const askScript = `
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
local t = redis.call('TIME')
local void = t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[2]
redis.call('RPUSH', KEYS[1], string.format('%.0f ', void) .. ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`

// takeScript: KEYS list. It empties the list, and returns the commands that are not void.
const takeScript = `
local all, fresh = redis.call('LRANGE', KEYS[1], 0, -1), {}
if #all == 0 then return fresh end
redis.call('DEL', KEYS[1])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for _, c in ipairs(all) do
  local void, text = string.match(c, '^(%d+) (.*)$')
  if void and tonumber(void) > now then fresh[#fresh+1] = text end
end
return fresh`

// ask sends a command to processes, and waits for their answers until ctx is done. The answers have
// the order of the processes.
func (s *shared) ask(ctx context.Context, c command, processes []string) []answer {
	c.ID, c.From = rand.Text(), s.own
	all := make([]answer, len(processes))
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // it has strings only
	}
	pipe, sent := s.rdb.Pipeline(), make([]*redis.Cmd, len(processes))
	for i, id := range processes {
		sent[i] = pipe.Eval(ctx, askScript, []string{s.todo(id)}, text, answerIn.Milliseconds(), maxCommands)
		all[i].Process = id
	}
	_, err = pipe.Exec(ctx)
	waits := 0
	for i := range all {
		n, failed := sent[i].Int()
		switch {
		case err != nil && failed == nil && n == 0, failed != nil:
			all[i].Text = "was not asked, because Redis does not answer: " + short(errors.Join(failed, err).Error())
		case n == 0:
			all[i].Text = "was not asked: too many commands wait for it"
		default:
			waits++
		}
	}
	if waits > 0 {
		s.await(ctx, c.ID, all)
	}
	return all
}

// await fills in the answers that have no text yet.
func (s *shared) await(ctx context.Context, id string, all []answer) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		var left []*answer
		var keys []string
		for i := range all {
			if all[i].Text == "" {
				left, keys = append(left, &all[i]), append(keys, s.answerTo(id, all[i].Process))
			}
		}
		if len(left) == 0 {
			return
		}
		found, err := s.rdb.MGet(ctx, keys...).Result()
		for i, v := range found {
			if text, ok := v.(string); ok {
				var a answer
				if wrong := json.Unmarshal([]byte(text), &a); wrong != nil || a.Text == "" {
					a.Text = "gave an answer that can't be read"
				}
				left[i].Text, left[i].OK = short(a.Text), a.OK
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			why := fmt.Sprintf("did not answer within %v: see its state here, and its log", answerIn)
			if err != nil {
				why = "was asked, but its answer can't be read: " + short(err.Error())
			}
			for _, a := range left {
				if a.Text == "" {
					a.Text = why
				}
			}
			return
		}
	}
}

// take returns the commands for this process.
func (s *shared) take(ctx context.Context) (all []command, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	texts, err := s.rdb.Eval(ctx, takeScript, []string{s.todo(s.own)}).StringSlice()
	for _, text := range texts {
		var c command
		if json.Unmarshal([]byte(text), &c) == nil { // else of another version
			all = append(all, c)
		}
	}
	return all, err
}

// answer sends the outcome of a command to the process that asked for it.
func (s *shared) answer(ctx context.Context, c *command, text string, ok bool) error {
	packed, err := json.Marshal(answer{s.own, text, ok})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	return s.rdb.Set(ctx, s.answerTo(c.ID, s.own), packed, keepAnswers).Err()
}
