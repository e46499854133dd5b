//go:build quota

package quota

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// strikes are how often a queue takes back all that it has admitted.
const strikes = 5

// TestTakenBackAtAnyMoment: the queue of a run is drained and opened again, at random moments from its first sample to its last. Nothing of that
// is charged, and the run comes to what it comes to undisturbed, in another namespace.
func TestTakenBackAtAnyMoment(t *testing.T) {
	c := connect(t)
	c.queues()
	c.runtime("swift", 0)
	c.runtime("paced", 300*time.Millisecond)
	queued := func(namespace, name, runtime string) *v1alpha1.AlignmentRun {
		run := c.small(namespace, name, runtime)
		run.Spec.Scheduling = &v1alpha1.SchedulingSpec{QueueName: "gpus"}
		return run
	}
	calm, run := queued("team-b", "undisturbed", "swift"), queued("team-a", "struck", "paced")
	c.start(calm)
	c.start(run)

	seed := uint64(time.Now().UnixNano())
	moments, hits := rand.New(rand.NewPCG(seed, 0)), 0
	t.Logf("the moments are drawn with seed %d", seed)
	between := func(least, most time.Duration) { time.Sleep(least + time.Duration(moments.Int64N(int64(most-least)))) }
	for range strikes {
		between(5*time.Second, 20*time.Second)
		running := c.onGPUs(run)
		c.patch("clusterqueue team-a", `{"spec": {"stopPolicy": "HoldAndDrain"}}`)
		c.within(time.Minute, "no pod of the run is on a GPU", func() bool { return c.onGPUs(run) == 0 })
		if running > 0 {
			hits++
		}
		between(0, 5*time.Second)
		c.patch("clusterqueue team-a", `{"spec": {"stopPolicy": "None"}}`)
	}
	c.succeeded(run, 6*time.Minute)
	c.succeeded(calm, 6*time.Minute)

	for k := range run.Status.Iterations {
		for _, rec := range run.Status.Iterations[k].Stages {
			if rec.Failures != 0 {
				t.Errorf("iteration %d, stage %s: %d failures are charged: %s", k, rec.Name, rec.Failures, rec.Message)
			}
		}
	}
	if hits == 0 {
		t.Errorf("no pod ran at any of the %d moments: nothing was taken back", strikes)
	}
	if is, was := best(t, run), best(t, calm); is != was {
		t.Errorf("the best adapter is %s, and undisturbed %s", is, was)
	}
	c.tell("drained %d times, %d of them while pods ran: GPU-seconds %d (undisturbed %d), of them interrupted %d, none charged; best adapter %s as undisturbed",
		strikes, hits, run.Status.GPUSeconds, calm.Status.GPUSeconds, interrupted(run), best(t, run))
}
