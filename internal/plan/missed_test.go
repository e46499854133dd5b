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
