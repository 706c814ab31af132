package ws_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Line is a chat message.
type Line struct {
	Text string `json:"text"`
}

// moderate turns a line of a client into a message to its room.
func moderate(_ context.Context, e ws.Event[Line]) (ws.Message[Line], error) {
	e.Value.Text = strings.ReplaceAll(e.Value.Text, "darn", "d**n")
	return ws.Message[Line]{To: ws.Room(e.Room), From: e.User, Type: e.Type, Value: e.Value}, nil
}

var _ = chat // not run: it ends only with its context

// chat is the chat of the README.
func chat(
	ctx context.Context,
	rdb redis.UniversalClient,
	mux *http.ServeMux,
	sessionUser gateways.Authenticator,
) error {
	hub := ws.NewHub(rdb, "chat", ws.HubConfig{Authenticate: sessionUser})
	mux.Handle("GET /chat", hub)            // sockets, in any number of processes
	mux.Handle("GET /chat.js", ws.Script()) // the client: connect, send, call, on

	said := ws.Inbound[Line](rdb, "chat", source.StreamConfig[ws.Event[Line]]{})
	told := operators.Map(said, moderate) // ws.Event[Line] to ws.Message[Line]
	workers := flow.New("chat", flow.To(told, ws.Outbound[Line](rdb, "chat", sink.StreamConfig[ws.Message[Line]]{})))

	sup := flow.NewSupervisor(ctx)
	for _, g := range []*flow.Graph{hub.Graph(), workers} {
		if _, err := sup.Add(g); err != nil {
			return err
		}
	}
	return sup.Wait()
}

// memory starts a server in this process; your program would use redisio.Connect.
func memory() (*redis.Client, func()) {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	rdb := server.Client()
	return rdb, func() {
		rdb.Close()
		server.Close()
	}
}

