package plan

import (
	"slices"
	"testing"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// interrupted is what a Job comes to that would replace its pods for ever.
var interrupted = jobs.Outcome{
	State: jobs.Failed, Class: "Interrupted", Endless: true, Message: "interrupted 10 times without an end: asked to stop",
}

// TestInterrupted plays Jobs that would not end by themselves: each is deleted, and the next attempt starts when its
// pods are gone. The golden traces are the specification: read them.
func TestInterrupted(t *testing.T) {
	t.Run("run", func(t *testing.T) {
		w := newWorld(t, rising)
		w.run.Spec.Iterations = 1
		w.until(1, v1alpha1.StageTrain)
		w.child(v1alpha1.StageTrain).Outcome = interrupted
		w.step()
		w.children[len(w.children)-1].Outcome = jobs.Outcome{} // some of its pods are gone: it looks active again
		w.step()
		w.children = slices.DeleteFunc(w.children, func(c *Child) bool { return c.Deleting })
		w.settle()
		golden(t, "interrupted-for-ever.trace", w.trace.String())
	})
	t.Run("batch", func(t *testing.T) {
		y := newBatchYard(t)
		y.batch.Spec.Retries = ptr.To(int32(1))
		y.step()
		y.active(v1alpha1.StageTrack).Outcome = interrupted
		y.step()
		y.step()
		y.gone()
		y.active(v1alpha1.StageTrack).Outcome = interrupted
		y.step()
		y.done("batch-interrupted-until-attempts-are-used-up")
	})
	t.Run("dataset", func(t *testing.T) {
		y := newDatasetYard(t)
		y.step()
		y.active(v1alpha1.StagePair).Outcome = interrupted
		sources := y.sources
		y.sources = nil
		y.step() // it waits for its sources, and the Job goes all the same
		y.sources = sources
		y.gone()
		y.succeed(v1alpha1.StagePair, paired)
		y.done("dataset-interrupted-while-a-source-is-deleted")
	})
}
