package flow_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// stays is a graph that runs until it is ended.
func stays(name string) *flow.Graph {
	q := queueOf[string]()
	q.stays = true
	return flow.New(name, flow.To(q.source(), discard[string]()))
}

// A service that runs several graphs gives them to a supervisor.
func ExampleSupervisor() {
	ctx := context.Background()
	s := flow.NewSupervisor(ctx)
	for _, name := range []string{"orders", "bills", "mails"} {
		if _, err := s.Add(stays(name)); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(s.Names(), "health:", s.Health())

	if err := s.Pause("mails"); err != nil {
		log.Fatal(err)
	}
	for _, g := range s.Snapshot(ctx) {
		fmt.Println(g.Graph, g.State)
	}
	if err := s.Resume("mails"); err != nil {
		log.Fatal(err)
	}

	report, err := s.Remove(ctx, "bills") // drains it and removes it
	fmt.Println("removed", report.Graph, err)

	stop, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	fmt.Println("shut down:", s.Shutdown(stop))
	// Output:
	// [bills mails orders] health: <nil>
	// bills active
	// mails paused
	// orders active
	// removed bills <nil>
	// shut down: <nil>
}

// Health names the graphs that have stopped by themselves. Such a graph can be added again.
func ExampleSupervisor_Health() {
	s := flow.NewSupervisor(context.Background())
	broken := flow.New(
		"broken",
		flow.To(mapTo(queueOf("stone").source(), pack), discard[string]()),
		flow.Faults(flow.Stop),
	)
	r, err := s.Add(broken)
	if err != nil {
		log.Fatal(err)
	}
	<-r.Done()
	fmt.Println(s.Health())
	_, err = s.Add(broken)
	fmt.Println(err)
	fmt.Println(s.Wait())
	// Output:
	// flow: graph "broken": stage "map": message 1: too heavy
	// <nil>
	// flow: graph "broken": stage "map": message 1: too heavy
}

// Only one graph of a name runs at a time.
func ExampleSupervisor_Add() {
	s := flow.NewSupervisor(context.Background())
	_, err := s.Add(stays("orders"))
	fmt.Println(err)
	_, err = s.Add(stays("orders"))
	fmt.Println(errors.Is(err, flow.ErrRunning), err)
	fmt.Println(s.Pause("bills"))
	fmt.Println(s.Stop("orders"))
	// Output:
	// <nil>
	// true flow: add graph "orders": flow: already running
	// flow: graph "bills": flow: unknown graph
	// <nil>
}

// A drained graph stays in the supervisor as ended, so that its last snapshot can be read.
func ExampleSupervisor_Drain() {
	ctx := context.Background()
	s := flow.NewSupervisor(ctx)
	if _, err := s.Add(flow.New("orders", flow.To(from("tea", "jam"), discard[string]()))); err != nil {
		log.Fatal(err)
	}
	orders, err := s.Get("orders")
	if err != nil {
		log.Fatal(err)
	}
	<-orders.Done() // its source ends
	report, err := s.Drain(ctx, "orders")
	fmt.Println(report.Settled, "settled", err)
	fmt.Println(s.Names(), s.Snapshot(ctx)[0].State)
	// Output:
	// 2 settled <nil>
	// [orders] ended
}

func ExampleSupervisorLog() {
	s := flow.NewSupervisor(context.Background(), flow.SupervisorLog(plainLog(slog.LevelInfo)))
	if err := s.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// msg="supervisor shut down" graphs=0
}
