package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestSuspend plays suspensions.
func TestSuspend(t *testing.T) {
	suspend := func(w *world, suspended bool) { w.run.Spec.Suspend = ptr.To(suspended) }
	playTraces(t, []trace{
		{name: "suspended-and-resumed", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageSample)
			suspend(w, true)
			w.step()
			suspend(w, false)
			w.settle()
		}},
		{name: "suspended-from-the-start", script: rising, edit: iterations(1), play: func(w *world) {
			suspend(w, true)
			w.steps(3)
			suspend(w, false)
			w.settle()
		}},
		{name: "suspended-when-a-stage-has-ended", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.remark("training ends, and is not recorded yet")
			w.succeed(w.child(v1alpha1.StageTrain))
			suspend(w, true)
			w.steps(2)
			suspend(w, false)
			w.settle()
		}},
		{name: "suspended-pods-take-their-time", script: rising, edit: iterations(1), play: func(w *world) {
			w.lingers = func() bool { return true }
			w.until(1, v1alpha1.StageTrain)
			suspend(w, true)
			w.step()
			suspend(w, false)
			w.steps(2)
			w.remark("its pods are gone")
			w.gone()
			w.settle()
		}},
	})
}

// TestSuspendInEveryPhase: wherever a run is suspended, nothing is left running, nothing starts, and after resuming it comes to
// the same. Finished stages are not repeated: the laws see to it.
func TestSuspendInEveryPhase(t *testing.T) {
	edit := func(s *v1alpha1.AlignmentRunSpec) {
		s.Iterations, s.Prompts.Test = 2, s.Prompts.Evaluation.DeepCopy()
		s.Approval = &v1alpha1.ApprovalSpec{After: []v1alpha1.ApprovalGate{v1alpha1.GatePair, v1alpha1.GateEvaluate}}
		s.Pairing.OnShortfall, s.Pairing.MinPairs = v1alpha1.ShortfallResample, 5000
	}
	finish := func(w *world) {
		w.settleWhile(func() bool {
			if w.run.Status.PendingApproval != nil {
				w.answer("yes", v1alpha1.DecisionApprove)
			}
			return !Ended(w.run.Status.Conditions)
		})
	}
	calm := newWorld(t, rising)
	edit(&calm.run.Spec)
	finish(calm)
	for suspended := range 100 {
		w := newWorld(t, rising)
		edit(&w.run.Spec)
		passes := 0
		w.settleWhile(func() bool {
			passes++
			if w.run.Status.PendingApproval != nil && passes < suspended {
				w.answer("yes", v1alpha1.DecisionApprove)
			}
			return passes < suspended && !Ended(w.run.Status.Conditions)
		})
		if Ended(w.run.Status.Conditions) {
			if suspended < 30 {
				t.Fatalf("the run ends after %d passes", suspended)
			}
			return
		}
		w.run.Spec.Suspend = ptr.To(true)
		for range 3 {
			next := w.step()
			if len(next.Create) > 0 || len(w.active()) > 0 || w.run.Status.Phase != v1alpha1.PhaseSuspended {
				t.Fatalf("suspended in pass %d: %d creates, %d active, phase %s", suspended, len(next.Create), len(w.active()), w.run.Status.Phase)
			}
		}
		w.run.Spec.Suspend = ptr.To(false)
		finish(w)
		if diff := cmp.Diff(outcome(calm.run.Status), outcome(w.run.Status)); diff != "" {
			t.Fatalf("suspended in pass %d the run comes to something else:\n%s", suspended, diff)
		}
	}
	t.Error("the run never ends")
}
