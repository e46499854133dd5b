//go:build quota

package quota

import (
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestFlavourPerStage gives the commands of "A flavour per stage" of the guide: sampling and tracking get small GPUs, training a large one. Its two kinds of nodes do not exist, and kwok plays the pods.
func TestFlavourPerStage(t *testing.T) {
	c := connect(t)
	c.podsLast(time.Second, 2*time.Second)
	c.createAll(fmt.Sprintf(fakeNode, "node-h100", "example.com/gpu: h100"))
	c.createAll(fmt.Sprintf(fakeNode, "node-l40s", ""))
	c.namespace("team-a", "")
	c.namespace("team-b", "")
	c.kubectl("label namespace team-a spatialalign.dev/pods=fake")
	wan := crowdRuntime("team-a")
	wan.Name = "wan2.1-t2v-1.3b"
	c.create(wan)
	c.Cleanup(func() {
		c.kubectl("delete -f config/samples/kueue/queues.yaml -f config/samples/kueue/priorities.yaml -f config/samples/kueue/flavours-per-stage.yaml --ignore-not-found --timeout=60s")
	})
	c.kubectl("apply -f config/samples/kueue/queues.yaml -f config/samples/kueue/priorities.yaml")
	g := c.guide("5. A flavour per stage")
	g.instead("gpu-1", "node-l40s")
	g.gives("kubectl label node gpu-1 example.com/gpu=l40s", "node/node-l40s labeled")
	g.gives("kubectl apply -f config/samples/kueue/flavours-per-stage.yaml", "(?s)resourceflavor.*/l40s.*clusterqueue.*/team-a-small.*localqueue.*/small-gpus")
	g.gives("kubectl apply -f config/samples/kueue/two-flavours-run.yaml", "alignmentrun.*/two-flavours-run created")
	g.done()
	run := c.sample("config/samples/kueue/two-flavours-run.yaml")
	c.succeeded(run, 6*time.Minute)

	// Each stage has got its flavour of Kueue, and its pods that flavour's node.
	small := c.flavoured(run, "l40s", v1alpha1.StageSample, v1alpha1.StageTrack, v1alpha1.StageEvaluationSample)
	large := c.flavoured(run, "h100", v1alpha1.StageTrain)
	c.tell("%d Jobs of sampling and tracking on l40s, %d trainings on h100, each by Kueue's assignment and on such a node", small, large)
}

// fakeNode is a node that kwok keeps, with the GPUs of this cluster's nodes.
const fakeNode = `
apiVersion: v1
kind: Node
metadata:
  name: %[1]s
  labels: {type: kwok, kubernetes.io/hostname: %[1]s, kubernetes.io/os: linux, %[2]s}
spec:
  taints: [{key: kwok.x-k8s.io/node, value: fake, effect: NoSchedule}]
`

// flavoured checks that every Job of some stages of a run got a flavour of GPUs from Kueue, and all of its pods a node of that. It returns how
// many there are.
func (c cluster) flavoured(run *v1alpha1.AlignmentRun, flavour string, stages ...v1alpha1.StageName) (n int) {
	c.Helper()
	for _, stage := range stages {
		jobs := c.jobs(run, stage)
		if len(jobs) == 0 {
			c.Errorf("run %s has no Job of stage %s", run.Name, stage)
		}
		for i := range jobs {
			if got := c.assigned(&jobs[i]).flavour; got != flavour {
				c.Errorf("Kueue assigned flavour %s to Job %s, want %s", got, jobs[i].Name, flavour)
			}
			for _, pod := range c.podsOf(&jobs[i]) {
				if pod.Spec.NodeSelector["example.com/gpu"] != flavour || pod.Spec.NodeName != "node-"+flavour {
					c.Errorf("pod %s asked for nodes %v and ran on %s, want a %s", pod.Name, pod.Spec.NodeSelector, pod.Spec.NodeName, flavour)
				}
			}
		}
		n += len(jobs)
	}
	return n
}

// assignment is what Kueue gave to a Workload of one set of pods.
type assignment struct {
	pods    int64
	flavour string
}

// assigned is what Kueue gave to a Job; nothing while it has not admitted it.
func (c cluster) assigned(job *batchv1.Job) assignment {
	c.Helper()
	for _, w := range c.workloads(job.Namespace) {
		if w.GetLabels()["kueue.x-k8s.io/job-uid"] == string(job.UID) {
			return assignmentOf(&w)
		}
	}
	return assignment{}
}

func assignmentOf(workload *unstructured.Unstructured) (a assignment) {
	sets, _, _ := unstructured.NestedSlice(workload.Object, "status", "admission", "podSetAssignments")
	if len(sets) != 1 {
		return a
	}
	set := sets[0].(map[string]any)
	a.pods, _, _ = unstructured.NestedInt64(set, "count")
	a.flavour, _, _ = unstructured.NestedString(set, "flavors", string(gpu))
	return a
}

// podsOf a Job.
func (c cluster) podsOf(job *batchv1.Job) []corev1.Pod {
	c.Helper()
	var list corev1.PodList
	if err := c.List(c.Context(), &list, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.ControllerUidLabel: string(job.UID)}); err != nil {
		c.Fatal(err)
	}
	return list.Items
}
