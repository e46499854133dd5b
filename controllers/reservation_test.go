package controllers_test

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// testReservation: a run reserves as a whole, runs where Kueue says, gives back what Kueue takes, goes on when it has it again, and
// gives all back in the end. Kueue's CRDs must be there.
func testReservation(t *testing.T) {
	c := newCluster(t)
	c.hold[v1alpha1.StageTrain] = true
	c.operate(often)
	c.create(
		ofKueue("ResourceFlavor", c.namespace, map[string]any{"spec": map[string]any{
			"nodeLabels":  map[string]any{"example.com/gpu": "h100"},
			"tolerations": []any{map[string]any{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}},
		}}),
	)
	run, kind := c.run(1), c.runtime()
	kind.Spec.Sample.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}}
	run.Spec.Scheduling = &v1alpha1.SchedulingSpec{
		QueueName: "gpus", Reservation: v1alpha1.ReservationRun, WorkloadPriorityClassName: c.namespace,
		Sample: &v1alpha1.StageScheduling{MinParallel: 1},
	}
	takesAll := c.takesAll()
	c.create(takesAll, kind, run)
	c.quotaReads(run, metav1.ConditionFalse, v1alpha1.ReasonReservationRefused, "into LocalQueue default")
	c.must(c.Delete(t.Context(), takesAll))
	c.quotaReads(run, metav1.ConditionFalse, v1alpha1.ReasonReservationRefused, "does not exist")
	c.create(ofKueue("WorkloadPriorityClass", c.namespace, map[string]any{"value": int64(1000)}))

	workload := ofKueue("Workload", jobs.ReservationName(run.Name, run.UID), nil)
	workload.SetNamespace(c.namespace)
	key := client.ObjectKeyFromObject(workload)
	c.until("there is a Workload", func() bool { return c.Get(t.Context(), key, workload) == nil })
	spec := workload.Object["spec"].(map[string]any)
	podSet := spec["podSets"].([]any)[0].(map[string]any)
	if spec["queueName"] != "gpus" || spec["priority"] != int64(1000) || podSet["count"] != int64(2) || !metav1.IsControlledBy(workload, run) {
		t.Errorf("the Workload is %+v", workload.Object)
	}
	c.says(workload, "QuotaReserved", "False", "Pending", "2 more needed")
	c.quotaReads(run, metav1.ConditionFalse, "Pending", "reservation for the whole run, queue gpus: Pending: 2 more needed")

	c.admitRun(workload, 1)
	first := c.job(v1alpha1.StageTrain, 0)
	sampled := c.job(v1alpha1.StageSample, 0)
	if *sampled.Spec.Parallelism != 1 || *sampled.Spec.Completions != 2 {
		t.Errorf("%d of %d shards are sampled at a time", *sampled.Spec.Parallelism, *sampled.Spec.Completions)
	}
	for _, job := range []*batchv1.Job{first, sampled, c.job(v1alpha1.StageTrack, 0)} {
		pod := job.Spec.Template.Spec
		if pod.NodeSelector["example.com/gpu"] != "h100" || len(pod.Tolerations) != 1 || job.Labels["kueue.x-k8s.io/queue-name"] != "" || ptr.Deref(job.Spec.Suspend, false) {
			t.Errorf("Job %s has %v, %v and the labels %v", job.Name, pod.NodeSelector, pod.Tolerations, job.Labels)
		}
	}

	c.read(workload)
	c.evict(workload)
	c.quotaReads(run, metav1.ConditionFalse, "Preempted", "somebody else needs it")
	c.until("the quota is given back", func() bool {
		c.read(workload)
		_, holds, _ := unstructured.NestedMap(workload.Object, "status", "admission")
		return !holds
	})
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(first), &batchv1.Job{}); !apierrors.IsNotFound(err) {
		t.Errorf("it is given back while the training is there: %v", err)
	}

	takesAll = c.takesAll()
	c.create(takesAll)
	c.quotaReads(run, metav1.ConditionFalse, v1alpha1.ReasonReservationRefused, "into LocalQueue default")
	c.until("the Workload is gone", func() bool { return apierrors.IsNotFound(c.Get(t.Context(), key, workload)) })
	c.must(c.Delete(t.Context(), takesAll))
	c.until("there is another one", func() bool { return c.Get(t.Context(), key, workload) == nil })

	c.admitRun(workload, 2)
	clear(c.hold)
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	c.until("the reservation is gone", func() bool { return apierrors.IsNotFound(c.Get(t.Context(), key, workload)) })
	for _, it := range run.Status.Iterations {
		for _, rec := range it.Stages {
			if rec.Failures > 0 || *rec.Attempt > 0 != (rec.Name == v1alpha1.StageTrain) {
				t.Errorf("iteration %d, %s: attempt %d, %d failures", *it.Iteration, rec.Name, *rec.Attempt, rec.Failures)
			}
		}
	}
}

