package crd

import (
	"fmt"
	"strings"
	"testing"
)

func TestAlignmentRuntimeValues(t *testing.T) {
	runtime := document(t, "config/runtimes/synthetic.yaml", "AlignmentRuntime")
	var stageBounds []bound
	for _, stage := range []string{"spec.sample", "spec.track", "spec.train"} {
		testValues(t, runtime, stage+".image", []any{"a", long(512)}, []any{"", long(513)})
		stageBounds = append(stageBounds, bound{stage + ".terminationGracePeriodSeconds", 1, 3600})
	}
	testBounds(t, runtime, append(stageBounds, []bound{
		{"spec.limits.iterations", 1, 10_000},
		{"spec.limits.nodes", 1, 64},
		{"spec.limits.gpusPerStage", 1, 65_536},
		{"spec.sample.shards", 1, 32},
		{"spec.track.shards", 1, 32},
		{"spec.defaults.sampling.samplesPerPrompt", 1, 1000},
		{"spec.defaults.sampling.steps", 1, 1000},
		{"spec.defaults.sampling.frames", 1, 10_000},
		{"spec.defaults.sampling.width", 1, 8192},
		{"spec.defaults.sampling.height", 1, 8192},
		{"spec.defaults.training.steps", 1, 1_000_000},
		{"spec.defaults.training.scheduleSteps", 1, 1_000_000},
		{"spec.defaults.training.warmupSteps", 0, 1_000_000},
		{"spec.defaults.training.checkpointEverySteps", 1, 1_000_000},
		{"spec.defaults.training.pairsPerStep", 1, 65_536},
		{"spec.defaults.training.lora.rank", 1, 1024},
		{"spec.defaults.training.lora.alpha", 1, 4096},
		{"spec.defaults.evaluation.samplesPerPrompt", 1, 1000},
	}...))
	for _, block := range []string{"spec.model", "spec.detector"} {
		testValues(t, runtime, block+".name", []any{"Wan2.1 T2V 1.3B", long(128)}, []any{"", long(129)})
		testValues(t, runtime, block+".digest", digests, noDigests)
	}
	testValues(t, runtime, "spec.model.numericsRevision", []any{"1", long(64)}, []any{"", long(65), int64(1)})
	testValues(t, runtime, "spec.detector.revision", []any{"1", long(64)}, []any{"", long(65), int64(1)})
	testValues(t, runtime, "spec.store.pvc.claimName", subdomains, noSubdomains)
	testValues(t, runtime, "spec.defaults.training.learningRate", decimals, append(noDecimals, "0", "1.1"))
	testValues(t, runtime, "spec.defaults.sampling.guidanceScale", append(decimals, "0"), noDecimals)
	testValues(t, runtime, "spec.defaults.sampling.negativePrompt", []any{"a", long(2048)}, []any{"", long(2049)})
	testValues(t, runtime, "spec.gpuResourceName", []any{"nvidia.com/gpu", "amd.com/gpu", "nvidia.com/mig-1g.5gb", "a/b"},
		[]any{"", "cpu", "nvidia.com/", "/gpu", "NVIDIA.com/gpu", "a/b/c", "a/b-", "a/" + long(252)})

	testValues(t, runtime, "spec.train.runtimeClassName", subdomains, noSubdomains)
	testValues(t, runtime, "spec.train.sharedMemory", []any{"1Mi", "8Gi", "99999Gi"}, []any{"", "0Gi", "8", "8G", "1.5Gi", "100000Gi", "-1Gi", int64(8)})
	testValues(t, changed(t, runtime, `spec: {weights: {pvc: {}}}`), "spec.weights.pvc.claimName", subdomains, noSubdomains)

	testValues(t, runtime, "spec.limits.gpuHours", decimals, append(noDecimals, "0", "0.0"))

	s3 := changed(t, runtime, `spec: {store: {pvc: null, s3: {bucket: alignment, secretName: access}}}`)
	testValues(t, s3, "spec.store.s3.bucket", []any{"abc", "my.bucket-1", long(63)}, []any{"", "ab", "Bucket", "-ab", "a_b", long(64)})
	testValues(t, s3, "spec.store.s3.prefix", []any{"a", "a/b"}, []any{"", "/a", "a/", "../a", "a/../b"})
	testValues(t, s3, "spec.store.s3.endpoint", []any{"http://10.0.0.1:9000", "https://minio.storage:9000"},
		[]any{"", "minio:9000", "ftp://minio", "https://minio/path", "https://minio?x=1", "https://user:pw@minio", "https://" + long(246)})
	testValues(t, s3, "spec.store.s3.region", []any{"eu-west-1", long(64)}, []any{"", "EU", "eu west", long(65)})
	testValues(t, s3, "spec.store.s3.secretName", subdomains, noSubdomains)
	testRequired(t, s3, "spec.store.s3.bucket", "spec.store.s3.secretName")
}

