package plan

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// TestLastLineage: the iteration that a run ends in the middle of has a record of what it came to.
func TestLastLineage(t *testing.T) {
	w := newWorld(t, script{accuracy: rising.accuracy, pairs: map[int32]int64{2: 0}})
	w.until(2, v1alpha1.StageLineage)
	record := specOf(t, w.child(v1alpha1.StageLineage)).Lineage.Record
	if diff := cmp.Diff([]string{"pairs", "prompts/evaluation", "prompts/train", "scores/0"}, slices.Sorted(maps.Keys(record.Artifacts))); diff != "" {
		t.Errorf("artifacts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"pairs": "0", "usablePrompts": "20", "gpuSeconds": record.Results["gpuSeconds"]}, record.Results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if record.Accepted || !strings.HasPrefix(record.Reason, "The run ended with InsufficientPairs: no prompt has both") || record.Training != nil {
		t.Errorf("the record says accepted=%t, %q, training %+v", record.Accepted, record.Reason, record.Training)
	}
	if want := file("it1/lineage"); record.Previous == nil || *record.Previous != want {
		t.Errorf("the record before is %v, want %v", record.Previous, want)
	}
	w.settle()
	last := w.run.Status.Iterations[2]
	if last.Lineage == nil || last.Decision != nil {
		t.Errorf("iteration 2 in the end: %+v", last)
	}
	if best := w.run.Status.Best; best.Lineage == nil || best.Lineage.Key != "it1/lineage" {
		t.Errorf("the best adapter's lineage is %+v", best.Lineage)
	}
}

// TestLastLineageFails: an end does not wait for a record that cannot be written, and stays what it was.
func TestLastLineageFails(t *testing.T) {
	w := newWorld(t, script{accuracy: rising.accuracy, pairs: map[int32]int64{1: 0}})
	w.until(1, v1alpha1.StageLineage)
	for range 3 {
		w.fail(v1alpha1.StageLineage, "Storage", false)
	}
	failed := meta.FindStatusCondition(w.run.Status.Conditions, v1alpha1.ConditionFailed)
	if failed == nil || failed.Reason != v1alpha1.ReasonInsufficientPairs {
		t.Errorf("the run ends as %+v", failed)
	}
	if rec := w.run.Status.Iterations[1].Stages; rec[len(rec)-1].State != v1alpha1.StageFailed || w.run.Status.Iterations[1].Lineage != nil {
		t.Errorf("the lineage stage is %+v", rec[len(rec)-1])
	}
}

// TestSuspendedBeforeTheLastLineage: suspending a run that is about to end keeps its end back, and changes nothing in it.
func TestSuspendedBeforeTheLastLineage(t *testing.T) {
	w := newWorld(t, script{accuracy: rising.accuracy, samples: map[int32][3]int64{1: {0, 20, 130}}})
	w.until(1, v1alpha1.StageLineage)
	suspend := true
	w.run.Spec.Suspend = &suspend
	w.steps(2)
	if w.run.Status.Phase != v1alpha1.PhaseSuspended || len(w.active()) > 0 {
		t.Errorf("phase %s, %v run", w.run.Status.Phase, w.stagesActive())
	}
	suspend = false
	w.step()
	if c := w.child(v1alpha1.StageLineage); c.Place != (jobs.Place{Iteration: 1, Stage: v1alpha1.StageLineage, Attempt: 1}) {
		t.Errorf("then runs %+v", c.Place)
	}
	w.settle()
	if failed := meta.FindStatusCondition(w.run.Status.Conditions, v1alpha1.ConditionFailed); failed == nil || failed.Reason != v1alpha1.ReasonCollapsed {
		t.Errorf("the run ends as %+v", failed)
	}
}
