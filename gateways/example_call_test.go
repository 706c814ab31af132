package gateways_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/source"
)

type (
	purchase struct{ Item string }
	quote    struct{ Cents int }
)

// onStand runs an example with a Redis, an optional service, and a client.
func onStand(topic string, serve func(redis.UniversalClient) *flow.Graph, ask func(context.Context, *gateways.Client)) {
	server, err := embedded.Start() // or your own Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := server.Client()
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	run, err := serve(rdb).Start(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer run.Drain(ctx)
	client := gateways.NewClient(rdb, topic, gateways.ClientConfig{})
	defer client.Close(ctx)
	ask(ctx, client)
}

// A remote call is a function. Its error gives access to the code and the message that the service
// chose.
func ExampleCall() {
	onStand("prices", func(rdb redis.UniversalClient) *flow.Graph {
		svc := gateways.NewService(rdb, "prices", gateways.ServiceConfig{})
		gateways.Handle(svc, "price", func(_ context.Context, p purchase) (quote, error) {
			if p.Item != "tea" {
				return quote{}, gateways.Errorf(gateways.CodeNotFound, "we have no %s", p.Item)
			}
			return quote{Cents: 320}, nil
		})
		return svc.Graph()
	}, func(ctx context.Context, client *gateways.Client) {
		price := gateways.Call[purchase, quote](
			client,
			"price",
			gateways.Timeout(20*time.Second),
			gateways.Header("tenant", "acme"),
		)
		fmt.Println(price(ctx, purchase{"tea"}))
		_, err := price(ctx, purchase{"coal"})
		var said *gateways.RemoteError
		fmt.Println(errors.As(err, &said), said.Code, said.Message)
		_, err = gateways.Call[purchase, quote](client, "sell")(ctx, purchase{"tea"})
		fmt.Println(errors.Is(err, gateways.ErrNoHandler))
	})
	// Output:
	// {320} <nil>
	// true not_found we have no coal
	// true
}

// A call is a function, so it can be passed to Map.
func ExampleCall_pipeline() {
	onStand("shout", func(rdb redis.UniversalClient) *flow.Graph {
		svc := gateways.NewService(rdb, "shout", gateways.ServiceConfig{})
		gateways.Handle(
			svc,
			"upper",
			func(_ context.Context, s string) (string, error) { return strings.ToUpper(s), nil },
		)
		return svc.Graph()
	}, func(ctx context.Context, client *gateways.Client) {
		loud := operators.Map(source.Of("a", "b", "c"), gateways.Call[string, string](client, "upper"), flow.Workers(3))
		for v, err := range flow.Values(ctx, loud) {
			fmt.Println(v, err)
		}
	})
	// Output:
	// A <nil>
	// B <nil>
	// C <nil>
}

// Middleware wraps all handlers.
func ExampleNewService() {
	onStand("greetings", func(rdb redis.UniversalClient) *flow.Graph {
		svc := gateways.NewService(rdb, "greetings", gateways.ServiceConfig{
			Workers: 8,
			KeyedBy: func(r gateways.Request) string { return r.Key },
		})
		svc.Use(func(next gateways.Handler) gateways.Handler {
			return func(ctx context.Context, r *gateways.Request) (gateways.Response, error) {
				fmt.Println("asked for", r.Type, "of", r.Key)
				return next(ctx, r)
			}
		})
		gateways.HandleVoid(svc, "greet", func(_ context.Context, name string) error {
			fmt.Println("hello", name)
			return nil
		})
		fmt.Println(svc.Types(), svc.Validate())
		return svc.Graph()
	}, func(ctx context.Context, client *gateways.Client) {
		greet := gateways.Call[string, []byte](
			client,
			"greet",
			gateways.Keyed(func(name string) string { return name }),
		)
		answer, err := greet(ctx, "Ada")
		fmt.Println(len(answer), err)
	})
	// Output:
	// [greet] <nil>
	// asked for greet of Ada
	// hello Ada
	// 0 <nil>
}

// Send does not wait for an answer.
func ExampleSend() {
	noted := make(chan string, 1)
	onStand("notes", func(rdb redis.UniversalClient) *flow.Graph {
		svc := gateways.NewService(rdb, "notes", gateways.ServiceConfig{})
		gateways.HandleVoid(svc, "note", func(_ context.Context, text string) error { noted <- text; return nil })
		return svc.Graph()
	}, func(ctx context.Context, client *gateways.Client) {
		fmt.Println(gateways.Send[string](client, "note")(ctx, "buy tea"))
		fmt.Println(<-noted)
	})
	// Output:
	// <nil>
	// buy tea
}

// A streamed answer has many values. The handler blocks while its reader is slow, and ends when the
// reader stops.
func ExampleStream() {
	onStand("numbers", func(rdb redis.UniversalClient) *flow.Graph {
		svc := gateways.NewService(rdb, "numbers", gateways.ServiceConfig{})
		gateways.HandleStream(svc, "count", func(_ context.Context, from int, send func(int) error) error {
			for n := from; ; n++ {
				if err := send(n); err != nil {
					return err
				}
			}
		})
		return svc.Graph()
	}, func(ctx context.Context, client *gateways.Client) {
		for n, err := range gateways.Stream[int, int](client, "count")(ctx, 7) {
			if err != nil || n > 9 {
				break
			}
			fmt.Println(n)
		}
	})
	// Output:
	// 7
	// 8
	// 9
}

// A graph of any shape can answer requests. This one handles batches. Each request receives its own
// answer or error.
func ExampleReply() {
	onStand("words", func(rdb redis.UniversalClient) *flow.Graph {
		asked := gateways.Requests(rdb, "words", source.StreamConfig[string]{})
		checked, failed := operators.Try(asked, func(_ context.Context, w string) (string, error) {
			if w == "" {
				return "", gateways.Errorf(gateways.CodeInvalid, "there is no word")
			}
			return w, nil
		})
		reversed := operators.Map(
			operators.Batch(checked, 100, 10*time.Millisecond),
			flow.Pure(func(words []string) []string {
				for i, w := range words {
					r := []rune(w)
					slices.Reverse(r)
					words[i] = string(r)
				}
				return words
			}),
		)
		return flow.New(
			"words",
			gateways.Reply(operators.Unbatch(reversed), rdb, "words", gateways.ReplyConfig{}),
			gateways.ReplyFailure(failed, rdb, "words", gateways.ReplyConfig{}),
		)
	}, func(ctx context.Context, client *gateways.Client) {
		reverse := gateways.Call[string, string](client, "reverse")
		fmt.Println(reverse(ctx, "stream"))
		fmt.Println(reverse(ctx, ""))
	})
	// Output:
	// maerts <nil>
	//  gateways: service answered invalid_request: there is no word
}
