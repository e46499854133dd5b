//go:build quota

package quota

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestWhatRunsWaitFor tries the reasons of the guide's table that no quota is behind: each is said by a run that queues by stage and by one that
// reserves as a whole, and both go on when its cause is gone. Their pods do not run: kwok plays them.
func TestWhatRunsWaitFor(t *testing.T) {
	c := connect(t)
	c.fakeGPUs(crowdGPUs)
	c.podsLast(time.Second, 2*time.Second)
	c.crowdNamespace("reasons")
	queues := fmt.Sprintf(fourGPUs, "reasons") + "\n---\n" + fmt.Sprintf(teamQueue, "reasons", "reasons")
	c.createAll(queues)

	t.Run("AdmissionChecks", func(t *testing.T) {
		c := connect(t)
		c.createAll(check)
		c.status("admissioncheck nodes", `{"conditions": [{"type": "Active", "status": "True", "reason": "Here", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}`)
		c.patch("clusterqueue reasons", `{"spec": {"admissionChecksStrategy": {"admissionChecks": [{"name": "nodes"}]}}}`)
		c.Cleanup(func() { c.patch("clusterqueue reasons", `{"spec": {"admissionChecksStrategy": null}}`) })
		runs := c.both("checked")
		for _, run := range runs {
			c.waitsFor(run, v1alpha1.ReasonAdmissionChecks, "quota is reserved, admission check nodes is Pending")
		}
		for _, run := range runs {
			c.within(2*time.Minute, "run "+run.Name+" ends, as the check says yes", func() bool {
				c.approve()
				c.refresh(run)
				return run.Status.Phase == v1alpha1.PhaseSucceeded
			})
		}
	})

	t.Run("QueueForced", func(t *testing.T) {
		c := connect(t)
		c.Cleanup(func() { c.localcluster("up --gpus 8 --kueue") })
		c.localcluster("up --gpus 8 --kueue --kueue-all-jobs")
		runs := c.both("forced")
		for _, run := range runs {
			c.waitsFor(run, v1alpha1.ReasonQueueForced, "manageJobsWithoutQueueName")
		}
		c.localcluster("up --gpus 8 --kueue")
		c.kubectl("delete jobs -n reasons -l %s=Prepare --field-selector status.successful=0", v1alpha1.LabelStage)
		for _, run := range runs {
			c.succeeded(run, 2*time.Minute)
		}
	})

	// Where Kueue would put every Job into a queue, there is no reservation for a whole run; by stage goes.
	t.Run("ReservationRefused", func(t *testing.T) {
		c := connect(t)
		c.createAll(takesAll)
		runs := c.both("taken-in")
		c.waitsFor(runs[1], v1alpha1.ReasonReservationRefused, "into LocalQueue default")
		c.succeeded(runs[0], 2*time.Minute)
		c.kubectl("delete localqueue -n reasons default")
		c.succeeded(runs[1], 2*time.Minute)
	})

	// So it is when the queue is made while a run has its reservation: the stage that runs ends, no other begins, and the quota is given back.
	t.Run("ReservationRefused on the way", func(t *testing.T) {
		c := connect(t)
		run := c.both("overtaken")[1]
		c.reserves(run, time.Minute)
		c.createAll(takesAll)
		c.waitsFor(run, v1alpha1.ReasonReservationRefused, "into LocalQueue default")
		c.within(30*time.Second, "its reservation is given back", func() bool { return c.reservation(run) == nil })
		time.Sleep(10 * time.Second)
		if n := c.onGPUs(run); n > 0 {
			t.Errorf("%d pods of run %s are on GPUs without a reservation", n, run.Name)
		}
		c.kubectl("delete localqueue -n reasons default")
		c.reserves(run, time.Minute)
		c.succeeded(run, 2*time.Minute)
	})

	t.Run("KueueNotInstalled", func(t *testing.T) {
		c := connect(t)
		c.Cleanup(func() { c.localcluster("up --gpus 8 --kueue") })
		c.kubectl("delete localqueues,clusterqueues,resourceflavors,admissionchecks --all -A --timeout=60s") // its controller lets them go
		c.kubectl("delete deployment -n kueue-system kueue-controller-manager")
		c.kubectl("delete validatingwebhookconfigurations,mutatingwebhookconfigurations,apiservices,crds -l app.kubernetes.io/name=kueue --timeout=60s")
		runs := c.both("early")
		for _, run := range runs {
			c.waitsFor(run, v1alpha1.ReasonKueueNotInstalled, "Kueue is not installed in this cluster")
		}
		c.localcluster("up --gpus 8 --kueue")
		c.createAll(queues)
		for _, run := range runs {
			c.succeeded(run, 3*time.Minute)
		}
	})
}

