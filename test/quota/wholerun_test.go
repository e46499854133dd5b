//go:build quota

package quota

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestWholeRun: runs of one ClusterQueue reserve as a whole. Each queues once, and never between two of its stages. One that is preempted, whose
// queue is drained and whose Workload an admin takes back gives its GPUs up each time, goes on from its work, and comes to what it
// comes to undisturbed.
func TestWholeRun(t *testing.T) {
	c := connect(t)
	c.queues()
	c.runtime("paced", 400*time.Millisecond)
	c.runtime("swift", 0)

	// Alone, a run is admitted with one Workload, as large as its largest stages: sampling in 8 pods, and training on 8 GPUs.
	calm := c.whole("undisturbed", "paced")
	c.start(calm)
	begun := c.reserves(calm, 2*time.Minute)
	workload := c.reservation(calm)
	if pods, gpus := asksFor(t, workload); pods != 8 || gpus != "1" {
		t.Errorf("the Workload is of %d pods with %s GPUs, want 8 with one", pods, gpus)
	}
	c.within(10*time.Second, "its ClusterQueue has borrowed 4 GPUs for it", func() bool { return c.borrowed("team-a") == "4" })

	// The next run prepares its prompts, and waits until that one ends.
	next := c.whole("next", "swift")
	c.start(next)
	c.within(time.Minute, "the prompts are prepared, without a reservation", func() bool {
		c.refresh(next)
		return next.Status.Prompts != nil
	})
	told := c.says(10*time.Second, next, v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, "Pending")
	said := condition(next, v1alpha1.ConditionQuotaReserved).Message
	if want := "reservation for the whole run, queue gpus: Pending: couldn't assign flavors"; !strings.Contains(said, want) {
		t.Errorf("the condition says %q, and not %q", said, want)
	}
	c.succeeded(calm, 8*time.Minute)
	c.waitedOnce(calm, begun)
	c.unlabelled(calm, workload.GetName(), 5)

	admitted := c.reserves(next, time.Minute)
	if admitted.Before(calm.Status.CompletionTime) {
		t.Errorf("it is admitted at %s, before the other run ended at %s", admitted, calm.Status.CompletionTime)
	}
	c.succeeded(next, 6*time.Minute)
	c.waitedOnce(next, admitted)
	c.within(10*time.Second, "all quota is given back", func() bool { return c.reservation(calm) == nil && c.reservation(next) == nil })
	c.tell("the second of two runs says that it waits %.1f s after it needs GPUs (%q), is admitted %.0f s after the first ended, and waits no more",
		told.Seconds(), said, admitted.Sub(calm.Status.CompletionTime.Time).Seconds())

	// A more urgent run of the team preempts one that trains.
	run := c.whole("preempted", "paced")
	c.start(run)
	c.trainsOn(run, 0)
	workload = c.reservation(run)
	urgent := c.small("team-a", "urgent", "swift")
	urgent.Spec.Scheduling = &v1alpha1.SchedulingSpec{
		QueueName: "gpus", Reservation: v1alpha1.ReservationRun, WorkloadPriorityClassName: "urgent",
		Sample: &v1alpha1.StageScheduling{Shards: 4}, Track: &v1alpha1.StageScheduling{Shards: 4},
	}
	c.start(urgent)
	preempted := c.evicted(run, "Preempted")
	c.reserves(urgent, time.Minute)
	if left := c.onGPUs(run); left > 0 {
		t.Errorf("the urgent run is admitted while %d pods of the preempted one are on GPUs", left)
	}
	c.succeeded(urgent, 6*time.Minute)
	again := c.trainsOn(run, 1)

	// The admin drains the queue. Nothing starts until it is opened again.
	c.patch("clusterqueue team-a", `{"spec": {"stopPolicy": "HoldAndDrain"}}`)
	drained := c.evicted(run, "ClusterQueueStopped")
	time.Sleep(10 * time.Second)
	if n := c.onGPUs(run); n > 0 {
		t.Errorf("%d pods are on GPUs while the queue is stopped", n)
	}
	c.patch("clusterqueue team-a", `{"spec": {"stopPolicy": "None"}}`)
	reopened := c.trainsOn(run, 2)

	// The admin takes the reservation itself back, and lets it queue again.
	c.patch("workload -n team-a "+workload.GetName(), `{"spec": {"active": false}}`)
	deactivated := c.evicted(run, "Deactivated")
	c.patch("workload -n team-a "+workload.GetName(), `{"spec": {"active": true}}`)
	c.reserves(run, time.Minute)
	if is := c.reservation(run); is.GetUID() != workload.GetUID() {
		t.Errorf("Workload %s, which lost its quota three times, is not the same any more", workload.GetName())
	}

	c.succeeded(run, 6*time.Minute)
	rec := stage(t, run, 1, v1alpha1.StageTrain)
	if *rec.Attempt != 3 {
		t.Errorf("the training ended in attempt %d, want 3: it was stopped three times", *rec.Attempt)
	}
	c.wentOn(run, rec.Child)
	c.unlabelled(run, workload.GetName(), 1) // its samples and their tracks were in the store
	for _, it := range run.Status.Iterations {
		for _, rec := range it.Stages {
			if rec.Failures > 0 {
				t.Errorf("iteration %d, stage %s: %d failures are charged: %s", *it.Iteration, rec.Name, rec.Failures, rec.Message)
			}
		}
	}
	for _, other := range []*v1alpha1.AlignmentRun{next, run} {
		if is, was := best(t, other), best(t, calm); is != was {
			t.Errorf("the best adapter of run %s is %s, and undisturbed %s", other.Name, is, was)
		}
	}
	c.tell("its training's Job is gone %.1f s after a more urgent run came, %.1f s after its queue was drained, %.1f s after its Workload was deactivated; it trains again %.1f s after the urgent run ended and %.1f s after the queue was opened; none charged; GPU-seconds %d (undisturbed %d), of them interrupted %d; best adapter %s as undisturbed",
		preempted.Seconds(), drained.Seconds(), deactivated.Seconds(), again.Seconds(), reopened.Seconds(),
		run.Status.GPUSeconds, calm.Status.GPUSeconds, interrupted(run), best(t, run))
}