// talk opens a socket, sends frames, and prints the data of the first frame that contains until.
func talk(url, until string, frames ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.CloseNow()
	for _, f := range frames {
		if err := conn.Write(ctx, websocket.MessageText, []byte(f)); err != nil {
			log.Fatal(err)
		}
	}
	for {
		_, b, err := conn.Read(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if strings.Contains(string(b), until) {
			if _, data, is := strings.Cut(string(b), `"data":`); is {
				fmt.Println(strings.TrimSuffix(data, "}"))
			}
			return
		}
	}
}

// serve runs a hub and its HTTP server for an example.
func serve(hub *ws.Hub) (url string, end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- hub.Run(ctx) }()
	for hub.Ready() != nil {
		select {
		case err := <-ended:
			log.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	srv := httptest.NewServer(hub)
	return "ws" + strings.TrimPrefix(srv.URL, "http"), func() {
		cancel()
		if err := <-ended; err != nil {
			log.Fatal(err)
		}
		srv.Close()
	}
}

func ExampleNewHub() {
	rdb, end := memory()
	defer end()
	hub := ws.NewHub(rdb, "chat", ws.HubConfig{})
	url, stop := serve(hub)
	defer stop()

	said := ws.Inbound[Line](rdb, "chat", source.StreamConfig[ws.Event[Line]]{})
	told := operators.Map(said, moderate)
	out := ws.Outbound[Line](rdb, "chat", sink.StreamConfig[ws.Message[Line]]{})
	workers, err := flow.New("chat", flow.To(told, out)).Start(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer workers.Drain(context.Background())

	talk(
		url,
		`"msg"`,
		`{"kind":"hello","rooms":["lobby"]}`,
		`{"kind":"send","room":"lobby","type":"say","data":{"text":"darn it"}}`,
	)
	// Output: {"text":"d**n it"}
}

func ExampleInbound() {
	rdb, end := memory()
	defer end()
	url, stop := serve(ws.NewHub(rdb, "chat", ws.HubConfig{}))
	defer stop()
	talk(
		url,
		`"ack"`,
		`{"kind":"hello","rooms":["lobby"]}`,
		`{"kind":"send","room":"lobby","type":"say","data":{"text":"knock knock"}}`,
		`{"kind":"send","id":"1","room":"lobby","type":"say","data":{"text":"who is there?"}}`,
	)

	// Rooms are processed in parallel, each in order.
	events := ws.Inbound[Line](rdb, "chat", source.StreamConfig[ws.Event[Line]]{Group: "log"})
	lines := operators.Map(events, func(_ context.Context, e ws.Event[Line]) (string, error) {
		return e.Room + ": " + e.Value.Text, nil
	}, flow.Workers(4), flow.KeyedBy(ws.ByKey[Line]))
	left := 2
	for line, err := range flow.Values(context.Background(), lines) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(line)
		if left--; left == 0 {
			break
		}
	}
	// Output:
	// lobby: knock knock
	// lobby: who is there?
}

func ExampleOutbound() {
	rdb, end := memory()
	defer end()
	url, stop := serve(ws.NewHub(rdb, "alerts", ws.HubConfig{}))
	defer stop()

	alerts := source.Of(ws.Message[Line]{To: ws.All, Type: "alert", Value: Line{"the kettle boils"}})
	err := flow.New("alerts", flow.To(alerts, ws.Outbound[Line](rdb, "alerts", sink.StreamConfig[ws.Message[Line]]{}))).
		Run(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	talk(url, `"msg"`, `{"kind":"hello","cursor":"0"}`) // receives all earlier messages, too
	// Output: {"text":"the kettle boils"}
}

func ExampleRoom() {
	fmt.Println(ws.Room("lobby"), ws.User("ann"), ws.All)
	// Output: room:lobby user:ann all
}

func ExampleUser() {
	m := ws.Message[Line]{To: ws.User("ann"), Type: "invitation", Value: Line{"come over"}}
	fmt.Println(m.To)
	// Output: user:ann
}

func ExampleSession() {
	// The answer goes to the session that asked.
	answer := func(_ context.Context, e ws.Event[Line]) (ws.Message[Line], error) {
		return ws.Message[Line]{To: ws.Session(e.Session), Type: "answer", Value: Line{"42"}}, nil
	}
	m, _ := answer(context.Background(), ws.Event[Line]{Session: "S1"})
	fmt.Println(m.To)
	// Output: session:S1
}

func ExampleByKey() {
	fmt.Println(ws.ByKey(ws.Event[Line]{User: "ann", Room: "lobby"}), ws.ByKey(ws.Event[Line]{User: "ann"}))
	// Output: room:lobby user:ann
}

func ExampleToken() {
	known := map[string]string{"s3cret": "ann"}
	cfg := ws.HubConfig{Authenticate: func(r *http.Request) (gateways.Identity, error) {
		user, ok := known[ws.Token(r)]
		if !ok {
			return gateways.Identity{}, gateways.Errorf(gateways.CodeUnauthorized, "unknown token")
		}
		return gateways.Identity{User: user}, nil
	}}
	r := httptest.NewRequest(http.MethodGet, "/chat", nil)
	r.Header.Set(
		"Sec-WebSocket-Protocol",
		"streamerson.v1, bearer.s3cret",
	) // as sent by connect("/chat", { token: "s3cret" })
	fmt.Println(cfg.Authenticate(r))
	// Output: {ann <nil>} <nil>
}

func ExampleScript() {
	mux := http.NewServeMux()
	mux.Handle("GET /chat.js", ws.Script()) // import { connect } from "/chat.js"
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/chat.js", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 text/javascript; charset=utf-8
}

func ExampleClientJS() {
	fmt.Println(
		strings.Contains(string(ws.ClientJS()), "export function connect(url, options = {})"),
	) // for your own bundle
	// Output: true
}

// After a logout the sockets of the user are closed, in all processes.
func ExampleDisconnect() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := server.Client()
	defer rdb.Close()
	logout := func(w http.ResponseWriter, r *http.Request) {
		user := "ann" // of the session that was just ended
		if err := ws.Disconnect(r.Context(), rdb, "chat", ws.User(user), "logged out"); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	}
	answer := httptest.NewRecorder()
	logout(answer, httptest.NewRequest(http.MethodPost, "/logout", nil))
	fmt.Println(answer.Code)
	// Output: 200
}
