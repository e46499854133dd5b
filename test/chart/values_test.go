package chart

import (
	"strings"
	"testing"
)

// What the schema refuses, and where its message points.
func TestValuesAreChecked(t *testing.T) {
	for _, test := range []struct{ name, values, at string }{
		{"an unknown value", `repicas: 2`, "repicas"},
		{"an unknown value further down", `image: {pullpolicy: Always}`, "/image"},
		{"a value of another type", `replicas: many`, "/replicas"},
		{"no replicas", `replicas: 0`, "/replicas"},
		{"an unknown pull policy", `image: {pullPolicy: Sometimes}`, "/image/pullPolicy"},
		{"an image with a tag inside", `image: {repository: "example.org/operator@sha256:00"}`, "/image/repository"},
		{"a short digest", `image: {digest: "sha256:abc"}`, "/image/digest"},
		{"a namespace that is no DNS label", `scope: {namespaces: [Team_A]}`, "/scope/namespaces/0"},
		{"a namespace twice", `scope: {namespaces: [a, a]}`, "/scope/namespaces"},
		{"a progress interval without a unit", `progressInterval: "10"`, "/progressInterval"},
		{"a progress interval below ten seconds", `progressInterval: 9s`, "/progressInterval"},
		{"a quantity that is none", `resources: {limits: {memory: lots}}`, "/resources/limits/memory"},
		{"GPUs for the operator", `resources: {limits: {nvidia.com/gpu: 1}}`, "nvidia.com/gpu"},
		{"a ServiceAccount of nobody", `serviceAccount: {create: false}`, "/serviceAccount/name"},
		{"the health port for metrics", `metrics: {port: 8081}`, "/metrics/port"},
		{"an interval without a unit", `metrics: {serviceMonitor: {interval: "30"}}`, "/metrics/serviceMonitor/interval"},
		{"an alert at once", `metrics: {alerts: {waitSeconds: 0}}`, "/metrics/alerts/waitSeconds"},
		{"a privileged port", `metrics: {port: 443}`, "/metrics/port"},
		{"egress to everywhere", `networkPolicy: {storeEgress: [{port: 9000}]}`, "cidr"},
		{"egress to a name", `networkPolicy: {storeEgress: [{cidr: minio, port: 9000}]}`, "/networkPolicy/storeEgress/0/cidr"},
		{"an unknown runtime", `runtimes: {wan: {enabled: true}}`, "wan"},
		{"an unknown kind of store", `runtimes: {synthetic: {store: {kind: nfs}}}`, "/runtimes/synthetic/store/kind"},
		{"S3 without a bucket", `runtimes: {synthetic: {store: {kind: s3, s3: {secretName: s}}}}`, "/runtimes/synthetic/store/s3/bucket"},
		{"S3 without a Secret", `runtimes: {synthetic: {store: {kind: s3, s3: {bucket: alignment}}}}`, "/runtimes/synthetic/store/s3/secretName"},
		{"an S3 endpoint with a path", `runtimes: {synthetic: {store: {kind: s3, s3: {bucket: alignment, secretName: s, endpoint: "https://x/y"}}}}`, "/runtimes/synthetic/store/s3/endpoint"},
		{"a prefix that climbs", `runtimes: {synthetic: {store: {s3: {prefix: "/etc"}}}}`, "/runtimes/synthetic/store/s3/prefix"},
		{"a namespace pattern", `runtimes: {synthetic: {allowedNamespaces: ["team-*"]}}`, "/runtimes/synthetic/allowedNamespaces/0"},
		{"a limit that there is not", `runtimes: {synthetic: {limits: {pods: 1}}}`, "/runtimes/synthetic/limits"},
		{"a limit of GPU-hours as a number", `runtimes: {synthetic: {limits: {gpuHours: 1.5}}}`, "/runtimes/synthetic/limits/gpuHours"},
		{"a policy that is neither on nor off", `runtimePolicy: {enabled: maybe}`, "/runtimePolicy/enabled"},
		{"too many shards", `runtimes: {synthetic: {sample: {shards: 33}}}`, "/runtimes/synthetic/sample/shards"},
		{"shards of the training", `runtimes: {synthetic: {train: {shards: 2}}}`, "/runtimes/synthetic/train"},
		{"half a GPU", `runtimes: {synthetic: {sample: {gpus: 0.5}}}`, "/runtimes/synthetic/sample/gpus"},
		{"a negative pace", `runtimes: {synthetic: {paceMilliseconds: -1}}`, "/runtimes/synthetic/paceMilliseconds"},
		{"fewer frames than the synthetic tracker needs", `runtimes: {synthetic: {defaults: {sampling: {frames: 19}}}}`, "/runtimes/synthetic/defaults/sampling/frames"},
		{"guidance that the synthetic model has not", `runtimes: {synthetic: {defaults: {sampling: {guidanceScale: "5"}}}}`, "guidanceScale"},
		{"checkpoints every zero steps", `runtimes: {synthetic: {defaults: {training: {checkpointEverySteps: 0}}}}`, "/runtimes/synthetic/defaults/training/checkpointEverySteps"},
		{"a learning rate as a number", `runtimes: {synthetic: {defaults: {training: {learningRate: 0.001}}}}`, "/runtimes/synthetic/defaults/training/learningRate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := renderFiles(test.values)
			if err == nil {
				t.Fatalf("accepted: %s", test.values)
			}
			if !strings.Contains(err.Error(), test.at) {
				t.Errorf("the message does not say %s: %v", test.at, err)
			}
		})
	}
}

func TestChartWorksAsADependency(t *testing.T) {
	if _, err := renderFiles(`global: {imageRegistry: registry.example}`); err != nil {
		t.Errorf("values that a parent chart shares are refused: %v", err)
	}
}