// whole is the guide's run of team A that reserves as a whole, with a runtime and sizes of this cluster, that trains on 8 GPUs.
func (c cluster) whole(name, runtime string) *v1alpha1.AlignmentRun {
	c.Helper()
	run := c.sample("config/samples/kueue/whole-run.yaml")
	small := c.small(run.Namespace, name, runtime)
	small.Spec.Scheduling = run.Spec.Scheduling
	small.Spec.Scheduling.Sample.Shards = 8
	small.Spec.Training = &v1alpha1.TrainingSpec{GPUsPerNode: 8}
	return small
}

// reserves waits until Kueue has admitted a run as a whole, and the run says so, and returns since when.
func (c cluster) reserves(run *v1alpha1.AlignmentRun, limit time.Duration) metav1.Time {
	c.Helper()
	c.within(limit, "Kueue admits run "+run.Name, func() bool {
		w := c.reservation(run)
		return w != nil && conditionOf(w, "Admitted") == metav1.ConditionTrue
	})
	c.says(10*time.Second, run, v1alpha1.ConditionQuotaReserved, metav1.ConditionTrue, v1alpha1.ReasonAdmitted)
	return condition(run, v1alpha1.ConditionQuotaReserved).LastTransitionTime
}

// waitedOnce checks that a run, which has ended, did not wait any more after it was admitted.
func (c cluster) waitedOnce(run *v1alpha1.AlignmentRun, admitted metav1.Time) {
	c.Helper()
	if is := condition(run, v1alpha1.ConditionQuotaReserved); is.Status != metav1.ConditionTrue || !is.LastTransitionTime.Equal(&admitted) {
		c.Errorf("run %s waited again after it was admitted at %s: QuotaReserved is %s since %s", run.Name, admitted, is.Status, is.LastTransitionTime)
	}
}

// reservation is the one Workload that a run has; nil while it has none.
func (c cluster) reservation(run *v1alpha1.AlignmentRun) *unstructured.Unstructured {
	c.Helper()
	var own *unstructured.Unstructured
	for _, w := range c.workloads(run.Namespace) {
		if !metav1.IsControlledBy(&w, run) {
			continue
		}
		if own != nil {
			c.Fatalf("run %s has Workloads %s and %s", run.Name, own.GetName(), w.GetName())
		}
		own = &w
	}
	return own
}

// workloads of Kueue in a namespace.
func (c cluster) workloads(namespace string) []unstructured.Unstructured {
	c.Helper()
	var list unstructured.UnstructuredList
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "kueue.x-k8s.io", Version: "v1beta2", Kind: "WorkloadList"})
	if err := c.List(c.Context(), &list, client.InNamespace(namespace)); err != nil {
		c.Fatal(err)
	}
	return list.Items
}

