package crd

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
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

// patch asks the API server for a change, by a merge patch, that it does not store.
func patch(o *unstructured.Unstructured, change map[string]any) error {
	data, err := json.Marshal(change)
	if err != nil {
		return err
	}
	return server.Patch(context.Background(), o.DeepCopy(), client.RawPatch(types.MergePatchType, data), client.DryRunAll)
}

// update tries each change on a stored object; it stays as it is.
func update(t *testing.T, o *unstructured.Unstructured, cases []creation) {
	t.Helper()
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			change := map[string]any{}
			if err := yaml.Unmarshal([]byte(test.change), &change); err != nil {
				t.Fatal(err)
			}
			check(t, patch(o, change), test.refused)
		})
	}
}

// What may be changed while a run goes on. scheduling may be while the run is suspended, every other field never.
var mutable = []string{"suspend", "iterations", "stopping", "budget", "ttlSecondsAfterFinished"}

// Of every field of the spec the test knows whether it may be changed, added and removed.
func TestAlignmentRunFieldsThatMayChange(t *testing.T) {
	full := stored(t, document(t, fullRun, "AlignmentRun"))
	short := stored(t, document(t, "config/samples/first-run.yaml", "AlignmentRun"))
	rerun := stored(t, document(t, "config/samples/rerun.yaml", "AlignmentRun"))
	schema := definition(t, filepath.Join(root, "config/crd/bases/alignment.spatialalign.dev_alignmentruns.yaml")).Spec.Versions[0].Schema.OpenAPIV3Schema
	required := schema.Properties["spec"].Required
	for _, field := range slices.Sorted(maps.Keys(schema.Properties["spec"].Properties)) {
		has := full
		if field == "rerun" {
			has = rerun
		}
		value, found, err := unstructured.NestedFieldCopy(has.Object, "spec", field)
		if err != nil || !found {
			t.Fatalf("%s has no %s: %v", has.GetName(), field, err)
		}
		adding, removing := field+" is immutable; create a new run", field+" is immutable; create a new run"
		switch {
		case field == "scheduling":
			adding, removing = "scheduling can be changed only while the run is suspended", "scheduling can be changed only while the run is suspended"
		case slices.Contains(mutable, field):
			adding, removing = "", ""
		}
		if slices.Contains(required, field) {
			removing = "spec." + field + ": Required value"
		}
		t.Run(field, func(t *testing.T) {
			check(t, patch(short, map[string]any{"spec": map[string]any{field: value}}), adding)
			check(t, patch(has, map[string]any{"spec": map[string]any{field: nil}}), removing)
		})
	}
}

func TestAlignmentRunChanges(t *testing.T) {
	update(t, stored(t, document(t, fullRun, "AlignmentRun")), []creation{
		{"iterations", `spec: {iterations: 10}`, ""},
		{"suspend", `spec: {suspend: true}`, ""},
		{"target and patience", `spec: {stopping: {targetAccuracy: "0.8", patience: 5}}`, ""},
		{"patience alone", `spec: {stopping: {targetAccuracy: null}}`, ""},
		{"a higher budget", `spec: {budget: {gpuHours: "1000"}}`, ""},
		{"what follows a spent budget", `spec: {budget: {onExceeded: Suspend}}`, ""},
		{"a later clean-up", `spec: {ttlSecondsAfterFinished: 604800}`, ""},
		{"labels", `metadata: {labels: {a: b}}`, ""},

		{"runtime", `spec: {runtimeRef: {name: other}}`, "runtimeRef is immutable"},
		{"claim", `spec: {store: {pvc: {claimName: other}}}`, "store is immutable"},
		{"another kind of store", `spec: {store: {pvc: null, s3: {bucket: team, secretName: access}}}`, "store is immutable"},
		{"train seed", `spec: {prompts: {train: {generate: {seed: 9}}}}`, "prompts is immutable"},
		{"train source", `spec: {prompts: {train: {generate: null, artifact: {key: a.csv}}}}`, "prompts is immutable"},
		{"evaluation relations removed", `spec: {prompts: {evaluation: {generate: {relations: null}}}}`, "prompts is immutable"},
		{"test prompts removed", `spec: {prompts: {test: null}}`, "prompts is immutable"},
		{"digest of the initial adapter removed", `spec: {initialAdapter: {digest: null}}`, "initialAdapter is immutable"},
		{"another dataset", `spec: {initialDataset: {name: other}}`, "initialDataset is immutable"},
		{"sampling seed", `spec: {sampling: {seed: 9}}`, "sampling is immutable"},
		{"sampling steps removed", `spec: {sampling: {steps: null}}`, "sampling is immutable"},
		{"negative prompt", `spec: {sampling: {negativePrompt: ugly}}`, "sampling is immutable"},
		{"scoring", `spec: {scoring: {minUsableFrames: 20}}`, "scoring is immutable"},
		{"a threshold", `spec: {pairing: {winnerThreshold: "0.9"}}`, "pairing is immutable"},
		{"what follows a shortfall", `spec: {pairing: {onShortfall: Stop}}`, "pairing is immutable"},
		{"lambda", `spec: {training: {lambda: "0"}}`, "training is immutable"},
		{"LoRA removed", `spec: {training: {lora: null}}`, "training is immutable"},
		{"evaluation seed", `spec: {evaluation: {seed: 9}}`, "evaluation is immutable"},
		{"the gain asked for", `spec: {acceptance: {minDelta: "0.02"}}`, "acceptance is immutable"},
		{"the confidence removed", `spec: {acceptance: {confidence: null}}`, "acceptance is immutable"},
		{"a guard metric's bound", `spec: {acceptance: {guardMetrics: [{name: validFraction, maxDrop: "0.5"}]}}`, "acceptance is immutable"},
		{"a gate less", `spec: {approval: {after: [Pair]}}`, "approval is immutable"},
		{"time to approve", `spec: {approval: {timeoutSeconds: null}}`, "approval is immutable"},
		{"retries", `spec: {retries: 3}`, "retries is immutable"},
		{"the start-up deadline", `spec: {startupDeadlineSeconds: 60}`, "startupDeadlineSeconds is immutable"},
		{"the deadline", `spec: {activeDeadlineSeconds: 60}`, "activeDeadlineSeconds is immutable"},
		{"what is deleted", `spec: {ttlTarget: Children}`, "ttlTarget is immutable"},
		{"after which endings", `spec: {cleanup: Never}`, "cleanup is immutable"},
	})
}

