package chart

import (
	"testing"
)

// The golden files are what a reviewer reads: every object that the chart creates.
func TestChartGolden(t *testing.T) {
	for _, test := range []struct{ name, values string }{
		{name: "default"},
		{name: "namespaced", values: `
scope: {namespaces: [team-a, team-b]}
networkPolicy: {tenantNamespaces: [team-b, team-c]}
runtimes: {synthetic: {enabled: false}}
`},
		{name: "s3-gpu", values: `
image: {repository: registry.example/spatialalign, digest: "sha256:1111111111111111111111111111111111111111111111111111111111111111"}
networkPolicy: {tenantNamespaces: [team-a], storeEgress: [{cidr: 10.20.0.0/16, port: 9000}]}
runtimes:
  synthetic:
    allowedNamespaces: [team-a]
    limits: {iterations: 10, gpuHours: "100", nodes: 1, gpusPerStage: 4}
    paceMilliseconds: 20
    store: {kind: s3, s3: {bucket: alignment, prefix: videos, endpoint: "https://minio.storage:9000", secretName: store-access}}
    sample: {gpus: 1, shards: 4}
    train: {gpus: 1}
    defaults:
      sampling: {frames: 32, width: 96, height: 72}
      training: {scheduleSteps: 240, warmupSteps: 0, checkpointEverySteps: 20}
`},
		{name: "all-values", values: `
nameOverride: align
image: {pullSecrets: [{name: registry}], pullPolicy: Always}
replicas: 2
progressInterval: 30s
priorityClassName: system-cluster-critical
resources: {requests: {cpu: 100m}, limits: {memory: 200Mi}}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: control-plane, operator: Exists}]
affinity: {nodeAffinity: {}}
podAnnotations: {note: "1"}
podLabels: {team: ml}
serviceAccount: {create: false, name: given}
metrics: {port: 9443, serviceMonitor: {enabled: true, interval: 1m, labels: {release: prometheus}}, alerts: {enabled: true, waitSeconds: 3600}}
rbac: {aggregate: false}
networkPolicy: {enabled: false}
runtimePolicy: {enabled: false}
runtimes: {synthetic: {enabled: false}}
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			objects, notes := render(t, test.values)
			golden(t, test.name+".yaml", asYAML(t, objects))
			golden(t, test.name+"-notes.txt", notes)
		})
	}
}
