package controllers_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// testUpgradedKueue: what runs under the reservation of a run goes on when the version of Kueue's API that the operator had found
// is served no more, and the operator finds the one that is. Kueue's CRDs must be there.
func testUpgradedKueue(t *testing.T) {
	c := newCluster(t)
	c.hold[v1alpha1.StageEvaluationSample] = true
	c.operate(often)
	run, workload := c.reservingRun()
	c.admitRun(workload, 2)
	job := c.job(v1alpha1.StageEvaluationSample, 0)

	const old = 1 // the place of v1beta2 among the versions
	c.serve(old, false)
	defer c.serve(old, true)
	for start := time.Now(); time.Since(start) < 7*time.Second; time.Sleep(100 * time.Millisecond) {
		if c.read(job); job.DeletionTimestamp != nil {
			t.Fatal("a version that is not served any more is taken for an eviction")
		}
	}
	workload.SetAPIVersion("kueue.x-k8s.io/v1beta1")
	c.must(c.Get(t.Context(), client.ObjectKeyFromObject(workload), workload))
	c.evict(workload)
	c.until("the stage is deleted when Kueue takes the quota back", func() bool {
		return apierrors.IsNotFound(c.Get(t.Context(), client.ObjectKeyFromObject(job), job))
	})
	c.quotaReads(run, metav1.ConditionFalse, "Preempted", "somebody else needs it")
}

// reservingRun makes a run that reserves as a whole, and waits for its Workload.
func (c *cluster) reservingRun() (*v1alpha1.AlignmentRun, *unstructured.Unstructured) {
	c.t.Helper()
	run, kind := c.run(1), c.runtime()
	kind.Spec.Sample.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}}
	run.Spec.Scheduling = &v1alpha1.SchedulingSpec{QueueName: "gpus", Reservation: v1alpha1.ReservationRun}
	c.create(ofKueue("ResourceFlavor", c.namespace, map[string]any{"spec": map[string]any{}}), kind, run)
	workload := ofKueue("Workload", jobs.ReservationName(run.Name, run.UID), nil)
	workload.SetNamespace(c.namespace)
	c.until("there is a Workload", func() bool { return c.Get(c.t.Context(), client.ObjectKeyFromObject(workload), workload) == nil })
	return run, workload
}

// serve lets the API server serve a version of Kueue's Workloads, or not.
func (c *cluster) serve(version int, served bool) {
	c.t.Helper()
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	crd.SetName("workloads.kueue.x-k8s.io")
	patch := fmt.Sprintf(`[{"op": "replace", "path": "/spec/versions/%d/served", "value": %t}]`, version, served)
	c.must(c.Patch(c.t.Context(), crd, client.RawPatch(types.JSONPatchType, []byte(patch))))
}
