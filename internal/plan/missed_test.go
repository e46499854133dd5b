package plan

import (
	"testing"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// A failure whose record was lost, after the next attempt was made, is counted all the same.
func TestFailureIsCountedAlthoughItsRecordWasLost(t *testing.T) {
	w := newWorld(t, rising)
	w.until(1, v1alpha1.StageTrain)
	before := w.run.Status.DeepCopy()
	w.fail(v1alpha1.StageTrain, "Bug", false)
	w.run.Status = *before // the second attempt exists; the status write came to nothing
	w.step()
	rec := stageRecord(w.run.Status.Iterations[1].Stages, v1alpha1.StageTrain, 0)
	if rec.Failures != 1 || *rec.Attempt != 1 || rec.Message != "Bug: its last lines" {
		t.Errorf("the record says %d failure(s), attempt %d, %q", rec.Failures, *rec.Attempt, rec.Message)
	}
}

// So it is in a batch, also when the next attempt has succeeded before the failure could be recorded.
func TestFailureOfABatchIsCountedAlthoughItsRecordWasLost(t *testing.T) {
	y := newBatchYard(t)
	y.step()
	before := y.status.DeepCopy()
	y.fail(v1alpha1.StageTrack, "Storage", false)
	y.succeed(v1alpha1.StageTrack, tracked)
	*y.status = *before
	y.step()
	rec := stageRecord(y.status.Stages, v1alpha1.StageTrack, 0)
	if rec.Failures != 1 || *rec.Attempt != 1 || rec.State != v1alpha1.StageSucceeded {
		t.Errorf("the record says %d failure(s), attempt %d, %s", rec.Failures, *rec.Attempt, rec.State)
	}
}

// While what is read of the run is frozen, stages go on and nothing of them is recorded. Once it thaws, all of them are
// known and charged: the laws of the world look.
func TestStagesBeyondALostDecisionAreKnown(t *testing.T) {
	w := newWorld(t, rising)
	w.until(1, v1alpha1.StageCompare)
	before := w.run.Status.DeepCopy()
	w.until(2, v1alpha1.StageTrain)
	used := w.run.Status.GPUSeconds
	w.run.Status = *before
	clear(w.recorded)
	w.note(*before)
	w.step()
	if got := w.run.Status.GPUSeconds; got < used {
		t.Errorf("%d GPU-seconds are charged, %d were before", got, used)
	}
	w.settle()
}
