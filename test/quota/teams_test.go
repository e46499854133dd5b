//go:build quota

package quota

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestTwoTeams: team A trains on all 8 GPUs, 4 of them borrowed. Team B asks for its own, and Kueue preempts the training. It goes on when
// there is room, in the same Job and from where it stopped, and comes to what it comes to undisturbed.
func TestTwoTeams(t *testing.T) {
	c := connect(t)
	c.queues()
	c.runtime("paced", 300*time.Millisecond)
	c.runtime("swift", 0)

	// Alone, team A gets all that it asks for.
	calm := c.borrowing("undisturbed")
	c.start(calm)
	c.within(2*time.Minute, "team A samples on 8 GPUs, 4 of them borrowed", func() bool { return c.borrowed("team-a") == "4" })
	c.within(3*time.Minute, "Kueue admits the training", func() bool {
		training := c.jobs(calm, v1alpha1.StageTrain)
		return len(training) > 0 && !ptr.Deref(training[0].Spec.Suspend, false)
	})
	admitted := c.says(5*time.Second, calm, v1alpha1.ConditionQuotaReserved, metav1.ConditionTrue, v1alpha1.ReasonAdmitted)
	c.succeeded(calm, 8*time.Minute)

	// The same again. What is in the store is not sampled anew.
	run := c.borrowing("borrowing-run")
	c.start(run)
	c.trains(run)
	if got := c.borrowed("team-a"); got != "4" {
		t.Errorf("ClusterQueue team-a has borrowed %s GPUs, want 4", got)
	}
	training := c.jobs(run, v1alpha1.StageTrain)[0]

	// Team B asks for its own.
	other := c.small("team-b", "wants-its-own", "swift")
	other.Spec.Scheduling = &v1alpha1.SchedulingSpec{
		QueueName: "gpus", Sample: &v1alpha1.StageScheduling{Shards: 4}, Track: &v1alpha1.StageScheduling{Shards: 4},
	}
	c.start(other)
	c.suspended(&training)
	told := c.says(10*time.Second, run, v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, "Preempted")
	said := condition(run, v1alpha1.ConditionQuotaReserved).Message
	got := c.within(time.Minute, "a pod of team B runs", func() bool { return c.ran(other) })

	// Team B ends, and so does team A.
	c.succeeded(other, 6*time.Minute)
	c.succeeded(run, 6*time.Minute)

	rec := stage(t, run, 1, v1alpha1.StageTrain)
	if *rec.Attempt != 0 || rec.Failures != 0 {
		t.Errorf("the training is in attempt %d, with %d failures: want none charged", *rec.Attempt, rec.Failures)
	}
	if jobs := c.jobs(run, v1alpha1.StageTrain); len(jobs) != 1 || jobs[0].UID != training.UID {
		t.Errorf("the training has %d Jobs, want the one that was preempted", len(jobs))
	}
	log := c.kubectl("logs -n team-a -l batch.kubernetes.io/job-name=%s --tail=-1", training.Name)
	from := line(log, "training goes on")
	if from == "" {
		t.Errorf("the training began anew:\n%s", log)
	}
	if is, was := best(t, run), best(t, calm); is != was {
		t.Errorf("the best adapter is %s, and undisturbed %s", is, was)
	}
	c.tell("training admitted: the run says so %.1f s after Kueue; preempted: %.1f s after Kueue (%q); a pod of team B runs %.1f s later; GPU-seconds %d (undisturbed %d), of them interrupted %d; it went on: %s; best adapter %s as undisturbed",
		admitted.Seconds(), told.Seconds(), said, got.Seconds(), run.Status.GPUSeconds, calm.Status.GPUSeconds, interrupted(run), from, best(t, run))

	// So it is with a training in two pods, but that the Job may end of its pods' end: then another one waits in the queue.
	gang := c.borrowing("two-nodes")
	gang.Spec.Training = &v1alpha1.TrainingSpec{Nodes: 2, GPUsPerNode: 4}
	c.start(gang)
	c.trains(gang)
	training = c.jobs(gang, v1alpha1.StageTrain)[0]
	again := c.small("team-b", "wants-one-again", "swift")
	again.Spec.Scheduling = &v1alpha1.SchedulingSpec{QueueName: "gpus"}
	c.start(again)
	c.suspended(&training)
	c.succeeded(again, 6*time.Minute)
	c.succeeded(gang, 6*time.Minute)
	rec = stage(t, gang, 1, v1alpha1.StageTrain)
	if rec.Failures != 0 {
		t.Errorf("%d failures are charged to the training in two pods: %s", rec.Failures, rec.Message)
	}
	if line(c.kubectl("logs -n team-a -l batch.kubernetes.io/job-name=%s --tail=-1", rec.Child), "training goes on") == "" {
		t.Error("the training in two pods began anew")
	}
	if is, was := best(t, gang), best(t, calm); is != was {
		t.Errorf("the best adapter of two pods is %s, and undisturbed of one %s", is, was)
	}
	c.tell("training in two pods preempted: attempt %d, none charged; best adapter as undisturbed on one node", *rec.Attempt)
}

