//go:build quota

package quota

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/test/quota/guide"
)

// TestTopology: two racks of two nodes with 8 GPUs each, which Kueue knows by a Topology. A training in two pods of 8 GPUs that asks for one rack
// waits until one has both its nodes, and says so meanwhile; one in three pods that would rather be in one rack is spread. The nodes do not
// exist, and kwok plays the pods. Topology and flavour are those of the guide.
func TestTopology(t *testing.T) {
	c := connect(t)
	c.podsLast(time.Second, 2*time.Second)
	for _, node := range []string{"a-0", "a-1", "b-0", "b-1"} {
		c.createAll(fmt.Sprintf(fakeNode, node, "example.com/gpu: h100, example.com/rack: "+node[:1]))
	}
	c.crowdNamespace("racks")
	topology := guide.Manifest(c.file("docs/admin.md"), "kind: Topology")
	tolerant := strings.Replace(topology, "tolerations: []", "tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}]", 1)
	if tolerant == topology {
		t.Fatalf("the guide's Topology and flavour leave no place for tolerations:\n%s", topology)
	}
	c.createAll(tolerant)
	c.createAll(racks)

	// A node of each rack is out of service.
	c.kubectl("cordon a-1")
	c.kubectl("cordon b-1")
	near := gangOf(2, "one-rack", v1alpha1.TopologySpec{Required: "example.com/rack"})
	c.create(near)
	c.waitsFor(near, "Pending", `topology "racks" allows to fit only 1 out of 2 pod(s)`)
	c.kubectl("uncordon b-1")
	admitted := c.within(30*time.Second, "Kueue admits the training", func() bool {
		training := c.jobs(near, v1alpha1.StageTrain)
		return len(training) == 1 && c.assigned(&training[0]).pods == 2
	})
	c.says(5*time.Second, near, v1alpha1.ConditionQuotaReserved, metav1.ConditionTrue, v1alpha1.ReasonAdmitted)
	c.succeeded(near, 2*time.Minute)
	if got := c.placed(near); got != "b-0 b-1" {
		t.Errorf("the training ran on nodes %s, want both of rack b", got)
	}
	c.kubectl("uncordon a-1")

	// Three pods of 8 GPUs are in no rack together.
	wide := gangOf(3, "three-nodes", v1alpha1.TopologySpec{Required: "example.com/rack"})
	c.create(wide)
	c.waitsFor(wide, "Pending", `topology "racks" allows to fit only 2 out of 3 pod(s)`)
	c.kubectl("delete alignmentrun -n racks three-nodes")
	rather := gangOf(3, "rather-near", v1alpha1.TopologySpec{Preferred: "example.com/rack"})
	c.create(rather)
	c.succeeded(rather, 2*time.Minute)
	nodes := c.placed(rather)
	if len(strings.Fields(nodes)) != 3 {
		t.Errorf("the training ran on nodes %s, want three", nodes)
	}

	// What Kueue does not know is said too.
	lost := gangOf(2, "no-such-level", v1alpha1.TopologySpec{Required: "example.com/block"})
	c.create(lost)
	c.waitsFor(lost, "Pending", `Flavor "h100" does not contain the requested level`)
	flat := gangOf(2, "no-topology", v1alpha1.TopologySpec{Preferred: "example.com/rack"})
	flat.Spec.Scheduling.Train.QueueName = "elsewhere"
	c.create(flat)
	c.waitsFor(flat, "Pending", `Flavor "l40s" does not support TopologyAwareScheduling`)
	c.tell("two pods that ask for one rack are admitted %.1f s after a node of it came back; three that prefer one ran on %s", admitted.Seconds(), nodes)
}

// gangOf is a run that trains in so many pods with all GPUs of a node, in the queue of the racks. It samples elsewhere.
func gangOf(nodes int32, name string, topology v1alpha1.TopologySpec) *v1alpha1.AlignmentRun {
	run := crowdRun("racks", 0)
	run.Name = name
	run.Spec.Training = &v1alpha1.TrainingSpec{Nodes: nodes, GPUsPerNode: 8}
	run.Spec.Scheduling = &v1alpha1.SchedulingSpec{
		QueueName: "elsewhere", Train: &v1alpha1.StageScheduling{QueueName: "racks", Topology: &topology},
	}
	return run
}

// placed are the nodes of the pods that a run trained in, of which there was one attempt.
func (c cluster) placed(run *v1alpha1.AlignmentRun) string {
	c.Helper()
	trainings := c.jobs(run, v1alpha1.StageTrain)
	if len(trainings) != 1 {
		c.Fatalf("run %s has %d trainings, want one", run.Name, len(trainings))
	}
	var nodes []string
	for _, pod := range c.podsOf(&trainings[0]) {
		nodes = append(nodes, pod.Spec.NodeName)
	}
	slices.Sort(nodes)
	return strings.Join(nodes, " ")
}

// racks is a queue of the guide's flavour with a Topology, beside a queue of another node, without.
const racks = `
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: racks}
spec:
  namespaceSelector: {matchLabels: {spatialalign.dev/pods: fake}}
  resourceGroups:
    - coveredResources: [nvidia.com/gpu]
      flavors:
        - name: h100
          resources: [{name: nvidia.com/gpu, nominalQuota: 32}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: racks, namespace: racks}
spec: {clusterQueue: racks}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: l40s}
spec:
  nodeLabels: {kubernetes.io/hostname: kwok-0}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: elsewhere}
spec:
  namespaceSelector: {matchLabels: {spatialalign.dev/pods: fake}}
  resourceGroups:
    - coveredResources: [nvidia.com/gpu]
      flavors:
        - name: l40s
          resources: [{name: nvidia.com/gpu, nominalQuota: 4}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: elsewhere, namespace: racks}
spec: {clusterQueue: elsewhere}
`
