package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/web"
)

// Webhook posts deliveries to a receiver on this machine, which stands for the server of a customer.
// Each request is signed, so that the receiver knows its sender.
type Webhook struct {
	provider *Provider // behind the receiver
	url      atomic.Pointer[string]
	client   http.Client
}

var hookSecret = []byte("shared by sender and receiver") // a real one is random, and one for each receiver

const (
	signatureHeader = "X-Signature-256"
	hookMost        = 1 << 20 // bytes of a request
)

func newWebhook(p *Provider) *Webhook {
	return &Webhook{provider: p, client: http.Client{Timeout: 5 * time.Second}}
}

// Send posts a delivery. The answer's status says whether to try again.
func (h *Webhook) Send(ctx context.Context, d Delivery) error {
	url := h.url.Load()
	if url == nil {
		return errDown
	}
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, *url+"hook", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", d.ID)
	r.Header.Set(signatureHeader, signature(body))
	answer, err := h.client.Do(r)
	if err != nil {
		return errors.Join(errDown, err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 4096)) // so that the connection is used again
	switch answer.StatusCode {
	case http.StatusNoContent:
		return nil
	case http.StatusServiceUnavailable:
		return errDown
	case http.StatusTooManyRequests:
		return errLimited
	case http.StatusGone:
		return errNobody
	}
	return fmt.Errorf("webhook: the receiver answered %s", answer.Status)
}

// receiver is the server of the customer. It is a part of this program, on a free port.
func (h *Webhook) receiver() *app.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, hookMost))
		var d Delivery
		switch {
		case err != nil:
			http.Error(w, "request body exceeds 1 MiB", http.StatusRequestEntityTooLarge)
			return
		case !hmac.Equal([]byte(signature(body)), []byte(r.Header.Get(signatureHeader))):
			http.Error(w, "the signature is wrong", http.StatusUnauthorized)
			return
		case json.Unmarshal(body, &d) != nil || len(d.Notes) == 0:
			http.Error(w, "the body is no delivery", http.StatusBadRequest)
			return
		}
		switch err := h.provider.Accept(r.Context(), d); {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case errors.Is(err, errLimited):
			http.Error(w, err.Error(), http.StatusTooManyRequests)
		case errors.Is(err, errNobody):
			http.Error(w, err.Error(), http.StatusGone)
		default:
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		}
	})
	return &app.Server{Addr: "localhost:0", Handler: mux, Config: web.ServerConfig{},
		Listening: func(url string) { h.url.Store(&url) }}
}

func signature(body []byte) string {
	mac := hmac.New(sha256.New, hookSecret)
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
