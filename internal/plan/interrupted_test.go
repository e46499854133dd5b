package plan

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// interrupted is what a Job comes to that would replace its pods for ever.
var interrupted = jobs.Outcome{
	State: jobs.Failed, Class: "Interrupted", Endless: true, Message: "interrupted 10 times without an end: asked to stop",
}

// disrupted is what a Job comes to whose pods were preempted, evicted or deleted.
var disrupted = jobs.Outcome{State: jobs.Failed, Class: jobs.ClassDisrupted, Disrupted: true, Message: "exit code 137"}

// lost is what a Job comes to with a pod on a node that is gone.
var lost = jobs.Outcome{
	State: jobs.Failed, Class: jobs.ClassNodeLost, Disrupted: true, Endless: true, Lost: true,
	Message: "pod first-run-train-0 did not end within 1m0s of its grace period: node gpu-7 is lost",
}

// TestInterruptions plays attempts that end through no fault of the stage: what is charged, and when the next one starts.
func TestInterruptions(t *testing.T) {
	playTraces(t, []trace{
		{name: "interrupted-for-ever", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			c := w.child(v1alpha1.StageTrain)
			c.Outcome = interrupted
			w.step()
			c.Outcome = jobs.Outcome{} // some of its pods are gone: it looks active again
			w.step()
			w.remark("its pods are gone")
			w.gone()
			w.settle()
		}},
		{name: "disruptions-are-not-charged", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Iterations, s.Retries = 1, ptr.To(int32(0))
		}, play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			for range 4 {
				w.remark("preempted")
				w.child(v1alpha1.StageTrain).Outcome = disrupted
				w.step()
			}
			w.settle()
		}},
		{name: "disruptions-beside-failures", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Iterations, s.Retries = 1, ptr.To(int32(1))
		}, play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.child(v1alpha1.StageTrain).Outcome = disrupted
			w.step()
			w.fail(v1alpha1.StageTrain, "GPUFault", false)
			w.child(v1alpha1.StageTrain).Outcome = disrupted
			w.step()
			w.fail(v1alpha1.StageTrain, "GPUFault", false)
		}},
		{name: "node-lost", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.remark("the node is gone: the next attempt does not wait for its pod")
			w.child(v1alpha1.StageTrain).Outcome = lost
			w.step()
			w.remark("the node is back for a moment, and the pod ends")
			w.gone()
			w.settle()
		}},
		{name: "node-lost-while-suspended", script: rising, edit: iterations(1), play: func(w *world) {
			w.lingers = func() bool { return true }
			w.until(1, v1alpha1.StageTrain)
			c := w.child(v1alpha1.StageTrain)
			w.run.Spec.Suspend = ptr.To(true)
			w.step()
			w.run.Spec.Suspend = ptr.To(false)
			w.step()
			w.remark("the deleted pod does not end, its node is gone")
			c.Outcome = lost
			w.step()
			w.settle()
		}},
	})
}

// TestInterruptedAlone plays the same in a ScoringBatch and a PreferenceDataset.
func TestInterruptedAlone(t *testing.T) {
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
