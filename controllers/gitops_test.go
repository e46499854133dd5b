package controllers_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// What a GitOps tool applied stays as it is, from the beginning to the end of a run: the operator changes the status of our
// kinds, and nothing else of any object but events.
func TestOnlyStatusIsWritten(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.operate(often)
	run, runtime := c.run(2), c.runtime()
	c.create(runtime, run)
	type applied struct {
		Meta metav1.ObjectMeta
		Spec v1alpha1.AlignmentRunSpec
	}
	asApplied := func() applied {
		meta := *run.ObjectMeta.DeepCopy()
		meta.ResourceVersion, meta.ManagedFields = "", nil
		return applied{meta, *run.Spec.DeepCopy()}
	}
	before := asApplied()
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	if diff := cmp.Diff(before, asApplied()); diff != "" {
		t.Errorf("the run is not as it was applied:\n%s", diff)
	}
	c.requests.Lock()
	defer c.requests.Unlock()
	for request := range c.requests.byKind {
		method, resource, _ := strings.Cut(request, " ")
		if (method == "PUT" || method == "PATCH") && !strings.HasSuffix(resource, "/status") && resource != "events" {
			t.Errorf("the operator changes more than status: %s", request)
		}
	}
}

// kstatus takes an object without a status for done: the API server shows one before the operator has looked.
func TestStatusBeforeTheOperatorLooks(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	run := c.run(1)
	batch := &v1alpha1.ScoringBatch{Spec: v1alpha1.ScoringBatchSpec{
		RuntimeRef: run.Spec.RuntimeRef, Prompts: v1alpha1.ArtifactReference{Key: "my/prompts.jsonl"}, Index: v1alpha1.ArtifactReference{Key: "my/index.jsonl"},
	}}
	dataset := &v1alpha1.PreferenceDataset{Spec: v1alpha1.PreferenceDatasetSpec{
		RuntimeRef: run.Spec.RuntimeRef, Import: &v1alpha1.ArtifactReference{Key: "my/pairs.jsonl"},
	}}
	batch.Name, batch.Namespace, dataset.Name, dataset.Namespace = "my-videos", c.namespace, "my-pairs", c.namespace
	for kind, o := range map[string]client.Object{"AlignmentRun": run, "ScoringBatch": batch, "PreferenceDataset": dataset} {
		c.create(o)
		served := &unstructured.Unstructured{}
		served.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		c.must(c.Get(t.Context(), client.ObjectKeyFromObject(o), served))
		if diff := cmp.Diff(map[string]any{"observedGeneration": int64(0)}, served.Object["status"]); diff != "" {
			t.Errorf("status of a new %s (-want +served):\n%s", kind, diff)
		}
	}
}
