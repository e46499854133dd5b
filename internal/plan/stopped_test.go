package plan

import (
	"strings"
	"testing"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// TestStoppedStages: what still runs when its run ends has an end too. What it said last is kept, within what status may hold, and
// what its pods use until they are gone is counted.
func TestStoppedStages(t *testing.T) {
	w := newWorld(t, rising)
	w.run.Spec.Retries = new(int32)
	w.lingers = func() bool { return true }
	w.until(1, v1alpha1.StageSample)
	w.child(v1alpha1.StageSample).Outcome.Message = strings.Repeat("a pod waits ", 200)
	w.fail(v1alpha1.StageEvaluationSample, "Bug", false)
	stopped := w.run.Status.Iterations[1].Stages[0]
	if stopped.State != v1alpha1.StageStopped || stopped.CompletionTime == nil || !stopped.CompletionTime.Equal(w.run.Status.CompletionTime) {
		t.Errorf("the stage is %+v", stopped)
	}
	if m := stopped.Message; len(m) > maxStageMessage || !strings.HasPrefix(m, "a pod waits") || !strings.HasSuffix(m, "; stopped, as the run ended: StageFailed") {
		t.Errorf("it says, in %d bytes: %s", len(m), m)
	}
	w.pass(20)
	w.step()
	w.gone()
	w.step()
	after := w.run.Status.Iterations[1].Stages[0]
	if after.GPUSeconds < stopped.GPUSeconds+20 || len(after.Usage) > 0 {
		t.Errorf("%d GPU-seconds after %d, usage %+v", after.GPUSeconds, stopped.GPUSeconds, after.Usage)
	}
	if next := w.step(); len(next.Create)+len(next.Delete) > 0 || next.RequeueAfter != 0 {
		t.Errorf("the run that ended goes on: %+v", next)
	}
}

// TestNothingIsStoppedBeforeTheEnd: whoever writes so into status stops nothing.
func TestNothingIsStoppedBeforeTheEnd(t *testing.T) {
	w := newWorld(t, rising)
	w.until(1, v1alpha1.StageTrain)
	stages := w.run.Status.Iterations[1].Stages
	stages[len(stages)-1].State = v1alpha1.StageStopped
	w.settle()
	if w.run.Status.Phase != v1alpha1.PhaseSucceeded {
		t.Errorf("the run ends as %s", w.run.Status.Phase)
	}
	if _, ok := w.succeededAt(jobs.Place{Iteration: 1, Stage: v1alpha1.StageTrain}); !ok {
		t.Error("its training did not succeed")
	}
}
