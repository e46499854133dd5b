package crd

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
)

// governed installs the admission policies of config/policy for the duration of a test, and waits until they are in force.
func governed(t *testing.T) {
	t.Helper()
	for _, file := range []string{"config/policy/namespaces.yaml", "config/policy/limits.yaml", "config/policy/batches.yaml"} {
		for _, o := range documents(t, file) {
			o.SetNamespace("")
			stored(t, o)
		}
	}
	canary := changed(t, document(t, "config/runtimes/synthetic.yaml", "AlignmentRuntime"), `
metadata: {name: canary}
spec: {limits: {iterations: 1}}`)
	stored(t, canary)
	run := naming(t, "canary", `spec: {iterations: 2}`)
	small := changed(t, canary, `{metadata: {name: canary-of-few}, spec: {limits: {gpusPerStage: 1}, track: {shards: 2, resources: {limits: {nvidia.com/gpu: 1}}}}}`)
	stored(t, small)
	batch := document(t, "config/samples/scoringbatch.yaml", "ScoringBatch")
	many := changed(t, batch, `spec: {runtimeRef: {name: canary-of-few}}`)
	nobody := changed(t, canary, `{metadata: {name: canary-of-nobody}, spec: {allowedNamespaces: null}}`)
	stored(t, nobody)
	foreign := changed(t, batch, `spec: {runtimeRef: {name: canary-of-nobody}}`)
	inForce := func(context.Context) (bool, error) {
		return answer(run) != nil && answer(foreign) != nil && answer(many) != nil, nil
	}
	if err := wait.PollUntilContextTimeout(context.Background(), 100*time.Millisecond, time.Minute, true, inForce); err != nil {
		t.Fatalf("the policies do not come into force: a run is answered %v, batches %v and %v", answer(run), answer(foreign), answer(many))
	}
}

// naming is a run of a runtime.
func naming(t *testing.T, runtime, change string) *unstructured.Unstructured {
	t.Helper()
	return changed(t, changed(t, document(t, "config/samples/first-run.yaml", "AlignmentRun"), `spec: {runtimeRef: {name: `+runtime+`}}`), change)
}

// eventually tries until the API server, which watches its runtimes, answers as wanted.
func eventually(t *testing.T, o *unstructured.Unstructured, want string) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(context.Background(), 100*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		last = answer(o)
		return want == "" && last == nil || want != "" && last != nil && strings.Contains(last.Error(), want), nil
	})
	if err != nil {
		t.Errorf("the answer is %v, want %q", last, want)
	}
}

