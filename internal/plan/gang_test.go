package plan

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// rankLost is what a training on several nodes comes to of which a pod is being deleted.
var rankLost = jobs.Outcome{
	State: jobs.Failed, Class: jobs.ClassDisrupted, Disrupted: true, Endless: true,
	Message: "pod first-run-train-1 ends, and the others cannot go on without it: it was deleted",
}

func onFourNodes(s *v1alpha1.AlignmentRunSpec) {
	s.Iterations, s.Retries, s.Training.Nodes = 1, ptr.To(int32(0)), 4
}

// TestGangs plays trainings on several nodes: they end as a whole and start again as a whole.
func TestGangs(t *testing.T) {
	playTraces(t, []trace{
		{name: "gang-loses-a-rank", script: rising, edit: onFourNodes, play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.remark("somebody deletes one of the four pods")
			c := w.child(v1alpha1.StageTrain)
			c.Outcome = rankLost
			w.step()
			c.Outcome = jobs.Outcome{} // that pod is gone, the others save what they have: it looks active again
			w.step()
			w.remark("all four are gone")
			w.gone()
			w.step()
			w.remark("a node is drained, and the Job ends of it")
			w.child(v1alpha1.StageTrain).Outcome = disrupted
			w.settle()
		}},
		{name: "gang-breaks-by-itself", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			onFourNodes(s)
			s.Retries = ptr.To(int32(1))
		}, play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.fail(v1alpha1.StageTrain, "Interrupted", false)
			w.fail(v1alpha1.StageTrain, "Storage", false)
		}},
		{name: "gang-starts-in-part", script: rising, edit: onFourNodes, play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.remark("three of its pods hold GPUs and wait for the fourth")
			const half = "3 of 4 pods have a node and wait for the others: Unschedulable: 0/3 nodes are available"
			w.child(v1alpha1.StageTrain).Outcome = jobs.Outcome{Message: half, Stuck: half}
			w.step()
			w.pass(1790)
			w.remark("half an hour later")
			w.steps(20)
		}},
		{name: "gang-without-its-service", script: rising, edit: onFourNodes, play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.remark("the operator was killed before it had made it, or somebody deletes it")
			w.child(v1alpha1.StageTrain).Unnamed = true
			w.step()
			w.settle()
		}},
	})
}
