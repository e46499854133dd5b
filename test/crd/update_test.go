package crd

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// stored creates an object for the duration of a test.
func stored(t *testing.T, o *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	o = o.DeepCopy()
	if err := server.Create(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Delete(context.Background(), o); err != nil {
			t.Error(err)
		}
	})
	return o
}

// update tries each change on a stored object; it stays as it is.
func update(t *testing.T, o *unstructured.Unstructured, cases []creation) {
	t.Helper()
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			patch, err := yaml.ToJSON([]byte(test.change))
			if err != nil {
				t.Fatal(err)
			}
			err = server.Patch(context.Background(), o.DeepCopy(), client.RawPatch(types.MergePatchType, patch), client.DryRunAll)
			check(t, err, test.refused)
		})
	}
}

func TestAlignmentRunIsImmutableButForItsEnds(t *testing.T) {
	update(t, stored(t, document(t, "test/crd/testdata/full-run.yaml", "AlignmentRun")), []creation{
		{"iterations", `spec: {iterations: 10}`, ""},
		{"suspend", `spec: {suspend: true}`, ""},
		{"target and patience", `spec: {stopping: {targetAccuracy: "0.8", patience: 5}}`, ""},
		{"no stopping", `spec: {stopping: null}`, ""},
		{"labels", `metadata: {labels: {a: b}}`, ""},

		{"runtime", `spec: {runtimeRef: {name: other}}`, "runtimeRef is immutable; create a new run"},
		{"train seed", `spec: {prompts: {train: {generate: {seed: 9}}}}`, "prompts is immutable; create a new run"},
		{"train source", `spec: {prompts: {train: {generate: null, artifact: {key: a.csv}}}}`, "prompts is immutable; create a new run"},
		{"evaluation relations removed", `spec: {prompts: {evaluation: {generate: {relations: null}}}}`, "prompts is immutable; create a new run"},
		{"sampling removed", `spec: {sampling: null}`, "sampling is immutable; create a new run"},
		{"sampling seed", `spec: {sampling: {seed: 9}}`, "sampling is immutable; create a new run"},
		{"sampling steps removed", `spec: {sampling: {steps: null}}`, "sampling is immutable; create a new run"},
		{"scoring", `spec: {scoring: {minUsableFrames: 30}}`, "scoring is immutable; create a new run"},
		{"scoring removed", `spec: {scoring: null}`, "scoring is immutable; create a new run"},
		{"pairing", `spec: {pairing: {winnerThreshold: "0.9"}}`, "pairing is immutable; create a new run"},
		{"pairing removed", `spec: {pairing: null}`, "pairing is immutable; create a new run"},
		{"training", `spec: {training: {lambda: "0"}}`, "training is immutable; create a new run"},
		{"training removed", `spec: {training: null}`, "training is immutable; create a new run"},
		{"LoRA removed", `spec: {training: {lora: null}}`, "training is immutable; create a new run"},
		{"evaluation", `spec: {evaluation: {seed: 9}}`, "evaluation is immutable; create a new run"},
		{"evaluation removed", `spec: {evaluation: null}`, "evaluation is immutable; create a new run"},
		{"acceptance", `spec: {acceptance: {minDelta: "0.02"}}`, "acceptance is immutable; create a new run"},
		{"acceptance removed", `spec: {acceptance: null}`, "acceptance is immutable; create a new run"},
		{"retries", `spec: {retries: 3}`, "retries is immutable; create a new run"},
		{"retries removed", `spec: {retries: null}`, "retries is immutable; create a new run"},
	})
}

func TestAlignmentRunTakesNoFieldLater(t *testing.T) {
	update(t, stored(t, document(t, "config/samples/first-run.yaml", "AlignmentRun")), []creation{
		{"stopping added", `spec: {stopping: {patience: 1}}`, ""},
		{"samplesPerPrompt added", `spec: {sampling: {samplesPerPrompt: 5}}`, "sampling is immutable; create a new run"},
		{"LoRA added", `spec: {training: {lora: {rank: 8, alpha: 8}}}`, "training is immutable; create a new run"},
		{"evaluation samples added", `spec: {evaluation: {samplesPerPrompt: 5}}`, "evaluation is immutable; create a new run"},
		{"relations added", `spec: {prompts: {train: {generate: {relations: [LR]}}}}`, "prompts is immutable; create a new run"},
	})
}