// TestRuntimePolicy: what admission says of runs, batches and datasets by the policy of the runtime that they name.
func TestRuntimePolicy(t *testing.T) {
	governed(t)
	base := document(t, "config/runtimes/synthetic.yaml", "AlignmentRuntime")
	stored(t, changed(t, base, `{metadata: {name: theirs}, spec: {allowedNamespaces: [team-a]}}`))
	stored(t, changed(t, base, `{metadata: {name: ours}, spec: {allowedNamespaces: [team-a, default]}}`))
	stored(t, changed(t, base, `{metadata: {name: everybodys}}`))
	stored(t, changed(t, base, `
metadata: {name: limited}
spec:
  limits: {iterations: 3, gpuHours: "100.5", nodes: 4, gpusPerStage: 8}
  gpuResourceName: amd.com/gpu
  sample: {shards: 8, resources: {limits: {amd.com/gpu: "1"}}}
  track: {shards: 2, resourceClaims: [{name: a, resourceClaimTemplateName: two, gpus: 2}, {name: b, resourceClaimTemplateName: nic, gpus: 0}]}
  train: {resources: {limits: {amd.com/gpu: 8, example.com/nic: 1}}}
`))

	t.Run("namespaces", func(t *testing.T) {
		refused := `AlignmentRuntime "theirs" does not list namespace "default" in allowedNamespaces`
		batch, dataset := document(t, "config/samples/scoringbatch.yaml", "ScoringBatch"), document(t, "config/samples/preferencedataset.yaml", "PreferenceDataset")
		for _, o := range []*unstructured.Unstructured{naming(t, "x", `{}`), batch, dataset} {
			for name, want := range map[string]string{"theirs": refused, "ours": "", "everybodys": "", "of-tomorrow": ""} {
				eventually(t, changed(t, o, `spec: {runtimeRef: {name: `+name+`}}`), want)
			}
		}
	})

	t.Run("limits", func(t *testing.T) {
		of := ` AlignmentRuntime "limited"`
		run := naming(t, "limited", `spec: {budget: {gpuHours: "100.5"}}`)
		eventually(t, run, "")
		create(t, run, []creation{
			{"at the limits", `{}`, ""},
			{"an iteration too many", `spec: {iterations: 4}`, "spec.iterations: 4 is more than the 3 of limits.iterations of" + of},
			{"no budget", `spec: {budget: null}`, "spec.budget: must be set, with gpuHours of at most 100.5, limits.gpuHours of" + of},
			{"a smaller budget", `spec: {budget: {gpuHours: "9"}}`, ""},
			{"too great a budget", `spec: {budget: {gpuHours: "100.6"}}`, "spec.budget.gpuHours: 100.6 is more than the 100.5 of limits.gpuHours of" + of},
			{"a shard too many", `spec: {scheduling: {sample: {shards: 9}}}`,
				"spec.scheduling.sample: its pods would hold 9 GPUs at a time, more than the 8 of limits.gpusPerStage of" + of},
			{"more shards, not at a time", `spec: {scheduling: {sample: {shards: 32, maxParallel: 8}}}`, ""},
			{"more at a time than there are", `spec: {scheduling: {sample: {shards: 8, maxParallel: 32}}}`, ""},
			{"more GPUs of a pod", `spec: {scheduling: {sample: {resources: {limits: {amd.com/gpu: "2"}}}}}`, "spec.scheduling.sample: its pods would hold 16 GPUs"},
			{"GPUs in another spelling", `spec: {scheduling: {sample: {resources: {limits: {amd.com/gpu: 2e0}}}}}`, "spec.scheduling.sample: its pods would hold 16 GPUs"},
			{"resources without GPUs", `spec: {scheduling: {sample: {shards: 32, resources: {limits: {memory: 1Gi}}}}}`, ""},
			{"claims on every shard", `spec: {scheduling: {track: {shards: 5}}}`, "spec.scheduling.track: its pods would hold 10 GPUs"},
			{"claims beside a resource", `spec: {scheduling: {track: {shards: 4, resources: {limits: {amd.com/gpu: 1}}}}}`, "spec.scheduling.track: its pods would hold 12 GPUs"},
			{"GPUs of the training", `spec: {training: {gpusPerNode: 9}}`, "spec.training: its pods would hold 9 GPUs at a time, more than the 8 of limits.gpusPerStage of" + of},
			{"fewer of them", `spec: {training: {gpusPerNode: 1}}`, ""},
			{"its resources", `spec: {scheduling: {train: {resources: {limits: {amd.com/gpu: 16}}}}}`, "spec.training: its pods would hold 16 GPUs"},
			{"a node too many", `spec: {training: {nodes: 5, gpusPerNode: 1}}`, "spec.training.nodes: 5 is more than the 4 of limits.nodes of" + of},
			{"GPUs of all nodes", `spec: {training: {nodes: 3, gpusPerNode: 3}}`, "spec.training: its pods would hold 9 GPUs"},
			{"few of each", `spec: {training: {nodes: 4, gpusPerNode: 2}}`, ""},
			{"the runtime's GPUs, which its tracking claims", `spec: {scheduling: {track: {resources: {limits: {amd.com/gpu: 1}}}}}`, ""},
			{"devices of another name", `spec: {scheduling: {sample: {resources: {limits: {nvidia.com/gpu: 9}}}}}`,
				"spec.scheduling.sample.resources: asks for nvidia.com/gpu, which" + of + " neither counts as GPUs nor asks for in its sample.resources"},
			{"of the tracking", `spec: {scheduling: {track: {resources: {requests: {example.com/nic: 1}}}}}`, "spec.scheduling.track.resources: asks for example.com/nic, which" + of},
			{"of the training", `spec: {scheduling: {train: {resources: {limits: {nvidia.com/mig-1g.10gb: 7}}}}}`,
				"spec.scheduling.train.resources: asks for nvidia.com/mig-1g.10gb, which" + of},
			{"one that the stage has", `spec: {scheduling: {train: {resources: {limits: {example.com/nic: 2}, requests: {example.com/nic: 2}}}}}`, ""},
			{"another stage has it", `spec: {scheduling: {sample: {resources: {limits: {example.com/nic: 2}}}}}`, "spec.scheduling.sample.resources: asks for example.com/nic"},
			{"what every container uses", `spec: {scheduling: {sample: {resources: {requests: {cpu: 2, ephemeral-storage: 1Gi}, limits: {memory: 1Gi, hugepages-2Mi: 4Mi}}}}}`, ""},
			{"another runtime", `spec: {runtimeRef: {name: everybodys}, iterations: 9, budget: null}`, ""},
		})
	})

	// A batch of a user's own has the runtime's tracking; a run's batch has the run's, which was asked about the run.
	t.Run("batches", func(t *testing.T) {
		stored(t, changed(t, base, `
metadata: {name: tracks-with-nine}
spec: {limits: {gpusPerStage: 8, gpuHours: "1"}, gpuResourceName: amd.com/gpu, track: {shards: 3, resources: {limits: {amd.com/gpu: 1}},
  resourceClaims: [{name: a, resourceClaimTemplateName: two, gpus: 2}, {name: b, resourceClaimTemplateName: nic, gpus: 0}]}}`))
		refused := `spec.tracking: its pods would hold 9 GPUs at a time, more than the 8 of limits.gpusPerStage of AlignmentRuntime "tracks-with-nine"`
		batch := changed(t, document(t, "config/samples/scoringbatch.yaml", "ScoringBatch"), `spec: {runtimeRef: {name: tracks-with-nine}}`)
		eventually(t, batch, refused)
		create(t, batch, []creation{
			{"too many GPUs", `{}`, refused},
			{"no tracking", `spec: {tracking: Stored}`, ""},
			{"a run's", `metadata: {ownerReferences: [{apiVersion: alignment.spatialalign.dev/v1alpha1, kind: AlignmentRun, name: r, uid: u, controller: true}]}`, ""},
			{"of a run that does not control it", `metadata: {ownerReferences: [{apiVersion: alignment.spatialalign.dev/v1alpha1, kind: AlignmentRun, name: r, uid: u}]}`, refused},
			{"at the limit", `spec: {runtimeRef: {name: limited}}`, ""},
			{"no limit", `spec: {runtimeRef: {name: everybodys}}`, ""},
		})
	})

	// Limits that are lowered leave what exists as it is; nothing gets worse.
	t.Run("updates", func(t *testing.T) {
		run := stored(t, naming(t, "lowered", `{spec: {iterations: 5, budget: {gpuHours: "500"}, suspend: true, scheduling: {sample: {shards: 16}}}}`))
		free := stored(t, naming(t, "lowered", `{metadata: {name: free}, spec: {iterations: 2, suspend: true, scheduling: {train: {resources: {limits: {amd.com/gpu: 1}}}}}}`))
		stored(t, changed(t, base, `
metadata: {name: lowered}
spec: {limits: {iterations: 3, gpuHours: "100", gpusPerStage: 4}, sample: {resources: {limits: {nvidia.com/gpu: 1}}}}`))
		eventually(t, naming(t, "lowered", `{metadata: {name: new}, spec: {iterations: 5}}`), "limits.iterations")
		update(t, run, []creation{
			{"a label", `metadata: {labels: {a: b}}`, ""},
			{"going on", `spec: {suspend: false}`, ""},
			{"more iterations", `spec: {iterations: 6}`, "spec.iterations: 6 is more than the 3"},
			{"fewer, still too many", `spec: {iterations: 4}`, ""},
			{"a greater budget", `spec: {budget: {gpuHours: "501"}}`, "spec.budget.gpuHours: 501 is more than the 100"},
			{"a smaller one, still too great", `spec: {budget: {gpuHours: "400"}}`, ""},
			{"no budget any more", `spec: {budget: null}`, "spec.budget: must be set"},
			{"other shards, still too many", `spec: {scheduling: {sample: {shards: 15}}}`, "spec.scheduling.sample: its pods would hold 15 GPUs"},
			{"few shards", `spec: {scheduling: {sample: {shards: 4}}}`, ""},
		})
		update(t, free, []creation{
			{"a label, without the budget that is missing", `metadata: {labels: {a: b}}`, ""},
			{"a budget at last", `spec: {budget: {gpuHours: "100"}}`, ""},
			{"a queue, and still devices that the runtime does not count", `spec: {scheduling: {queueName: q}}`, "spec.scheduling.train.resources: asks for amd.com/gpu"},
			{"those left out", `spec: {scheduling: {queueName: q, train: {resources: {limits: {amd.com/gpu: null, memory: 1Gi}}}}}`, ""},
			{"too great a one", `spec: {budget: {gpuHours: "101"}}`, "spec.budget.gpuHours: 101"},
		})
	})

	// A runtime that is created later has its say from then on.
	t.Run("a runtime to come", func(t *testing.T) {
		run := naming(t, "to-come", `spec: {iterations: 5}`)
		eventually(t, run, "")
		stored(t, changed(t, base, `{metadata: {name: to-come}, spec: {limits: {iterations: 4}}}`))
		eventually(t, run, "spec.iterations: 5 is more than the 4")
	})
}

// The policies know the fields that they name: a field that is renamed would go unnoticed until a run asks for it.
func TestPoliciesNameFieldsThatExist(t *testing.T) {
	schema := definition(t, root+"/config/crd/bases/alignment.spatialalign.dev_alignmentruntimes.yaml").Spec.Versions[0].Schema.OpenAPIV3Schema
	limits := schema.Properties["spec"].Properties["limits"].Properties
	text := ""
	for _, o := range documents(t, "config/policy/limits.yaml") {
		validations, _, err := unstructured.NestedSlice(o.Object, "spec", "validations")
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range validations {
			text += v.(map[string]any)["expression"].(string)
		}
	}
	for name := range limits {
		if !strings.Contains(text, "has(variables.limits."+name+")") {
			t.Errorf("no rule of config/policy/limits.yaml looks at limits.%s", name)
		}
	}
}
