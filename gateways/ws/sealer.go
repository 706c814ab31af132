package ws

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
)

// sealer signs session tokens, so that a reconnecting client can prove its session to any process
// of the hub. The secrets are configured, or created by the first process and kept in Redis.
//
// Idea: the server stores nothing about a session. The client holds all that is needed to resume
// it: the token, the cursor and the rooms. The token cannot be forged, and rooms are authorized
// again.
type sealer struct {
	hub string
	rdb redis.UniversalClient
	key string

	fixed   bool // the secrets are configured
	secrets atomic.Pointer[[]string]
	sharing sync.Mutex
	shared  atomic.Int64 // time of the last load from Redis
}

// maxToken is the longest token in bytes: a name of maxName, an id, a time and a signature, in
// base64.
const maxToken = 512

// newSession returns a random session id.
func newSession() string { return rand.Text()[:20] }

// scriptSecret has the key of the secrets in KEYS; ARGV is a new secret, then those that this
// process knows. It creates a secret if the key has no secret, adds the missing ones, and returns
// all of them, the signing one first. It keeps eight.
const scriptSecret = `
local have, list, seen = redis.call('GET', KEYS[1]) or '', {}, {}
local function add(s)
  if not seen[s] and #list < 8 then seen[s] = true; list[#list+1] = s end
end
for s in have:gmatch('%S+') do add(s) end
for i = 2, #ARGV do add(ARGV[i]) end
if #list == 0 then add(ARGV[1]) end
local all = table.concat(list, ' ')
if all ~= have then redis.call('SET', KEYS[1], all) end
return all`

// share loads the secrets from Redis, and adds those that Redis has lost. So the running processes
// restore the key after it was deleted, or after a failover to another server.
func (s *sealer) share(ctx context.Context) error {
	if s.fixed {
		return nil
	}
	s.sharing.Lock()
	defer s.sharing.Unlock()
	args := []any{rand.Text() + rand.Text()}
	for _, known := range *s.secrets.Load() {
		args = append(args, known)
	}
	all, err := s.rdb.Eval(ctx, scriptSecret, []string{s.key}, args...).Text()
	if err != nil {
		return fmt.Errorf("ws: load the session secret from %q: %w", s.key, err)
	}
	list := strings.Fields(all)
	for _, secret := range list {
		if len(secret) < minSecret {
			err := fmt.Errorf("ws: secret in %q has %d bytes, want %d: delete the key, or set HubConfig.Secrets",
				s.key, len(secret), minSecret)
			return flow.Permanent(err)
		}
	}
	s.secrets.Store(&list)
	s.shared.Store(time.Now().UnixNano())
	return nil
}

// newSealer returns a sealer with the configured secrets, or with those in Redis after share.
func newSealer(rdb redis.UniversalClient, hub, key string, given []string) *sealer {
	s := &sealer{hub: hub, rdb: rdb, key: key, fixed: len(given) > 0}
	s.secrets.Store(&given)
	return s
}

// recognize is like open, but reloads the secrets if the token may be signed with a secret that
// another process has added.
func (s *sealer) recognize(ctx context.Context, token string) (session, user string, ok bool) {
	session, user, ok = s.open(token)
	if ok || token == "" || s.fixed || time.Since(time.Unix(0, s.shared.Load())) < shareEvery {
		return session, user, ok
	}
	ctx, cancel := context.WithTimeout(ctx, shareEvery)
	defer cancel()
	if s.share(ctx) != nil {
		return "", "", false
	}
	return s.open(token)
}

// shareEvery is how often an unknown token may reload the secrets from Redis, and how long that may
// take.
const shareEvery = time.Second

// seal returns a signed token.
func (s *sealer) seal(session, user string, until time.Time) string {
	head := base64.RawURLEncoding.EncodeToString(
		[]byte(user),
	) + "." + session + "." + strconv.FormatInt(
		until.Unix(),
		36,
	)
	return head + "." + mark((*s.secrets.Load())[0], s.hub, head)
}

// open reads a token. ok is false if the token is not one of this hub, or has expired.
func (s *sealer) open(token string) (session, user string, ok bool) {
	head, got, found := cutLast(token)
	if !found || !slices.ContainsFunc(*s.secrets.Load(), func(secret string) bool {
		return hmac.Equal([]byte(got), []byte(mark(secret, s.hub, head)))
	}) {
		return "", "", false
	}
	parts := strings.Split(head, ".")
	if len(parts) != 3 {
		return "", "", false
	}
	name, err := base64.RawURLEncoding.DecodeString(parts[0])
	until, badTime := strconv.ParseInt(parts[2], 36, 64)
	if err != nil || badTime != nil || time.Now().Unix() > until {
		return "", "", false
	}
	return parts[1], string(name), true
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func mark(secret, hub, head string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(hub + "\n" + head))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}