// check is somebody's admission check, as of one who provisions nodes. Who answers it is this test.
const check = `
apiVersion: kueue.x-k8s.io/v1beta2
kind: AdmissionCheck
metadata: {name: nodes}
spec: {controllerName: example.com/nodes}
`

// takesAll has a LocalQueue that takes in every Job of its namespace that names none.
const takesAll = `
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: any}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: any}
spec:
  namespaceSelector: {}
  resourceGroups:
    - coveredResources: [nvidia.com/gpu, cpu, memory]
      flavors:
        - name: any
          resources: [{name: nvidia.com/gpu, nominalQuota: 4}, {name: cpu, nominalQuota: 8}, {name: memory, nominalQuota: 64Gi}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: default, namespace: reasons}
spec: {clusterQueue: any}
`

// both are two runs in queue gpus: one by stage, one as a whole.
func (c cluster) both(name string) (runs []*v1alpha1.AlignmentRun) {
	c.Helper()
	for i, scope := range []v1alpha1.ReservationScope{v1alpha1.ReservationStage, v1alpha1.ReservationRun} {
		run := crowdRun("reasons", 0)
		run.Name = fmt.Sprintf("%s-%d", name, i)
		run.Spec.Scheduling = &v1alpha1.SchedulingSpec{QueueName: "gpus", Reservation: scope}
		c.create(run)
		runs = append(runs, run)
	}
	return runs
}

// waitsFor waits until a run says why it waits, and tells what it says.
func (c cluster) waitsFor(run *v1alpha1.AlignmentRun, reason, says string) {
	c.Helper()
	took := c.says(time.Minute, run, v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, reason)
	said := condition(run, v1alpha1.ConditionQuotaReserved).Message
	if !strings.Contains(said, says) {
		c.Errorf("run %s says %q, and not %q", run.Name, said, says)
	}
	c.tell("run %s says so after %.1f s: %q", run.Name, took.Seconds(), said)
}

// approve answers the check of every Workload that asks.
func (c cluster) approve() {
	c.Helper()
	for _, w := range c.workloads("reasons") {
		checks, _, _ := unstructured.NestedSlice(w.Object, "status", "admissionChecks")
		if len(checks) != 1 || checks[0].(map[string]any)["state"] != "Pending" || conditionOf(&w, "QuotaReserved") != metav1.ConditionTrue {
			continue
		}
		checks[0].(map[string]any)["state"] = "Ready"
		if err := unstructured.SetNestedSlice(w.Object, checks, "status", "admissionChecks"); err != nil {
			c.Fatal(err)
		}
		if err := c.Status().Update(c.Context(), &w); err != nil {
			c.Logf("the check is answered the next time: %v", err)
		}
	}
}

// status patches the status of an object, as its controller would.
func (c cluster) status(what, status string) {
	c.Helper()
	words := append(append([]string{"patch"}, strings.Fields(what)...), "--subresource=status", "--type", "merge", "-p", `{"status": `+status+`}`)
	if _, err := c.feed("", words...); err != nil {
		c.Fatal(err)
	}
}

// localcluster changes the cluster.
func (c cluster) localcluster(command string) {
	c.Helper()
	c.Logf("$ bin/localcluster %s", command)
	cmd := exec.CommandContext(context.WithoutCancel(c.Context()), "bin/localcluster", strings.Fields(command)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		c.Fatalf("localcluster %s: %v\n%s", command, err, out)
	}
}
