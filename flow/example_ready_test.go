package flow_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/streamerson/streamerson-go/flow"
)

// A readiness probe for Kubernetes. A reader that has lost its Redis takes the process out of
// service, and puts it back when Redis answers again.
func ExampleRunning_Ready() {
	running, err := flow.New("hello", flow.To(from(1, 2, 3), discard[int]())).Start(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = running.Wait()

	probe := httptest.NewRecorder()
	http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := running.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}).ServeHTTP(probe, nil)
	fmt.Print(probe.Code, " ", probe.Body)
	// Output:
	// 503 flow: not ready: graph "hello" is ended
}

// A process with several graphs is ready when all of them are.
func ExampleSupervisor_Ready() {
	ctx := context.Background()
	s := flow.NewSupervisor(ctx)
	for _, name := range []string{"orders", "bills"} {
		if _, err := s.Add(flow.New(name, flow.To(from(1), discard[int]()))); err != nil {
			fmt.Println(err)
		}
	}
	_ = s.Shutdown(ctx)
	fmt.Println(s.Ready()) // both have finished their work
	// Output:
	// <nil>
}
