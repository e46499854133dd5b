package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// anotherGPU is a run whose nodes are exchanged between iteration 1 and 2.
func anotherGPU(more func(*script)) script {
	s := script{
		accuracy: []string{"0.35", "0.65", "0.8", "0.9"},
		gpus:     map[int32][]string{0: {"A100"}, 1: {"A100"}, 2: {"H100"}, 3: {"H100"}}, again: map[int32]string{2: "0.7"},
	}
	more(&s)
	return s
}

// TestAnotherGPUModel plays what becomes of the acceptance gate when the GPU model changes in the middle of a run.
func TestAnotherGPUModel(t *testing.T) {
	playTraces(t, []trace{
		{name: "device-changes", script: anotherGPU(func(*script) {})},
		{name: "device-changes-and-the-adapter-is-rejected", script: anotherGPU(func(s *script) {
			s.accuracy = []string{"0.35", "0.65", "0.69", "0.71"} // against 0.65, both would have been taken
		})},
		{name: "device-changes-to-and-fro", script: anotherGPU(func(s *script) {
			s.accuracy, s.gpus[3], s.again[3] = []string{"0.35", "0.65", "0.69", "0.66"}, []string{"A100"}, "0.65"
		})},
		{name: "device-of-mixed-nodes", script: anotherGPU(func(s *script) { s.landed = map[int32][]string{2: {"A100"}} })},
		{name: "device-mixed-within-an-evaluation", script: anotherGPU(func(s *script) { s.gpus[2] = []string{"A100", "H100"} })},
		{name: "device-is-not-told-of-one", script: anotherGPU(func(s *script) { delete(s.gpus, 1) })},
		{name: "device-changes-and-a-guardrail-trips", script: anotherGPU(func(s *script) { s.guard = map[int32]string{2: "0.8"} }), edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Acceptance.GuardMetrics = []v1alpha1.GuardMetric{{Name: "validFraction", MaxDrop: "0.05"}}
		}},
		{name: "device-changes-and-the-samples-are-in-the-store", script: anotherGPU(func(*script) {}), play: func(w *world) {
			w.until(2, v1alpha1.StageReevaluationPrepare)
			c := w.child(v1alpha1.StageReevaluationPrepare)
			w.succeed(c)
			c.Outcome.Counts["evaluation/missing"], c.Outcome.Counts["evaluation/untracked"] = 0, 0
			w.settle()
		}},
		{name: "device-changes-and-the-run-is-suspended", script: anotherGPU(func(*script) {}), play: func(w *world) {
			w.until(2, v1alpha1.StageReevaluationSample)
			w.remark("suspended")
			w.run.Spec.Suspend = ptr.To(true)
			w.steps(2)
			w.remark("and resumed")
			w.run.Spec.Suspend = nil
			w.settle()
		}},
	})
}

// TestReevaluationStages: the best adapter, with the seeds of any evaluation, from samples that name the candidate's GPU model.
func TestReevaluationStages(t *testing.T) {
	w := newWorld(t, anotherGPU(func(*script) {}))
	w.until(2, v1alpha1.StageReevaluationPrepare)
	first := specOf(t, w.childOf(1, v1alpha1.StageEvaluationPrepare)).Prepare.Sets[0]
	again := specOf(t, w.child(v1alpha1.StageReevaluationPrepare)).Prepare.Sets[0]
	want := first
	want.Sampling.Device = "H100"
	if diff := cmp.Diff(want, again); diff != "" {
		t.Errorf("the set differs from iteration 1's evaluation by more than the GPU model:\n%s", diff)
	}
	w.until(2, v1alpha1.StageReevaluationSample)
	sample := specOf(t, w.child(v1alpha1.StageReevaluationSample)).Sample
	if sample.Sampling.Device != "H100" || *sample.Sampling.Adapter != file("it1/adapter") || sample.Index != file("it2/reevaluation-index") {
		t.Errorf("samples %+v", sample)
	}
	w.until(2, v1alpha1.StageReevaluationCompare)
	compare := specOf(t, w.child(v1alpha1.StageReevaluationCompare)).Compare
	if compare.Best != file("it2/reevaluation-scores") || compare.Candidate != file("it2/evaluation-scores") {
		t.Errorf("compares %v with %v", compare.Best, compare.Candidate)
	}
	if got := w.run.Status.Best; got.Accuracy != "0.7" || *got.Iteration != 1 {
		t.Errorf("the best is %+v", got)
	}
	w.settle()
	it := w.run.Status.Iterations[2]
	if diff := cmp.Diff(&v1alpha1.ComparedDevices{Best: []v1alpha1.DeviceModel{"H100"}, Candidate: []v1alpha1.DeviceModel{"H100"}}, it.Comparison.Devices); diff != "" {
		t.Error(diff)
	}
	if got := it.Reevaluation; got.FormerDevice != "A100" || got.Device != "H100" || *got.Iteration != 1 {
		t.Errorf("records %+v", got)
	}
	record := specOf(t, w.childOf(2, v1alpha1.StageLineage)).Lineage.Record
	if record.Artifacts["best"] != file("it2/reevaluation-scores") || record.Artifacts["verdict"] != file("it2/reevaluation-verdict") ||
		record.Results["devices/best"] != "H100" || record.Results["reevaluation/device"] != "H100" {
		t.Errorf("the lineage names %v, %v", record.Artifacts, record.Results)
	}
	if got := specOf(t, w.childOf(1, v1alpha1.StageLineage)).Lineage.Record.Artifacts["best"]; got != file("it0/evaluation-scores") {
		t.Errorf("iteration 1's lineage names %v", got)
	}
}

