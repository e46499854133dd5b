//go:build quota

package quota

import (
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestPartialAdmission: somebody else holds half of a queue's GPUs. Stages that make do with the other half start on it, and keep to that until
// they end or are preempted, also when all GPUs get free. Their pods do not run: kwok plays them.
func TestPartialAdmission(t *testing.T) {
	c := connect(t)
	c.fakeGPUs(2 * crowdGPUs)
	c.podsLast(6*time.Second, 8*time.Second)
	c.crowdNamespace("partial")
	c.createAll(fmt.Sprintf(fourGPUs, "partial") + "\n---\n" + fmt.Sprintf(teamQueue, "partial", "partial"))
	c.createAll(fmt.Sprintf(fourGPUs, "trainings") + "\n---\n" + trainings)
	c.createAll(soon)
	c.patch("clusterqueue partial", `{"spec": {"preemption": {"withinClusterQueue": "LowerPriority"}}}`)

	t.Run("Stage", func(t *testing.T) {
		c := connect(t)
		c.holds("holder", 2, "")
		run := halved("by-stage", v1alpha1.ReservationStage)
		c.create(run)

		// 4 shards, but no more than 2 at a time; the run waits for nothing.
		baseline := c.sampling(run, 0)
		c.says(10*time.Second, run, v1alpha1.ConditionQuotaReserved, metav1.ConditionTrue, v1alpha1.ReasonAdmitted)
		if got := c.assigned(baseline); got.pods != 2 || *baseline.Spec.Parallelism != 2 || *baseline.Spec.Completions != 4 {
			t.Errorf("Kueue admitted %d pods of Job %s, which has %d of %d at a time: want 2 of 4", got.pods, baseline.Name, *baseline.Spec.Parallelism, *baseline.Spec.Completions)
		}
		c.within(10*time.Second, "the stage says that it has 2 of 4 pods", func() bool {
			c.refresh(run)
			return stage(t, run, 0, v1alpha1.StageEvaluationSample).Message == "2 of 4 pods at a time: queue gpus has admitted no more"
		})

		// The other half gets free. The Job stays as it is.
		c.kubectl("delete job -n partial holder")
		most := int32(0)
		c.within(time.Minute, "all shards are done", func() bool {
			c.refresh(baseline)
			most = max(most, baseline.Status.Active)
			return baseline.Status.Succeeded == 4
		})
		if most > 2 || *baseline.Spec.Parallelism != 2 {
			t.Errorf("Job %s had up to %d pods at a time: want 2 to its end", baseline.Name, most)
		}
		c.succeeded(run, 2*time.Minute)
		c.tell("4 shards are admitted with 2 pods, and keep to them with all GPUs free")
	})

	// Preempted, a stage is admitted with all that is left to do.
	t.Run("Preempted", func(t *testing.T) {
		c := connect(t)
		c.holds("holder", 2, "")
		run := halved("preempted", v1alpha1.ReservationStage)
		c.create(run)
		baseline := c.sampling(run, 0)
		c.kubectl("delete job -n partial holder")
		c.holds("urgent", 4, "soon")
		c.within(30*time.Second, "Kueue suspends the baseline", func() bool { c.refresh(baseline); return ptr.Deref(baseline.Spec.Suspend, false) })
		c.says(10*time.Second, run, v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, "Preempted")
		c.kubectl("delete job -n partial urgent")
		again := c.within(30*time.Second, "Kueue admits the baseline again", func() bool { c.refresh(baseline); return !ptr.Deref(baseline.Spec.Suspend, false) })
		if left := 4 - baseline.Status.Succeeded; *baseline.Spec.Parallelism != left {
			t.Errorf("Job %s has %d pods at a time, with %d shards to do: want all of them", baseline.Name, *baseline.Spec.Parallelism, left)
		}
		c.succeeded(run, 2*time.Minute)
		if rec := stage(t, run, 0, v1alpha1.StageEvaluationSample); *rec.Attempt != 0 || rec.Failures != 0 {
			t.Errorf("the baseline is in attempt %d, with %d failures: want none charged", *rec.Attempt, rec.Failures)
		}
		c.tell("2 pods of 4 that are preempted are admitted with 4 %.1f s after there is room", again.Seconds())
	})

	// A whole run is admitted with what the stage that needs most makes do with.
	t.Run("Run", func(t *testing.T) {
		c := connect(t)
		c.holds("holder", 2, "")
		run := halved("whole", v1alpha1.ReservationRun)
		c.create(run)
		c.reserves(run, time.Minute)
		workload := c.reservation(run)
		if asked, _ := asksFor(t, workload); asked != 4 || assignmentOf(workload).pods != 2 {
			t.Errorf("the Workload is of %d pods and admitted with %d, want 2 of 4", asked, assignmentOf(workload).pods)
		}
		baseline := c.sampling(run, 0)
		if *baseline.Spec.Parallelism != 2 || *baseline.Spec.Completions != 4 {
			t.Errorf("Job %s has %d of %d pods at a time, want 2 of 4", baseline.Name, *baseline.Spec.Parallelism, *baseline.Spec.Completions)
		}
		c.kubectl("delete job -n partial holder")
		c.succeeded(run, 4*time.Minute)
		evaluation := c.sampling(run, 1)
		if *evaluation.Spec.Parallelism != 2 {
			t.Errorf("Job %s has %d pods at a time, want 2 as before", evaluation.Name, *evaluation.Spec.Parallelism)
		}
		c.tell("a whole run of 4 pods is admitted with 2, and keeps to them to its end")
	})
}

// halved is a run that samples in 4 pods, and makes do with 2.
func halved(name string, scope v1alpha1.ReservationScope) *v1alpha1.AlignmentRun {
	run := crowdRun("partial", 0)
	run.Name = name
	run.Spec.Scheduling = &v1alpha1.SchedulingSpec{
		QueueName: "gpus", Reservation: scope, Sample: &v1alpha1.StageScheduling{Shards: 4, MinParallel: 2},
	}
	if scope == v1alpha1.ReservationStage {
		run.Spec.Scheduling.Train = &v1alpha1.StageScheduling{QueueName: "trainings"} // beside the baseline
	}
	return run
}

// sampling waits for the Job that samples for the evaluation of an iteration, and for Kueue to let it go.
func (c cluster) sampling(run *v1alpha1.AlignmentRun, iteration int) (job *batchv1.Job) {
	c.Helper()
	c.within(2*time.Minute, fmt.Sprintf("iteration %d of run %s samples", iteration, run.Name), func() bool {
		for _, j := range c.jobs(run, v1alpha1.StageEvaluationSample) {
			if j.Labels[v1alpha1.LabelIteration] == fmt.Sprint(iteration) && !ptr.Deref(j.Spec.Suspend, false) {
				job = &j
				return true
			}
		}
		return false
	})
	return job
}

// holds lets somebody else's Job have GPUs of queue gpus.
func (c cluster) holds(name string, gpus int, priority string) {
	c.Helper()
	c.apply(fmt.Sprintf(holder, name, gpus, priority))
	c.within(30*time.Second, fmt.Sprintf("Job %s has %d GPUs of the queue", name, gpus), func() bool {
		var job batchv1.Job
		return c.Get(c.Context(), client.ObjectKey{Namespace: "partial", Name: name}, &job) == nil && !ptr.Deref(job.Spec.Suspend, false)
	})
}

// holder is somebody else's Job, which holds GPUs of a queue. Its pod finds no node, and counts in the queue all the same.
const holder = `
apiVersion: batch/v1
kind: Job
metadata:
  name: %[1]s
  namespace: partial
  labels: {kueue.x-k8s.io/queue-name: gpus, kueue.x-k8s.io/priority-class: "%[3]s"}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {example.com/runs: never}
      containers:
        - name: holder
          image: holder:1
          resources: {limits: {nvidia.com/gpu: %[2]d}}
`

// trainings is a queue with GPUs of its own.
const trainings = `
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: trainings, namespace: partial}
spec: {clusterQueue: trainings}
`

// soon goes before the others.
const soon = `
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: soon}
value: 1000
`
