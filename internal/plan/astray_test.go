package plan

import (
	"slices"
	"testing"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// withTest gives a run test prompts.
func withTest(s *v1alpha1.AlignmentRunSpec) {
	s.Prompts.Test = &v1alpha1.PromptSource{Generate: &v1alpha1.GeneratedPrompts{Count: 30, Seed: ptr.To(int64(3))}}
}

// stagesActive are the stages that run.
func (w *world) stagesActive() []v1alpha1.StageName {
	var list []v1alpha1.StageName
	for _, c := range w.active() {
		list = append(list, c.Place.Stage)
	}
	return list
}

// succeedBut lets the active stages succeed, but for some.
func (w *world) succeedBut(stages ...v1alpha1.StageName) {
	for _, c := range w.active() {
		if !slices.Contains(stages, c.Place.Stage) {
			w.succeed(c)
		}
	}
}

// leaves plans once, after which a stage that leads nowhere any more must not run.
func (w *world) leaves(stage v1alpha1.StageName) {
	w.t.Helper()
	w.step()
	if got := w.stagesActive(); slices.Contains(got, stage) {
		w.t.Errorf("%s leads nowhere, and %v run", stage, got)
	}
}

// A run that comes to its end beside a running stage does not pay for it while the best adapter is tested.
func TestNothingRunsBesideTheEnd(t *testing.T) {
	w := newWorld(t, script{accuracy: []string{"0.95"}})
	withTest(&w.run.Spec)
	w.run.Spec.Stopping = &v1alpha1.StoppingSpec{TargetAccuracy: "0.9"}
	for !slices.Contains(w.stagesActive(), v1alpha1.StageTestSample) {
		w.step()
		w.succeedBut(v1alpha1.StageSample, v1alpha1.StageTestSample)
	}
	if got := w.stagesActive(); len(got) != 1 {
		t.Errorf("beside the test run %v", got)
	}
	w.settle()

	lowered := newWorld(t, rising)
	withTest(&lowered.run.Spec)
	lowered.until(2, v1alpha1.StageTrain)
	lowered.run.Spec.Iterations = 1
	lowered.leaves(v1alpha1.StageTrain)
	lowered.settle()
}

// Test prompts whose use had begun are left alone when the run goes on after all; they are used for the best adapter then.
func TestIterationsRaisedDuringTheTest(t *testing.T) {
	w := newWorld(t, rising)
	withTest(&w.run.Spec)
	w.run.Spec.Iterations = 1
	w.until(1, v1alpha1.StageTestSample)
	w.run.Spec.Iterations = 2
	w.leaves(v1alpha1.StageTestSample)
	w.settle()
	if got := w.run.Status.Test; got == nil || *got.Iteration != 2 {
		t.Errorf("tested: %+v", got)
	}
}
