//go:build quota

package quota

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/test/quota/figures"
)

const tradeOffRuns = 4

// TestTradeOff measures what a reservation for the whole run costs and gives: the same runs, whose stages have 4, 2 and 1 GPUs, share 4 GPUs of a
// ClusterQueue, once with each way to reserve, side by side. Their pods do not run: kwok plays them.
func TestTradeOff(t *testing.T) {
	c := connect(t)
	c.fakeGPUs(2 * crowdGPUs)
	limit := 15 * time.Minute
	if os.Getenv("QUOTA") == "full" {
		limit = 40 * time.Minute
		c.podsLast(10*time.Second, 40*time.Second)
	} else {
		c.podsLast(3*time.Second, 12*time.Second)
	}
	var byStage, whole figures.Crowd
	t.Run("reservation", func(t *testing.T) {
		for scope, crowd := range map[v1alpha1.ReservationScope]*figures.Crowd{v1alpha1.ReservationStage: &byStage, v1alpha1.ReservationRun: &whole} {
			t.Run(string(scope), func(t *testing.T) {
				t.Parallel()
				*crowd = connect(t).reserving(scope, limit)
			})
		}
	})
	if t.Failed() {
		return
	}
	// A run with a reservation of its own waits for nobody once it has begun.
	_, between := figures.Mean(byStage.Pauses())
	if _, longest := figures.Mean(whole.Pauses()); longest >= between {
		t.Errorf("whole runs paused for %s between stages, and by stage no longer than %s", longest, between)
	}
	if whole.Utilisation() >= byStage.Utilisation() {
		t.Errorf("utilisation is %.3f by whole runs, and %.3f by stage", whole.Utilisation(), byStage.Utilisation())
	}
}

// reserving lets the runs compete in one namespace, and tells what came of it.
func (c cluster) reserving(scope v1alpha1.ReservationScope, limit time.Duration) figures.Crowd {
	c.Helper()
	name := map[v1alpha1.ReservationScope]string{v1alpha1.ReservationStage: "by-stage", v1alpha1.ReservationRun: "by-run"}[scope]
	c.createAll(fmt.Sprintf(fourGPUs, name))
	c.crowdNamespace(name)
	c.createAll(fmt.Sprintf(teamQueue, name, name))
	w := c.watchPods([]string{name})
	for i := range tradeOffRuns {
		run := crowdRun(name, i)
		run.Spec.Scheduling = &v1alpha1.SchedulingSpec{
			QueueName: "gpus", Reservation: scope, Sample: &v1alpha1.StageScheduling{Shards: 4}, Track: &v1alpha1.StageScheduling{Shards: 2},
		}
		c.create(run)
	}
	c.finish([]string{name}, tradeOffRuns, limit)
	crowd := c.measure([]string{name})

	starts, lastStart := figures.Mean(crowd.Starts())
	pauses, longestPause := figures.Mean(crowd.Pauses())
	lengths, longest := figures.Mean(crowd.Lengths())
	peak, pods, _, _ := w.told()
	c.tell("%d runs of stages with 4, 2 and 1 GPUs, %d GPUs, %d GPU pods, at most %d GPUs at a time", tradeOffRuns, crowdGPUs, pods, peak)
	c.tell("busy %.0f GPU-s of %.0f: utilisation %.1f%%; makespan %.0f s", crowd.Busy().Seconds(), crowdGPUs*crowd.Makespan().Seconds(),
		100*crowd.Utilisation(), crowd.Makespan().Seconds())
	c.tell("longest pause between two stages on GPUs of a run: mean %.0f s, longest %.0f s", pauses.Seconds(), longestPause.Seconds())
	c.tell("until a run's first GPU pod: mean %.0f s, longest %.0f s; from there to its end: mean %.0f s, longest %.0f s",
		starts.Seconds(), lastStart.Seconds(), lengths.Seconds(), longest.Seconds())
	if peak > crowdGPUs {
		c.Errorf("%d GPUs were in use at the same time, of %d", peak, crowdGPUs)
	}
	return crowd
}