// asksFor is how many pods a Workload is of, and how many GPUs each has.
func asksFor(t *testing.T, workload *unstructured.Unstructured) (pods int64, gpus string) {
	t.Helper()
	podSets, _, _ := unstructured.NestedSlice(workload.Object, "spec", "podSets")
	if len(podSets) != 1 {
		t.Fatalf("Workload %s has %d sets of pods", workload.GetName(), len(podSets))
	}
	set := podSets[0].(map[string]any)
	pods, _, _ = unstructured.NestedInt64(set, "count")
	containers, _, _ := unstructured.NestedSlice(set, "template", "spec", "containers")
	gpus, _, _ = unstructured.NestedString(containers[0].(map[string]any), "resources", "requests", string(gpu))
	return pods, gpus
}

func conditionOf(o *unstructured.Unstructured, kind string) metav1.ConditionStatus {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, one := range conditions {
		if c := one.(map[string]any); c["type"] == kind {
			return metav1.ConditionStatus(fmt.Sprint(c["status"]))
		}
	}
	return metav1.ConditionUnknown
}

// unlabelled checks that Kueue had nothing to say about a run's Jobs on GPUs, and that they went to its flavour's nodes. There must be
// so many at least.
func (c cluster) unlabelled(run *v1alpha1.AlignmentRun, workload string, jobs int) {
	c.Helper()
	var list batchv1.JobList
	if err := c.List(c.Context(), &list, client.InNamespace(run.Namespace), client.MatchingLabels{v1alpha1.LabelRun: run.Name}); err != nil {
		c.Fatal(err)
	}
	n := 0
	for i := range list.Items {
		job := &list.Items[i]
		pod := job.Spec.Template.Spec
		if gpusOf(pod.Containers[0].Resources.Limits) == 0 {
			continue
		}
		n++
		if queue, labelled := job.Labels["kueue.x-k8s.io/queue-name"]; labelled || pod.NodeSelector["example.com/gpu"] != "h100" || job.Annotations[v1alpha1.AnnotationReservation] != workload {
			c.Errorf("Job %s is in queue %q, goes to nodes %v and belongs to reservation %s", job.Name, queue, pod.NodeSelector, job.Annotations[v1alpha1.AnnotationReservation])
		}
	}
	if n < jobs {
		c.Errorf("run %s has %d Jobs on GPUs, want at least %d", run.Name, n, jobs)
	}
}

// evicted waits until a run that trains says why Kueue takes its reservation back, and has no training any more. It returns how long
// that took.
func (c cluster) evicted(run *v1alpha1.AlignmentRun, reason string) time.Duration {
	c.Helper()
	took := c.says(time.Minute, run, v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, reason)
	took += c.within(time.Minute, "the training's Job is deleted", func() bool { return len(c.jobs(run, v1alpha1.StageTrain)) == 0 })
	c.within(10*time.Second, "the quota is given back", func() bool {
		w := c.reservation(run)
		_, holds, _ := unstructured.NestedMap(w.Object, "status", "admission")
		return !holds
	})
	return took
}

// trainsOn waits until an attempt of a run's training has saved a checkpoint, and returns how long that took. All but the first must
// have taken up the one before.
func (c cluster) trainsOn(run *v1alpha1.AlignmentRun, attempt int32) time.Duration {
	c.Helper()
	took := c.within(4*time.Minute, fmt.Sprintf("attempt %d of the training of run %s has saved a checkpoint", attempt, run.Name), func() bool {
		c.refresh(run)
		p := run.Status.Progress
		for _, pod := range c.gang(run, attempt) {
			if p != nil && p.Stage == v1alpha1.StageTrain && p.LastCheckpointTime != nil && p.LastCheckpointTime.After(pod.CreationTimestamp.Time) {
				return true
			}
		}
		return false
	})
	if training := c.jobs(run, v1alpha1.StageTrain)[0].Name; attempt > 0 {
		c.wentOn(run, training)
	}
	return took
}

// wentOn checks that a training began where another attempt had stopped.
func (c cluster) wentOn(run *v1alpha1.AlignmentRun, training string) {
	c.Helper()
	log := c.kubectl("logs -n %s -l batch.kubernetes.io/job-name=%s --tail=-1", run.Namespace, training)
	if line(log, "training goes on") == "" {
		c.Errorf("training %s began anew:\n%s", training, log)
	}
}

// onGPUs is how many pods of a run are on GPUs.
func (c cluster) onGPUs(run *v1alpha1.AlignmentRun) (n int) {
	c.Helper()
	var list corev1.PodList
	if err := c.List(c.Context(), &list, client.InNamespace(run.Namespace), client.MatchingLabels{v1alpha1.LabelRun: run.Name}); err != nil {
		c.Fatal(err)
	}
	for i := range list.Items {
		if holds(&list.Items[i]) > 0 {
			n++
		}
	}
	return n
}