func TestAlignmentRunTakesNoFieldLater(t *testing.T) {
	update(t, stored(t, document(t, "config/samples/first-run.yaml", "AlignmentRun")), []creation{
		{"samplesPerPrompt added", `spec: {sampling: {samplesPerPrompt: 5}}`, "sampling is immutable"},
		{"LoRA added", `spec: {training: {lora: {rank: 8, alpha: 8}}}`, "training is immutable"},
		{"evaluation samples added", `spec: {evaluation: {samplesPerPrompt: 5}}`, "evaluation is immutable"},
		{"relations added", `spec: {prompts: {train: {generate: {relations: [LR]}}}}`, "prompts is immutable"},
		{"test prompts added", `spec: {prompts: {test: {generate: {count: 10}}}}`, "prompts is immutable"},
		{"guard metrics added", `spec: {acceptance: {guardMetrics: [{name: areaRatio, maxDrop: "0.1"}]}}`, "acceptance is immutable"},
	})
}

// Queues, shards and resources may be changed while nothing of the run is there that has them.
func TestSchedulingMayChangeWhileSuspended(t *testing.T) {
	const suspended = "scheduling can be changed only while the run is suspended: set suspend to true first"
	running := document(t, fullRun, "AlignmentRun")
	running.SetName("running")
	update(t, stored(t, running), []creation{
		{"another queue", `spec: {scheduling: {queueName: other}}`, suspended},
		{"another queue in the moment of suspending", `spec: {suspend: true, scheduling: {queueName: other}}`, suspended},
	})
	update(t, stored(t, with(t, document(t, fullRun, "AlignmentRun"), "spec.suspend", true)), []creation{
		{"another queue", `spec: {scheduling: {queueName: other}}`, ""},
		{"more shards", `spec: {scheduling: {sample: {shards: 32}}}`, ""},
		{"more memory in the moment of resuming", `spec: {suspend: false, scheduling: {sample: {resources: {limits: {memory: 96Gi}}}}}`, ""},
		{"none", `spec: {scheduling: null}`, ""},
		{"anything else", `spec: {training: {lambda: "0"}}`, "training is immutable"},
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
				{"budget", `spec: {budget: {gpuHours: "1"}}`, end.refused},
				{"clean-up", `spec: {ttlSecondsAfterFinished: 0}`, end.refused},
			})
		})
	}
}

// Whoever writes a status owns it as a whole: the API server keeps no list of its fields, which would be as large as the status.
func TestStatusIsOwnedAsAWhole(t *testing.T) {
	for kind, file := range map[string]string{"AlignmentRun": "first-run", "ScoringBatch": "scoringbatch", "PreferenceDataset": "preferencedataset"} {
		t.Run(kind, func(t *testing.T) {
			o := stored(t, document(t, "config/samples/"+file+".yaml", kind))
			if err := unstructured.SetNestedField(o.Object, "Running", "status", "phase"); err != nil {
				t.Fatal(err)
			}
			if err := server.Status().Update(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			owned := o.GetManagedFields()
			if last := owned[len(owned)-1]; last.Subresource != "status" || last.FieldsV1.GetRawString() != `{"f:status":{}}` {
				t.Errorf("%s: %s", last.Subresource, last.FieldsV1.GetRawString())
			}
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
		{"sources", `spec: {sources: [{scoringBatch: other, iteration: 0}]}`, immutable},
		{"extends added", `spec: {extends: {key: pairs.jsonl}}`, immutable},
		{"import instead of sources", `spec: {sources: null, import: {key: pairs.jsonl}}`, immutable},
		{"pairing", `spec: {pairing: {winnerThreshold: "0.9"}}`, immutable},
		{"retries", `spec: {retries: 3}`, immutable},
	})
}

// A runtime may change: what has been accepted goes by its snapshot.
func TestAlignmentRuntimeIsMutable(t *testing.T) {
	update(t, stored(t, document(t, "config/runtimes/synthetic.yaml", "AlignmentRuntime")), []creation{
		{"namespaces", `spec: {allowedNamespaces: [team-a]}`, ""},
		{"limits", `spec: {limits: {iterations: 3, gpuHours: "10", nodes: 2, gpusPerStage: 4}}`, ""},
		{"image", `spec: {sample: {image: "example.org/synthetic:2"}}`, ""},
		{"store", `spec: {store: {pvc: {claimName: other}}}`, ""},
		{"defaults", `spec: {defaults: {training: {steps: 100}}}`, ""},
	})
}