// testForgottenReservation: a Workload that its run asks for no more since before the operator started is found and deleted, though
// nobody waits in a queue. Kueue's CRDs must be there.
func testForgottenReservation(t *testing.T) {
	c := newCluster(t)
	c.operate(often)
	run, workload := c.reservingRun()
	c.stop()
	c.read(run)
	run.Spec.Suspend = ptr.To(true)
	c.must(c.Update(t.Context(), run))
	run.Spec.Scheduling = nil
	c.must(c.Update(t.Context(), run))
	c.operate(often)
	c.until("the Workload is deleted", func() bool {
		return apierrors.IsNotFound(c.Get(t.Context(), client.ObjectKeyFromObject(workload), workload))
	})
}

// ofKueue is an object of Kueue's.
func ofKueue(kind, name string, fields map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	for key, value := range fields {
		u.Object[key] = value
	}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: "kueue.x-k8s.io", Version: "v1beta2", Kind: kind})
	u.SetName(name)
	return u
}

// takesAll is a LocalQueue that Kueue puts every Job of the namespace into that has no queue.
func (c *cluster) takesAll() *unstructured.Unstructured {
	queue := ofKueue("LocalQueue", "default", map[string]any{"spec": map[string]any{"clusterQueue": "a"}})
	queue.SetNamespace(c.namespace)
	return queue
}

// admitRun plays Kueue: it admits the Workload of a run with so many pods.
func (c *cluster) admitRun(w *unstructured.Unstructured, pods int64) {
	c.t.Helper()
	c.must(unstructured.SetNestedMap(w.Object, map[string]any{"clusterQueue": "a", "podSetAssignments": []any{
		map[string]any{"name": "main", "count": pods, "flavors": map[string]any{"nvidia.com/gpu": c.namespace}},
	}}, "status", "admission"))
	c.admission(w, [3]string{"QuotaReserved", "QuotaReserved", ""}, [3]string{"Admitted", "Admitted", ""})
}

// evict plays Kueue: it asks for the quota back.
func (c *cluster) evict(w *unstructured.Unstructured) {
	c.t.Helper()
	c.admission(w, [3]string{"QuotaReserved", "QuotaReserved", ""}, [3]string{"Admitted", "Admitted", ""}, [3]string{"Evicted", "Preempted", "somebody else needs it"})
}

// admission sets conditions that are True: type, reason, message.
func (c *cluster) admission(w *unstructured.Unstructured, conditions ...[3]string) {
	c.t.Helper()
	var list []any
	for _, condition := range conditions {
		list = append(list, map[string]any{
			"type": condition[0], "status": "True", "reason": condition[1], "message": condition[2], "lastTransitionTime": metav1.Now().UTC().Format(time.RFC3339),
		})
	}
	c.must(unstructured.SetNestedSlice(w.Object, list, "status", "conditions"))
	c.must(c.Status().Update(c.t.Context(), w))
}
