package controllers_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// kueueModule is where Kueue's own CRDs come from.
const kueueModule = "sigs.k8s.io/kueue@v0.19.2"

// A run whose queue has no Kueue says so; when Kueue is installed, the run tells what Kueue says, and goes on when it is admitted.
func TestKueueAppears(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.operate(often)
	run := c.run(1)
	run.Spec.Scheduling = &v1alpha1.SchedulingSpec{QueueName: "team-a"}
	c.create(c.runtime(), run)
	c.quotaReads(run, metav1.ConditionFalse, "KueueNotInstalled", "Kueue is not installed")
	refused := run.ResourceVersion
	for start := time.Now(); time.Since(start) < time.Second; time.Sleep(50 * time.Millisecond) {
		c.runJobs()
	}
	if c.read(run); run.ResourceVersion != refused {
		t.Error("that there is no Kueue is written again")
	}

	c.installKueue()
	workload := c.workload(c.job(v1alpha1.StageEvaluationSample, 0))
	c.says(workload, "QuotaReserved", "False", "Inadmissible", "LocalQueue team-a doesn't exist")
	c.quotaReads(run, metav1.ConditionFalse, "Inadmissible", "iteration 0, stage EvaluationSample: queue team-a: Inadmissible: LocalQueue team-a doesn't exist")
	const short = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor h100, 2 more needed"
	c.says(workload, "QuotaReserved", "False", "Pending", short)
	c.quotaReads(run, metav1.ConditionFalse, "Pending", short)

	c.admit(v1alpha1.StageSample)
	c.admit(v1alpha1.StageEvaluationSample)
	for _, stage := range []v1alpha1.StageName{v1alpha1.StageTrack, v1alpha1.StageTrain} {
		c.noRoom(run, stage)
		c.until(string(stage)+" is admitted", func() bool { return c.admit(stage) > 0 })
		c.until("training begins", func() bool { // the other batch may have come later
			c.admit(v1alpha1.StageTrack)
			return slices.ContainsFunc(c.jobs(), func(job batchv1.Job) bool { return stageOf(&job) == v1alpha1.StageTrain })
		})
	}
	c.until("the run ends", func() bool {
		c.admit(v1alpha1.StageTrack)
		c.admit(v1alpha1.StageEvaluationSample)
		c.read(run)
		return ended(run)
	})
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	if condition := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionQuotaReserved); condition.Status != metav1.ConditionTrue {
		t.Errorf("ends with %+v", condition)
	}
	for _, it := range run.Status.Iterations {
		for _, rec := range it.Stages {
			if rec.Failures > 0 || *rec.Attempt > 0 {
				t.Errorf("iteration %d, %s: attempt %d, %d failures", *it.Iteration, rec.Name, *rec.Attempt, rec.Failures)
			}
		}
	}
	t.Run("and a run reserves as a whole", testReservation)
	t.Run("and asks for that no more while no operator runs", testForgottenReservation)
	t.Run("and Kueue is upgraded", testUpgradedKueue)
}

// quotaReads waits until a run's QuotaReserved condition says something.
func (c *cluster) quotaReads(run *v1alpha1.AlignmentRun, status metav1.ConditionStatus, reason, message string) {
	c.t.Helper()
	start := time.Now()
	c.until("QuotaReserved is "+reason+": "+message, func() bool {
		c.read(run)
		is := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionQuotaReserved)
		return is != nil && is.Status == status && is.Reason == reason && strings.Contains(is.Message, message)
	})
	if took := time.Since(start); took > 10*time.Second {
		c.t.Errorf("it took %s to say %s", took, reason)
	}
}

// installKueue installs the CRDs of Kueue that are read here, out of Kueue's module.
func (c *cluster) installKueue() {
	c.t.Helper()
	command := exec.CommandContext(c.t.Context(), "go", "mod", "download", "-json", kueueModule)
	command.Dir = c.t.TempDir() // no module of ours needs it
	out, err := command.Output()
	c.must(err)
	var module struct{ Dir string }
	c.must(json.Unmarshal(out, &module))
	var paths []string
	for _, kind := range []string{"workloads", "resourceflavors", "workloadpriorityclasses", "localqueues"} {
		paths = append(paths, filepath.Join(module.Dir, "config/components/crd/bases/kueue.x-k8s.io_"+kind+".yaml"))
	}
	_, err = envtest.InstallCRDs(server, envtest.CRDInstallOptions{Paths: paths, ErrorIfPathMissing: true, MaxTime: time.Minute})
	c.must(err)
}

// workload plays Kueue: it makes the Workload of a Job.
func (c *cluster) workload(job *batchv1.Job) *unstructured.Unstructured {
	c.t.Helper()
	w := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"queueName": job.Labels["kueue.x-k8s.io/queue-name"],
		"podSets": []any{map[string]any{"name": "main", "count": int64(*job.Spec.Parallelism), "template": map[string]any{
			"spec": map[string]any{"containers": []any{map[string]any{"name": "stage", "image": "i"}}},
		}}},
	}}}
	w.SetGroupVersionKind(schema.GroupVersionKind{Group: "kueue.x-k8s.io", Version: "v1beta2", Kind: "Workload"})
	w.SetNamespace(job.Namespace)
	w.SetName("job-" + job.Name)
	w.SetLabels(map[string]string{"kueue.x-k8s.io/job-uid": string(job.UID)})
	w.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))})
	c.create(w)
	return w
}

// noRoom plays Kueue, which has no room for the Jobs of a stage, however many come, and waits until the run says so.
func (c *cluster) noRoom(run *v1alpha1.AlignmentRun, stage v1alpha1.StageName) {
	c.t.Helper()
	refused, message := map[types.UID]bool{}, "no room for "+string(stage)
	c.until("the run says that there is "+message, func() bool {
		for _, job := range c.jobs() {
			if stageOf(&job) == stage && ptr.Deref(job.Spec.Suspend, false) && !refused[job.UID] {
				c.says(c.workload(&job), "QuotaReserved", "False", "Pending", message)
				refused[job.UID] = true
			}
		}
		c.read(run)
		is := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionQuotaReserved)
		return is.Reason == "Pending" && strings.Contains(is.Message, message)
	})
}

// says plays Kueue: it sets a condition of a Workload.
func (c *cluster) says(w *unstructured.Unstructured, kind, status, reason, message string) {
	c.t.Helper()
	c.must(unstructured.SetNestedSlice(w.Object, []any{map[string]any{
		"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": metav1.Now().UTC().Format(time.RFC3339),
	}}, "status", "conditions"))
	c.must(c.Status().Update(c.t.Context(), w))
}

// admit plays Kueue: it unsuspends the Jobs of a stage, and tells how many there were.
func (c *cluster) admit(stage v1alpha1.StageName) (n int) {
	c.t.Helper()
	for _, job := range c.jobs() {
		if stageOf(&job) == stage && ptr.Deref(job.Spec.Suspend, false) {
			before := job.DeepCopy()
			job.Spec.Suspend = ptr.To(false)
			c.must(c.Patch(c.t.Context(), &job, client.MergeFrom(before)))
			n++
		}
	}
	return n
}
