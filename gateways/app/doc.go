// Package app runs the parts of a program in one process: graphs, services, hubs and an HTTP server. They start in the
// order given and end in the reverse order, so that each part finishes its work while the parts it
// depends on still run.
//
//	func main() { app.Main("shop", run) }
//
//	func run(ctx context.Context) error {
//		rdb, err := redisio.Connect(ctx, os.Getenv("REDIS_URL"), redisio.ConnectOptions{})
//		if err != nil {
//			return err
//		}
//		defer rdb.Close()
//		svc := gateways.NewService(rdb, "orders", gateways.ServiceConfig{})
//		gateways.Handle(svc, "place", place)
//		client := gateways.NewClient(rdb, "orders", gateways.ClientConfig{})
//		mux := http.NewServeMux()
//		mux.Handle("POST /orders", web.Route[Order](client, "place"))
//		return app.Run(ctx, svc, app.Closing(client.Close), &app.Server{Addr: ":3000", Handler: mux})
//	}
//
// Here the server stops first and finishes its requests, then the client closes, and the service drains last.
//
// The first Ctrl-C, or SIGTERM, ends the program in that order. The second stops all parts at once; unfinished entries
// are given back to Redis for other processes. A third ends the process.
package app
