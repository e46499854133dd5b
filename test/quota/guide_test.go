//go:build quota

package quota

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestGuide gives the commands of the guide, all of them, as they are written and in its order. What this cluster has otherwise is told by
// instead: its one node, the name of a Workload that the operator makes, and behind the runtime's name the synthetic one, with GPUs. What it
// skips is done by who is named, or cannot be done here.
func TestGuide(t *testing.T) {
	c := connect(t)
	c.Cleanup(func() { c.kubectl("delete alignmentruntime wan2.1-t2v-1.3b --ignore-not-found --timeout=60s") })
	c.Cleanup(func() {
		c.kubectl("delete -f config/samples/kueue/queues.yaml -f config/samples/kueue/priorities.yaml --ignore-not-found --timeout=60s")
	})
	for _, name := range []string{"team-a", "team-b", "team-c"} {
		c.Cleanup(func() { c.kubectl("delete namespace %s --ignore-not-found --timeout=120s", name) })
	}
	g := c.guide()

	// Install.
	g.skips("kubectl apply --server-side -f https://github.com/kubernetes-sigs/kueue/", "there is no way out: make cluster-up KUEUE=1 installs Kueue's chart")
	g.gives("kubectl -n kueue-system wait deployment/kueue-controller-manager", "condition met")
	g.skips("helm install spatialalign charts/spatialalign", "make deploy has installed the same chart, with images of this checkout")
	g.skips("sed 's/v1beta2/v1beta1/", "TestEarlierKueue")

	// Flavours and quotas.
	g.instead("gpu-0", "node0")
	g.instead("config/runtimes/wan2.1-t2v-1.3b.yaml", c.standIn("wan2.1-t2v-1.3b"))
	g.gives("kubectl label node gpu-0", "node/node0 (not )?labeled")
	g.gives("kubectl apply -f config/samples/kueue/teams.yaml", `(?s)namespace/team-a created.*claim/spatialalign-store created.*stage-pods created.*namespace/team-b created`)
	g.gives("kubectl -n team-a apply -f config/samples/weights.yaml", "claim/wan2.1-weights created") // the stand-in has none to read
	g.gives("kubectl -n team-b apply -f config/samples/weights.yaml", "claim/wan2.1-weights created")
	g.gives("kubectl apply -f config/runtimes/wan2.1-t2v-1.3b.yaml", "alignmentruntime.*/wan2.1-t2v-1.3b created")
	g.gives("kubectl patch alignmentruntime wan2.1-t2v-1.3b", "patched")
	g.gives("kubectl apply -f config/samples/kueue/queues.yaml", `(?s)resourceflavor.*/h100.*clusterqueue.*/team-a.*localqueue.*/gpus.*workloadpriorityclass.*/spare`)

	// Runs: team A borrows, and team B takes its own back.
	g.gives("kubectl apply -f config/samples/kueue/borrowing-run.yaml", "alignmentrun.*/borrowing-run created")
	g.sees("kubectl -n team-a get alignmentrun borrowing-run", `"reason":"Admitted".*"status":"True"`)
	c.within(2*time.Minute, "team A has borrowed 4 GPUs", func() bool { return c.borrowed("team-a") == "4" })
	g.gives("kubectl apply -f config/samples/kueue/owner-run.yaml", "alignmentrun.*/owner-run created")
	took := c.within(3*time.Minute, "team B has its 4 GPUs", func() bool { return c.reserved("team-b") == "4" })
	if got := c.borrowed("team-a"); got != "" && got != "0" {
		t.Errorf("team A has borrowed %s GPUs still", got)
	}
	settled := time.Now()
	for _, name := range []string{"team-a", "team-b"} {
		c.within(4*time.Minute, "the run of "+name+" has its baseline's samples", func() bool { return c.baseline(name) })
	}
	shared := time.Since(settled)
	c.kubectl("delete alignmentrun -n team-a borrowing-run --timeout=60s")
	c.kubectl("delete alignmentrun -n team-b owner-run --timeout=60s")

	// A flavour per stage.
	g.skips("kubectl label node gpu-1", "TestFlavourPerStage, as this cluster has one real node")
	g.skips("kubectl apply -f config/samples/kueue/flavours-per-stage.yaml", "TestFlavourPerStage")
	g.skips("kubectl apply -f config/samples/kueue/two-flavours-run.yaml", "TestFlavourPerStage")

	// A reservation for the whole run, which the admin takes back.
	g.gives("kubectl apply -f config/samples/kueue/whole-run.yaml", "alignmentrun.*/whole-run created")
	g.sees("kubectl -n team-a get workload", `whole-run-\w+-reservation +gpus +team-a +True`)
	run := &v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "whole-run"}}
	c.refresh(run)
	workload := c.reservation(run).GetName()
	g.instead("whole-run-1a2b3c4d-reservation", workload)
	g.gives("kubectl -n team-a patch workload whole-run-1a2b3c4d-reservation", "patched")
	c.says(time.Minute, run, v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, "Deactivated")
	c.patch("workload -n team-a "+workload, `{"spec": {"active": true}}`) // as its comment says
	c.within(2*time.Minute, "the run samples", func() bool { return c.ran(run) })

	// A plain ResourceQuota, and training on several nodes.
	g.skips("sed 's/alignment$/team-d/'", "TestExhaustedResourceQuota")
	g.skips("kubectl -n team-d get alignmentruns", "TestExhaustedResourceQuota")
	g.skips("kubectl -n team-d patch resourcequota", "TestExhaustedResourceQuota")
	g.skips("kubectl apply -f config/samples/kueue/two-nodes-run.yaml", "TestGang")
	g.skips("kubectl -n team-a get pods", "TestGang")
	g.skips("kubectl -n team-a delete pod", "TestGang")
	g.skips("kubectl -n team-a get alignmentrun two-nodes-run", "TestGang")

	// Runtime policy: a third team is refused, and a run of the first is held, and stopped.
	g.gives("kubectl patch alignmentruntime wan2.1-t2v-1.3b --type merge -p '\n", "patched")
	g.gives("kubectl create namespace team-c", "namespace/team-c created")
	g.refused("sed 's/team-a/team-c/'")
	g.gives("kubectl patch alignmentruntime wan2.1-t2v-1.3b --type merge -p '{", "patched")
	g.sees("kubectl -n team-a get alignmentruns", `whole-run +Suspended`)
	c.says(10*time.Second, run, v1alpha1.ConditionSuspended, metav1.ConditionTrue, v1alpha1.ReasonNamespaceNotAllowed)
	g.gives("kubectl -n team-a patch alignmentrun whole-run", "patched")
	c.within(time.Minute, "no pod of it has a GPU", func() bool { return c.onGPUs(run) == 0 })

	// Who uses what.
	g.sees("kubectl align usage -A --by namespace", `NAMESPACE +GPU-HOURS(?s:.*)\nteam-a +\S*[1-9]`)
	g.sees("kubectl get clusterqueues -o wide", `team-a(?s:.*)team-b`)
	g.done()
	c.tell("%d commands of the guide do what it says, %d are skipped; team B has its GPUs %.0f s after it asks, and both runs have their baseline's samples %.0f s later",
		g.given-g.skipped, g.skipped, took.Seconds(), shared.Seconds())
}

