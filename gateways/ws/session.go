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

// sealer signs sessions, so that a client that comes back can show that it is whose it was, on any
// process of the hub. The secret is given, or made by the first process and kept in Redis.
//
// Idea: nothing of a session is kept anywhere. What a socket needs to go on is in its client's hands: the token, the
// cursor and the rooms; the token can't be made by others, and rooms are authorized again.
type sealer struct {
	hub string
	rdb redis.UniversalClient
	key string

	fixed   bool // the secrets were given
	secrets atomic.Pointer[[]string]
	sharing sync.Mutex
	shared  atomic.Int64 // when they were last got from Redis
}

// maxToken bounds tokens, in bytes: a name of maxName, an id, a time and a mark, and what base64 adds.
const maxToken = 512

// newSession makes the id of a session.
func newSession() string { return rand.Text()[:20] }

// scriptSecret: KEYS secret. ARGV a new one, and those that this process knows. Makes the secret if
// there is none, adds what is missing, and returns all, the one that signs first. Eight are kept.
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

// share gets the secrets from Redis, and gives it those that it has lost. A key that was deleted,
// or a server that took the place of another, is made good by the processes that run.
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
		return fmt.Errorf("ws: get the secret of the sessions from %q: %w", s.key, err)
	}
	list := strings.Fields(all)
	for _, secret := range list {
		if len(secret) < minSecret {
			err := fmt.Errorf("ws: a secret in %q has %d bytes, less than %d: delete the key, or set HubConfig.Secrets",
				s.key, len(secret), minSecret)
			return flow.Permanent(err)
		}
	}
	s.secrets.Store(&list)
	s.shared.Store(time.Now().UnixNano())
	return nil
}

// newSealer makes a sealer of the secrets that are given, or of those in Redis once it has shared
// them.
func newSealer(rdb redis.UniversalClient, hub, key string, given []string) *sealer {
	s := &sealer{hub: hub, rdb: rdb, key: key, fixed: len(given) > 0}
	s.secrets.Store(&given)
	return s
}

// recognize is open for a token that another process may have signed with a secret that this one
// has not seen yet.
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

// shareEvery is how often Redis is asked for a token that is not known, and how long that may take.
const shareEvery = time.Second

// seal makes a token.
func (s *sealer) seal(session, user string, until time.Time) string {
	head := base64.RawURLEncoding.EncodeToString(
		[]byte(user),
	) + "." + session + "." + strconv.FormatInt(
		until.Unix(),
		36,
	)
	return head + "." + mark((*s.secrets.Load())[0], s.hub, head)
}

// open reads a token. ok is false if it is none of this hub's, or has expired.
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