func TestAlignmentRuntimeRequired(t *testing.T) {
	paths := []string{"spec", "spec.model", "spec.detector", "spec.store", "spec.sample", "spec.track", "spec.train", "spec.defaults"}
	for block, fields := range map[string]string{
		"spec.model": "name digest numericsRevision", "spec.detector": "name digest revision", "spec.store.pvc": "claimName",
		"spec.sample": "image", "spec.track": "image", "spec.train": "image",
		"spec.defaults": "sampling training evaluation", "spec.defaults.sampling": "samplesPerPrompt",
		"spec.defaults.training":      "steps pairsPerStep learningRate lora",
		"spec.defaults.training.lora": "rank alpha", "spec.defaults.evaluation": "samplesPerPrompt",
	} {
		for _, field := range strings.Fields(fields) {
			paths = append(paths, block+"."+field)
		}
	}
	testRequired(t, document(t, "config/runtimes/synthetic.yaml", "AlignmentRuntime"), paths...)
}

func TestAlignmentRuntimeCreate(t *testing.T) {
	operatorSets := "must not be one that the operator sets"
	create(t, document(t, "config/runtimes/synthetic.yaml", "AlignmentRuntime"), []creation{
		{"as it is", `{}`, ""},
		{"a name with dots", `metadata: {name: wan2.1}`, ""},
		{"for nobody", `spec: {allowedNamespaces: null}`, ""},
		{"for some", `spec: {allowedNamespaces: [team-a, team-b]}`, ""},
		{"a namespace pattern", `spec: {allowedNamespaces: ["team-*"]}`, "spec.allowedNamespaces[0]"},
		{"a namespace twice", `spec: {allowedNamespaces: [a, a]}`, "spec.allowedNamespaces[1]: Duplicate value"},
		{"an empty namespace", `spec: {allowedNamespaces: [""]}`, "spec.allowedNamespaces[0]"},
		{"a namespace too long", fmt.Sprintf(`spec: {allowedNamespaces: [%s]}`, long(64)), "spec.allowedNamespaces[0]: Too long"},
		{"too many namespaces", `spec: {allowedNamespaces: [` + repeated(257, "n%d") + `]}`, "spec.allowedNamespaces: Too many: 257"},

		{"a bucket as the store", `spec: {store: {pvc: null, s3: {bucket: alignment, secretName: access}}}`, ""},
		{"no store", `spec: {store: {pvc: null}}`, "exactly one of pvc and s3 must be set"},
		{"two stores", `spec: {store: {s3: {bucket: alignment, secretName: access}}}`, "exactly one of pvc and s3 must be set"},
		{"an unknown store", `spec: {store: {pvc: null, nfs: {}}}`, `unknown field "spec.store.nfs"`},

		{"an entrypoint", `spec: {sample: {command: [python, -m, worker]}}`, ""},
		{"an empty word of the entrypoint", `spec: {sample: {command: [""]}}`, "spec.sample.command[0]"},
		{"too long a word of the entrypoint", fmt.Sprintf(`spec: {sample: {command: [%s]}}`, long(513)), "spec.sample.command[0]: Too long"},
		{"too long an entrypoint", `spec: {sample: {command: [` + repeated(17, "w%d") + `]}}`, "spec.sample.command: Too many: 17"},

		{"environment variables", `spec: {train: {env: [{name: OMP_NUM_THREADS, value: "4"}, {name: _x1, value: ""}]}}`, ""},
		{"a variable of the contract", `spec: {train: {env: [{name: SPATIALALIGN_STORE, value: "file:///etc"}]}}`, operatorSets},
		{"credentials as a variable", `spec: {train: {env: [{name: AWS_SECRET_ACCESS_KEY, value: x}]}}`, operatorSets},
		{"the shard's variable", `spec: {train: {env: [{name: JOB_COMPLETION_INDEX, value: "0"}]}}`, operatorSets},
		{"a variable with a dash", `spec: {train: {env: [{name: A-B, value: x}]}}`, "spec.train.env[0].name"},
		{"a variable that begins with a digit", `spec: {train: {env: [{name: 1A, value: x}]}}`, "spec.train.env[0].name"},
		{"a variable with too long a name", fmt.Sprintf(`spec: {train: {env: [{name: %s, value: x}]}}`, long(129)), "spec.train.env[0].name: Too long"},
		{"a variable with too long a value", fmt.Sprintf(`spec: {train: {env: [{name: A, value: %s}]}}`, long(1025)), "spec.train.env[0].value: Too long"},
		{"a variable without a value", `spec: {train: {env: [{name: A}]}}`, "spec.train.env[0].value: Required value"},
		{"a variable from a Secret", `spec: {train: {env: [{name: A, value: x, valueFrom: {secretKeyRef: {name: s, key: k}}}]}}`, `unknown field "spec.train.env[0].valueFrom"`},
		{"a variable twice", `spec: {train: {env: [{name: A, value: x}, {name: A, value: y}]}}`, "spec.train.env[1]: Duplicate value"},
		{"too many variables", `spec: {train: {env: [` + repeated(33, "{name: A%d, value: x}") + `]}}`, "spec.train.env: Too many: 33"},

		{"GPUs", `spec: {train: {resources: {limits: {nvidia.com/gpu: 8, memory: 200Gi}}}}`, ""},
		{"a quantity that is none", `spec: {train: {resources: {limits: {memory: lots}}}}`, "spec.train.resources.limits.memory"},
		{"resource claims", `spec: {train: {resources: {claims: [{name: gpu}]}}}`, "claims are made from the stage's resourceClaims"},
		{"too many limits", `spec: {train: {resources: {limits: {` + repeated(17, "example.com/r%d: 1") + `}}}}`, "must not have more than 16 limits or requests"},
		{"too many requests", `spec: {train: {resources: {requests: {` + repeated(17, "example.com/r%d: 1") + `}}}}`, "must not have more than 16 limits or requests"},

		{"defaults without sampler steps", `spec: {defaults: {sampling: {steps: null}}}`, "spec.defaults.sampling: Invalid value: steps is required"},
		{"defaults for every optional field", `spec: {defaults: {sampling: {guidanceScale: "5", negativePrompt: blurred, frames: 81, width: 832, height: 480}, training: {scheduleSteps: 3000, warmupSteps: 300, checkpointEverySteps: 100}}}`, ""},

		{"training in shards", `spec: {train: {shards: 2}}`, "training has one shard"},
		{"labels of nodes", `spec: {train: {nodeSelector: {nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3, spot: ""}}}`, ""},
		{"a label's value that is none", `spec: {train: {nodeSelector: {a: "b c"}}}`, "spec.train.nodeSelector.a"},
		{"a label's value too long", fmt.Sprintf(`spec: {train: {nodeSelector: {a: %s}}}`, long(64)), "spec.train.nodeSelector.a: Too long"},
		{"a label's key too long", fmt.Sprintf(`spec: {train: {nodeSelector: {%s: b}}}`, long(318)), "a label's key has 1 to 317 characters"},
		{"no labels", `spec: {train: {nodeSelector: {}}}`, "spec.train.nodeSelector"},
		{"too many labels", `spec: {train: {nodeSelector: {` + repeated(17, "l%d: x") + `}}}`, "spec.train.nodeSelector: Too many: 17"},
		{"tolerations", `spec: {sample: {tolerations: [{operator: Exists}, {key: a.b/c, operator: Equal, value: d}, {key: a, operator: Equal, value: b, effect: NoExecute, tolerationSeconds: 0}]}}`, ""},
		{"a toleration of nothing", `spec: {sample: {tolerations: [{}]}}`, "spec.sample.tolerations[0].operator: Required value"},
		{"a toleration without a key", `spec: {sample: {tolerations: [{operator: Equal, value: a}]}}`, "without a key, operator must be Exists"},
		{"a toleration with a value too many", `spec: {sample: {tolerations: [{key: a, operator: Exists, value: b}]}}`, "with the operator Exists there is no value"},
		{"a toleration of another operator", `spec: {sample: {tolerations: [{key: a, operator: Gt, value: "1"}]}}`, `Unsupported value: "Gt"`},
		{"a toleration of another effect", `spec: {sample: {tolerations: [{key: a, operator: Exists, effect: NoWork}]}}`, `Unsupported value: "NoWork"`},
		{"a toleration with a key that is none", `spec: {sample: {tolerations: [{key: "a b", operator: Exists}]}}`, "spec.sample.tolerations[0].key"},
		{"seconds of another effect", `spec: {sample: {tolerations: [{key: a, operator: Exists, tolerationSeconds: 1}]}}`, "tolerationSeconds is for the effect NoExecute"},
		{"too many tolerations", `spec: {sample: {tolerations: [` + repeated(17, "{key: t%d, operator: Exists}") + `]}}`, "spec.sample.tolerations: Too many: 17"},
		{"devices of DRA", `spec: {train: {resourceClaims: [{name: gpu, resourceClaimTemplateName: two.h100, gpus: 2}, {name: nic, resourceClaimTemplateName: rdma, gpus: 0}]}}`, ""},
		{"devices that say no number of GPUs", `spec: {train: {resourceClaims: [{name: gpu, resourceClaimTemplateName: h100}]}}`, "spec.train.resourceClaims[0].gpus: Required value"},
		{"devices of a claim that all pods would share", `spec: {train: {resourceClaims: [{name: gpu, resourceClaimName: h100, gpus: 1}]}}`, `unknown field "spec.train.resourceClaims[0].resourceClaimName"`},
		{"too many GPUs of a claim", `spec: {train: {resourceClaims: [{name: gpu, resourceClaimTemplateName: h100, gpus: 65}]}}`, "spec.train.resourceClaims[0].gpus"},
		{"two claims of a name", `spec: {train: {resourceClaims: [{name: gpu, resourceClaimTemplateName: a, gpus: 1}, {name: gpu, resourceClaimTemplateName: b, gpus: 1}]}}`, "spec.train.resourceClaims[1]: Duplicate value"},
		{"too many claims", `spec: {train: {resourceClaims: [` + repeated(9, "{name: c%d, resourceClaimTemplateName: a, gpus: 1}") + `]}}`, "spec.train.resourceClaims: Too many: 9"},
		{"limits of nothing", `spec: {limits: {}}`, "spec.limits: Invalid value"},
		{"weights of a bucket", `spec: {weights: {s3: {bucket: weights}}}`, `unknown field "spec.weights.s3"`},
		{"weights of nothing", `spec: {weights: {}}`, "spec.weights.pvc: Required value"},
		{"a pod's own settings", `spec: {sample: {securityContext: {privileged: true}}}`, `unknown field "spec.sample.securityContext"`},
	})
}

// repeated is n items of a YAML list, made by a format with their number.
func repeated(n int, format string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(items, ", ")
}