// trains waits until team A's training runs, on 8 GPUs, and has a checkpoint.
func (c cluster) trains(run *v1alpha1.AlignmentRun) {
	c.Helper()
	c.within(4*time.Minute, "run "+run.Name+" trains, and has a checkpoint", func() bool {
		c.refresh(run)
		p := run.Status.Progress
		return p != nil && p.Stage == v1alpha1.StageTrain && p.LastCheckpointTime != nil
	})
}

// suspended waits until Kueue has suspended a training, or its Job has ended of that.
func (c cluster) suspended(training *batchv1.Job) {
	c.Helper()
	c.within(time.Minute, "Kueue suspends the training", func() bool {
		if err := c.Get(c.Context(), client.ObjectKeyFromObject(training), training); err != nil {
			return apierrors.IsNotFound(err)
		}
		return ptr.Deref(training.Spec.Suspend, false)
	})
}

// queues follows "Flavours and quotas" of the guide, on this cluster's one node of 8 GPUs.
func (c cluster) queues() {
	c.Helper()
	c.kubectl("label node node0 example.com/gpu=h100 --overwrite")
	c.Cleanup(func() {
		c.kubectl("delete -f config/samples/kueue/queues.yaml -f config/samples/kueue/priorities.yaml --ignore-not-found --timeout=60s")
	})
	c.namespace("team-a", "")
	c.namespace("team-b", "")
	c.kubectl("apply -f config/samples/kueue/queues.yaml -f config/samples/kueue/priorities.yaml")
}

// borrowing is the guide's run of team A, with a runtime and sizes of this cluster, that trains on 8 GPUs.
func (c cluster) borrowing(name string) *v1alpha1.AlignmentRun {
	c.Helper()
	run := c.sample("config/samples/kueue/borrowing-run.yaml")
	small := c.small(run.Namespace, name, "paced")
	small.Spec.Scheduling = run.Spec.Scheduling
	small.Spec.Training = &v1alpha1.TrainingSpec{GPUsPerNode: 8}
	return small
}

// borrowed GPUs of a ClusterQueue, as Kueue tells.
func (c cluster) borrowed(queue string) string {
	c.Helper()
	return c.kubectl(`get clusterqueue %s -o jsonpath={.status.flavorsReservation[0].resources[?(@.name=="nvidia.com/gpu")].borrowed}`, queue)
}

// ran says that a sampling pod of a run has run.
func (c cluster) ran(run *v1alpha1.AlignmentRun) bool {
	c.Helper()
	var list batchv1.JobList
	if err := c.List(c.Context(), &list, client.InNamespace(run.Namespace), client.MatchingLabels{v1alpha1.LabelRun: run.Name}); err != nil {
		c.Fatal(err)
	}
	for i := range list.Items {
		job := &list.Items[i]
		if strings.HasSuffix(job.Labels[v1alpha1.LabelStage], "Sample") && ptr.Deref(job.Status.Ready, 0)+job.Status.Succeeded > 0 {
			return true
		}
	}
	return false
}

// line is the first one of a log that says something.
func line(log, says string) string {
	for l := range strings.SplitSeq(log, "\n") {
		if strings.Contains(l, says) {
			return l
		}
	}
	return ""
}

func interrupted(run *v1alpha1.AlignmentRun) int64 {
	if w := run.Status.WastedGPUSeconds; w != nil {
		return w.Interrupted
	}
	return 0
}
