package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio"
)

// accounts are the reserved names of users. A name stays reserved for a day after its last use. Its
// cookie is a secret that no page can read, so other users cannot speak under the name.
//
//	{chat}:name:<name, folded>  the secret
//	{chat}:login:<secret>       the name
type accounts struct {
	rdb   redis.UniversalClient
	limit *rate.Limiter
}

const (
	cookie   = "chat"
	loginTTL = 24 * time.Hour
)

func newAccounts(rdb redis.UniversalClient) *accounts {
	return &accounts{rdb, rate.NewLimiter(20, 100)}
}

var errNobody = errors.New("chat: not logged in")

func nameKey(name string) string    { return key("name", strings.ToLower(name)) }
func loginKey(secret string) string { return key("login", secret) }

// who returns the user name and the secret of a request.
func (a *accounts) who(r *http.Request) (name, secret string, err error) {
	c, err := r.Cookie(cookie)
	if err != nil || len(c.Value) > 64 {
		return "", "", errNobody
	}
	name, err = a.name(r.Context(), c.Value)
	return name, c.Value, err
}

// name returns the owner of a secret, and reserves the name for another day.
func (a *accounts) name(ctx context.Context, secret string) (string, error) {
	name, err := a.rdb.GetEx(ctx, loginKey(secret), loginTTL).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return "", errNobody
	case err != nil:
		return "", err
	}
	return name, a.rdb.Expire(ctx, nameKey(name), loginTTL).Err()
}

// authenticate identifies the user of a socket for the hub.
func (a *accounts) authenticate(r *http.Request) (gateways.Identity, error) {
	name, secret, err := a.who(r)
	return gateways.Identity{User: name, Value: secret}, refusal(err)
}

// authorize decides for the hub whether the user of a socket may speak or join. Sockets that are
// still open under a released name may not.
func (a *accounts) authorize(ctx context.Context, who gateways.Identity, what ws.Action, room string) error {
	if name, err := a.name(ctx, who.Value.(string)); err != nil || name != who.User {
		return refusal(cmp.Or(err, errNobody))
	}
	if what != ws.Join {
		return nil
	}
	if err := checkName(room); err != nil || room != strings.ToLower(room) {
		return gateways.Errorf(
			gateways.CodeForbidden,
			"a room name has 1 to 20 lower-case letters, digits and . - _",
		)
	}
	may, err := store{a.rdb}.mayOpen(ctx, room)
	if err == nil && !may {
		return gateways.Errorf(gateways.CodeForbidden, "too many rooms, join an existing one")
	}
	return refusal(err)
}

// refusal converts an error into one that a gateway returns to its client.
func refusal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNobody):
		return gateways.Errorf(gateways.CodeUnauthorized, "log in")
	}
	return &gateways.RemoteError{
		Code:    gateways.CodeOverloaded,
		Status:  http.StatusServiceUnavailable,
		Message: "chat unavailable, try again later",
	}
}

// spelled returns a name as its owner spells it; "" if it has no owner.
func (a *accounts) spelled(ctx context.Context, name string) (string, error) {
	secret, err := a.rdb.Get(ctx, nameKey(name)).Result()
	if err == nil {
		name, err = a.rdb.Get(ctx, loginKey(secret)).Result()
	}
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return name, err
}

// login is POST /login with a name, as JSON.
func (a *accounts) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ Name string }
	if !redisio.ContentTypeMatches("application/json", r.Header.Get("Content-Type")) ||
		json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&in) != nil {
		http.Error(w, `send {"name":"…"} as application/json`, http.StatusBadRequest)
		return
	}
	name := strings.TrimSpace(in.Name)
	if err := checkName(name); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	if !a.limit.Allow() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many logins, try again later", http.StatusTooManyRequests)
		return
	}
	if now, _, err := a.who(r); err == nil && now == name {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	secret := rand.Text()
	// The login is written first. A name without one would be unusable for a day.
	err := a.rdb.Set(r.Context(), loginKey(secret), name, loginTTL).Err()
	free := false
	if err == nil {
		free, err = a.rdb.SetNX(r.Context(), nameKey(name), secret, loginTTL).Result()
	}
	switch {
	case err != nil:
		http.Error(w, "chat unavailable, try again later", http.StatusServiceUnavailable)
	case !free:
		a.rdb.Del(r.Context(), loginKey(secret)) // else it expires
		http.Error(w, "name already in use, choose another", http.StatusConflict)
	default:
		a.forget(r) // the user's former name
		http.SetCookie(w, a.cookie(r, secret, int(loginTTL/time.Second)*30))
		w.WriteHeader(http.StatusNoContent)
	}
}

// logout is POST /logout.
func (a *accounts) logout(w http.ResponseWriter, r *http.Request) {
	a.forget(r)
	http.SetCookie(w, a.cookie(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
}

// forget releases the name of a request's user.
func (a *accounts) forget(r *http.Request) {
	name, secret, err := a.who(r)
	if err != nil {
		return
	}
	_ = a.rdb.Del(r.Context(), loginKey(secret)).Err() // else it expires
	_ = a.rdb.Del(r.Context(), nameKey(name)).Err()
}

// me is GET /me: the name of the user.
func (a *accounts) me(w http.ResponseWriter, r *http.Request) {
	name, _, err := a.who(r)
	switch {
	case errors.Is(err, errNobody):
		http.Error(w, "log in", http.StatusUnauthorized)
	case err != nil:
		http.Error(w, "chat unavailable, try again later", http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"name": name})
	}
}

func (a *accounts) cookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name:     cookie,
		Value:    value,
		Path:     "/",
		MaxAge:   age,
		HttpOnly: true,
		SameSite: http.SameSiteStrictMode,
		Secure:   r.TLS != nil,
	}
}
