package ws

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// sealer signs sessions, so that a client that comes back can show that it is whose it was, on any process of the hub. The
// secret is made by the first process, and kept in Redis.
//
// Idea: nothing of a session is kept anywhere. What a socket needs to go on is in its client's hands: the token, the
// cursor and the rooms; the token can't be made by others, and rooms are authorized again.
type sealer struct {
	hub    string
	secret []byte
}

// maxToken bounds tokens, in bytes: a name of maxName, an id, a time and a mark, and what base64 adds.
const maxToken = 512

// newSession makes the id of a session.
func newSession() string { return rand.Text()[:20] }

// openSealer gets the secret, and makes it if there is none.
func openSealer(ctx context.Context, rdb redis.UniversalClient, hub, key string) (*sealer, error) {
	secret, err := rdb.Get(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		if err = rdb.SetNX(ctx, key, rand.Text()+rand.Text(), 0).Err(); err == nil {
			secret, err = rdb.Get(ctx, key).Result() // another process may have been first
		}
	}
	if err != nil {
		return nil, err
	}
	return &sealer{hub, []byte(secret)}, nil
}

// seal makes a token.
func (s *sealer) seal(session, user string, until time.Time) string {
	head := base64.RawURLEncoding.EncodeToString([]byte(user)) + "." + session + "." + strconv.FormatInt(until.Unix(), 36)
	return head + "." + s.mark(head)
}

// open reads a token. ok is false if it is none of this hub's, or has expired.
func (s *sealer) open(token string) (session, user string, ok bool) {
	head, mark, found := cutLast(token)
	if !found || !hmac.Equal([]byte(mark), []byte(s.mark(head))) {
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

func (s *sealer) mark(head string) string {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte(s.hub + "\n" + head))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}