// TestComparedDevices: what a comparison tells is taken as far as status can hold it.
func TestComparedDevices(t *testing.T) {
	told := map[string][]string{"best": {"A", "A", "", strings.Repeat("x", 65), "B", "C", "D", "E"}, "other": {"F"}}
	if diff := cmp.Diff(&v1alpha1.ComparedDevices{Best: []v1alpha1.DeviceModel{"A", "B", "C", "D"}}, comparedDevices(told)); diff != "" {
		t.Error(diff)
	}
	for _, none := range []map[string][]string{nil, {"best": nil}, {"candidate": {"\n"}}} {
		if got := comparedDevices(none); got != nil {
			t.Errorf("%v tells %+v", none, got)
		}
	}
}

// TestReevaluationIsKept: the run, and one that takes over from it, go by the new evaluation however long ago it was.
func TestReevaluationIsKept(t *testing.T) {
	w := newWorld(t, script{
		accuracy: []string{"0.35", "0.65", "0.6"}, gpus: map[int32][]string{0: {"A100"}, 1: {"A100"}}, again: map[int32]string{2: "0.7"},
	})
	w.unmeasured, w.run.Spec.Iterations = true, keptIterations+6
	for k := int32(2); k <= w.run.Spec.Iterations; k++ {
		w.gpus[k] = []string{"H100"}
	}
	w.settle()
	r := &runPlan{run: w.run, status: w.run.Status}
	if got := *r.measured(1, 1).Scores; artifact(got) != file("it1/evaluation-scores") {
		t.Errorf("at first iteration 1 is measured by %v", got)
	}
	if got := *r.best().Scores; artifact(got) != file("it2/reevaluation-scores") {
		t.Errorf("in the end iteration 1 is measured by %v", got)
	}
	for _, it := range w.run.Status.Iterations {
		if *it.Iteration > 2 && it.Reevaluation != nil {
			t.Errorf("iteration %d evaluates the best again", *it.Iteration)
		}
	}
	last := w.run.Spec.Iterations
	again := newWorld(t, w.script)
	again.run.UID, again.related.Rerun = "another", w.run
	again.run.Spec.Iterations, again.run.Spec.Rerun = last, rerun(last, v1alpha1.RerunEvaluate)
	again.step()
	if best := again.run.Status.Best; best == nil || best.Accuracy != "0.7" {
		t.Fatalf("a rerun begins with %+v", best)
	}
	again.until(last, v1alpha1.StageCompare)
	if got := specOf(t, again.child(v1alpha1.StageCompare)).Compare.Best; got != file("it2/reevaluation-scores") {
		t.Errorf("a rerun compares with %v", got)
	}
}

// childOf is the newest child of a stage of an iteration, whatever became of it.
func (w *world) childOf(k int32, stage v1alpha1.StageName) *Child {
	w.t.Helper()
	for _, c := range w.children {
		if c.Place.Iteration == k && c.Place.Stage == stage {
			return c
		}
	}
	w.t.Fatalf("no child of stage %s in iteration %d:\n%s", stage, k, w.trace.String())
	return nil
}
