package metrics

import (
	"context"
	"sync"

	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/gateways/parts"
)

// askDepths asks Redis how many jobs the queues have. The result waits for the answers and adds them.
// Those that are late or failed are absent.
func askDepths(ctx context.Context, set *parts.Set) (wait func(*samples)) {
	queues := set.Queues()
	answers := make([][]jobs.Depth, len(queues))
	var asking sync.WaitGroup
	for i, q := range queues {
		asking.Go(func() {
			if depths, err := q.Depths(ctx); err == nil {
				answers[i] = depths
			}
		})
	}
	return func(to *samples) {
		asking.Wait()
		for i, q := range queues {
			for _, d := range answers[i] {
				to.put(jobsWaiting, float64(d.Waiting), q.Name(), d.Priority)
				to.put(jobsTaken, float64(d.Taken), q.Name(), d.Priority)
				to.put(jobsScheduled, float64(d.Scheduled), q.Name(), d.Priority)
				to.put(jobsDead, float64(d.Dead), q.Name(), d.Priority)
			}
		}
	}
}
