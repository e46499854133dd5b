package plan

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/golden"
	"github.com/spatialalign/operator/internal/jobs"
)

// record compares an object with its golden file among those that test/gitops shows to Argo CD and Flux. It holds what
// health checks look at: no spec, and a status without its bulk.
func record(t *testing.T, name, kind string, o metav1.Object, status any, generation int64, deleted bool) {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	if err != nil {
		t.Fatal(err)
	}
	for _, bulk := range []string{"iterations", "runtime", "stages"} {
		delete(fields, bulk)
	}
	if fields["observedGeneration"] == nil {
		fields["observedGeneration"] = 0 // as the API server defaults it
	}
	metadata := map[string]any{"name": o.GetName(), "namespace": o.GetNamespace(), "generation": generation}
	if deleted {
		metadata["deletionTimestamp"] = "2026-01-02T00:00:00Z"
	}
	object := map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": kind, "metadata": metadata, "status": fields}
	data, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, filepath.Join("..", "..", "..", "test", "gitops", "testdata", name+".yaml"), string(data))
}

// TestRecordedStatuses records an AlignmentRun in every phase, and holds each against what GitOps tools rely on: while
// nothing happens, no condition changes, whatever the time; and no plan touches metadata or spec.
func TestRecordedStatuses(t *testing.T) {
	settings := func(s *v1alpha1.AlignmentRunSpec) {
		iterations(1)(s)
		s.Approval = &v1alpha1.ApprovalSpec{After: []v1alpha1.ApprovalGate{v1alpha1.GatePair}}
		s.Scheduling = &v1alpha1.SchedulingSpec{}
	}
	approve := func(w *world) {
		w.asked()
		w.answer("looks-good", v1alpha1.DecisionApprove)
	}
	for _, tt := range []struct {
		name string
		play func(*world)
		// generation is the spec's, where it is newer than the status.
		generation int64
		deleted    bool
	}{
		{name: "run-new", play: func(*world) {}},
		{name: "run-pending-runtime", play: func(w *world) { w.runtime = nil; w.step() }},
		{name: "run-pending-namespace", play: func(w *world) { w.runtime.Spec.AllowedNamespaces = nil; w.step() }},
		{name: "run-running", play: func(w *world) { w.until(1, v1alpha1.StageSample) }},
		{name: "run-retrying", play: func(w *world) {
			w.until(1, v1alpha1.StageSample)
			w.fail(v1alpha1.StageSample, "Storage", false)
			w.step()
		}},
		{name: "run-queued", play: func(w *world) {
			w.run.Spec.Scheduling.QueueName = "gpus"
			w.until(1, v1alpha1.StageSample)
			w.child(v1alpha1.StageSample).Outcome = jobs.Outcome{State: jobs.Active, Queued: true, Message: "couldn't assign flavors to pod set main"}
			w.step()
		}},
		{name: "run-awaiting-approval", play: (*world).asked},
		{name: "run-suspended-by-spec", play: func(w *world) {
			w.until(1, v1alpha1.StageSample)
			w.run.Spec.Suspend = ptr.To(true)
			w.steps(2)
		}},
		{name: "run-suspended-from-the-start", play: func(w *world) {
			w.run.Spec.Suspend = ptr.To(true)
			w.steps(2)
		}},
		{name: "run-suspended-by-budget", play: func(w *world) {
			w.run.Spec.Budget = &v1alpha1.BudgetSpec{GPUHours: "1.5", OnExceeded: v1alpha1.BudgetSuspend}
			w.until(1, v1alpha1.StageSample)
			w.pass(7200)
			w.held()
			w.steps(2)
		}},
		{name: "run-suspended-by-policy", play: func(w *world) {
			w.until(1, v1alpha1.StageSample)
			w.runtime.Spec.AllowedNamespaces = nil
			w.steps(2)
		}},
		{name: "run-succeeded", play: func(w *world) { approve(w); w.settle(); w.steps(2) }},
		{name: "run-failed", play: func(w *world) {
			w.until(1, v1alpha1.StageSample)
			w.fail(v1alpha1.StageSample, "Mismatch", true)
			w.steps(2)
		}},
		{name: "run-spec-is-newer", play: func(w *world) { w.until(1, v1alpha1.StageSample) }, generation: 2},
		{name: "run-deleted", play: func(w *world) { w.until(1, v1alpha1.StageSample) }, deleted: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, rising)
			settings(&w.run.Spec)
			tt.play(w)
			record(t, tt.name, "AlignmentRun", w.run, &w.run.Status, max(tt.generation, w.run.Generation), tt.deleted)
			if w.run.Status.Phase == "" {
				return
			}
			before, conditions := w.run.DeepCopy(), w.run.Status.DeepCopy().Conditions
			for range 10 {
				w.now = w.now.Add(time.Hour)
				w.step()
				if diff := cmp.Diff(conditions, w.run.Status.Conditions); diff != "" {
					t.Fatalf("nothing happened but time, and conditions changed:\n%s", diff)
				}
			}
			if diff := cmp.Diff([]any{before.ObjectMeta, before.Spec}, []any{w.run.ObjectMeta, w.run.Spec}); diff != "" {
				t.Errorf("planning changes metadata or spec:\n%s", diff)
			}
		})
	}
}

// idle lets hours pass in which nothing happens: no condition may change.
func (y *yard[Status]) idle() {
	y.t.Helper()
	conditions := fmt.Sprint(y.conditions(y.status))
	for range 10 {
		y.now = y.now.Add(time.Hour)
		y.step()
		if after := fmt.Sprint(y.conditions(y.status)); after != conditions {
			y.t.Fatalf("nothing happened but time, and conditions changed from\n%s\nto\n%s", conditions, after)
		}
	}
}

// TestRecordedStatusesOfBatches does so for a ScoringBatch.
func TestRecordedStatusesOfBatches(t *testing.T) {
	for name, play := range map[string]func(*batchYard){
		"batch-pending-runtime": func(y *batchYard) { y.runtime = nil; y.step() },
		"batch-running":         func(y *batchYard) { y.step() },
		"batch-succeeded": func(y *batchYard) {
			y.step()
			y.succeed(v1alpha1.StageTrack, tracked)
			y.succeed(v1alpha1.StageScore, scored)
		},
		"batch-failed": func(y *batchYard) { y.step(); y.fail(v1alpha1.StageTrack, "Mismatch", true) },
	} {
		t.Run(name, func(t *testing.T) {
			y := newBatchYard(t)
			play(y)
			record(t, name, "ScoringBatch", y.batch, y.status, y.batch.Generation, false)
			y.idle()
		})
	}
}

// TestRecordedStatusesOfDatasets does so for a PreferenceDataset.
func TestRecordedStatusesOfDatasets(t *testing.T) {
	for name, play := range map[string]func(*datasetYard){
		"dataset-pending-source": func(y *datasetYard) { delete(y.sources, "two"); y.step() },
		"dataset-running":        func(y *datasetYard) { y.step() },
		"dataset-succeeded":      func(y *datasetYard) { y.step(); y.succeed(v1alpha1.StagePair, paired) },
		"dataset-failed":         func(y *datasetYard) { y.step(); y.fail(v1alpha1.StagePair, "BadSpec", true) },
	} {
		t.Run(name, func(t *testing.T) {
			y := newDatasetYard(t)
			play(y)
			record(t, name, "PreferenceDataset", y.dataset, y.status, y.dataset.Generation, false)
			y.idle()
		})
	}
}