// TestEarlierKueue: what the guide says of a Kueue that does not serve the API of the manifests makes manifests of them that it takes.
func TestEarlierKueue(t *testing.T) {
	c := connect(t)
	versions := c.kubectl(`get crd clusterqueues.kueue.x-k8s.io -o jsonpath={.spec.versions[?(@.served==true)].name}`)
	if !slices.Contains(strings.Fields(versions), "v1beta1") {
		t.Skipf("this Kueue serves %s only", versions)
	}
	c.namespace("team-a", "")
	c.namespace("team-b", "")
	g := c.guide("1. Install")
	g.skips("kubectl apply --server-side", "Kueue is there")
	g.skips("kubectl -n kueue-system wait", "Kueue is there")
	g.skips("helm install", "the operator is there")
	command := g.next("sed 's/v1beta2/v1beta1/").Text
	sed := regexp.MustCompile(`^(sed .*) config/samples/kueue/queues.yaml \| kubectl apply -f -`).FindStringSubmatch(command)
	if sed == nil {
		t.Fatalf("the command is %s", command)
	}
	for _, file := range []string{"queues", "priorities", "flavours-per-stage"} {
		out, err := c.shell(sed[1] + " config/samples/kueue/" + file + ".yaml | kubectl apply --dry-run=server --validate=strict -f -")
		if err != nil {
			t.Error(err)
		}
		t.Log(out)
	}
	if out, err := c.shell(sed[1] + " config/samples/kueue/queues.yaml | kubectl create --dry-run=server -o yaml -f -"); err != nil || strings.Count(out, "cohort: gpus") != 2 {
		t.Errorf("the queues of both teams are in the cohort: %v\n%s", err, out)
	}
}

// baseline says that the run of a namespace, its only one, has sampled its baseline: two teams get on beside each other.
func (c cluster) baseline(namespace string) bool {
	c.Helper()
	for _, run := range c.runs([]string{namespace}) {
		for _, it := range run.Status.Iterations {
			for _, rec := range it.Stages {
				if *it.Iteration == 0 && rec.Name == v1alpha1.StageEvaluationSample && rec.State == v1alpha1.StageSucceeded {
					return true
				}
			}
		}
	}
	return false
}

// standIn is the manifest of a runtime of the guide on this cluster: the synthetic one, with as many GPUs as that has, and pauses. No namespace
// may use it yet.
func (c cluster) standIn(name string) string {
	c.Helper()
	var synthetic v1alpha1.AlignmentRuntime
	if err := c.Get(c.Context(), client.ObjectKey{Name: "synthetic"}, &synthetic); err != nil {
		c.Fatal(err)
	}
	r := withGPUs(name, synthetic.Spec, 300*time.Millisecond)
	r.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AlignmentRuntime"}
	r.Spec.AllowedNamespaces = nil
	r.Spec.Sample.Env = r.Spec.Train.Env
	r.Spec.Train.Resources = r.Spec.Train.Resources.DeepCopy()
	r.Spec.Train.Resources.Limits[gpu] = resource.MustParse("8")
	r.Spec.Defaults.Sampling.SamplesPerPrompt, r.Spec.Defaults.Evaluation.SamplesPerPrompt = 2, 2
	return c.manifest(r)
}

// reserved GPUs of a ClusterQueue, as Kueue tells.
func (c cluster) reserved(queue string) string {
	c.Helper()
	return c.kubectl(`get clusterqueue %s -o jsonpath={.status.flavorsReservation[0].resources[?(@.name=="nvidia.com/gpu")].total}`, queue)
}