func TestEndedRunIsFrozen(t *testing.T) {
	for _, end := range []struct {
		condition string
		status    metav1.ConditionStatus
		refused   string
	}{
		{v1alpha1.ConditionComplete, metav1.ConditionTrue, "the run has ended; create a new run"},
		{v1alpha1.ConditionFailed, metav1.ConditionTrue, "the run has ended; create a new run"},
		{v1alpha1.ConditionFailed, metav1.ConditionFalse, ""},
		{v1alpha1.ConditionReconciling, metav1.ConditionTrue, ""},
	} {
		t.Run(end.condition+" "+string(end.status), func(t *testing.T) {
			run := stored(t, document(t, "config/samples/first-run.yaml", "AlignmentRun"))
			conditions := []any{map[string]any{
				"type": end.condition, "status": string(end.status), "reason": "Test", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z",
			}}
			if err := unstructured.SetNestedSlice(run.Object, conditions, "status", "conditions"); err != nil {
				t.Fatal(err)
			}
			if err := server.Status().Update(context.Background(), run); err != nil {
				t.Fatal(err)
			}
			update(t, run, []creation{
				{"labels", `metadata: {labels: {a: b}}`, ""},
				{"iterations", `spec: {iterations: 10}`, end.refused},
				{"suspend", `spec: {suspend: true}`, end.refused},
				{"stopping", `spec: {stopping: {patience: 1}}`, end.refused},
			})
		})
	}
}

func TestScoringBatchIsImmutable(t *testing.T) {
	const immutable = "spec is immutable; create a new ScoringBatch"
	update(t, stored(t, document(t, "config/samples/scoringbatch.yaml", "ScoringBatch")), []creation{
		{"labels", `metadata: {labels: {a: b}}`, ""},
		{"runtime", `spec: {runtimeRef: {name: other}}`, immutable},
		{"prompts", `spec: {prompts: {key: other.jsonl}}`, immutable},
		{"digest added", `spec: {index: {digest: "sha256:1111111111111111111111111111111111111111111111111111111111111111"}}`, immutable},
		{"scoring", `spec: {scoring: {minUsableFrames: 30}}`, immutable},
		{"retries", `spec: {retries: 3}`, immutable},
		{"retries to its default", `spec: {retries: null}`, ""},
	})
}

func TestPreferenceDatasetIsImmutable(t *testing.T) {
	const immutable = "spec is immutable; create a new PreferenceDataset"
	update(t, stored(t, document(t, "config/samples/preferencedataset.yaml", "PreferenceDataset")), []creation{
		{"labels", `metadata: {labels: {a: b}}`, ""},
		{"runtime", `spec: {runtimeRef: {name: other}}`, immutable},
		{"sources", `spec: {sources: [{scoringBatch: other}]}`, immutable},
		{"import instead of sources", `spec: {sources: null, import: {key: pairs.jsonl}}`, immutable},
		{"pairing", `spec: {pairing: {winnerThreshold: "0.9"}}`, immutable},
		{"retries", `spec: {retries: 3}`, immutable},
	})
}

// A runtime may change: what has been accepted goes by its snapshot.
func TestAlignmentRuntimeIsMutable(t *testing.T) {
	update(t, stored(t, document(t, "config/runtimes/synthetic.yaml", "AlignmentRuntime")), []creation{
		{"namespaces", `spec: {allowedNamespaces: [team-a]}`, ""},
		{"image", `spec: {sample: {image: "example.org/synthetic:2"}}`, ""},
		{"store", `spec: {store: {pvc: {claimName: other}}}`, ""},
		{"defaults", `spec: {defaults: {training: {steps: 100}}}`, ""},
	})
}
