package controllers_test

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/metrics"
)

// A run waits for its runtime, and for leave to use it, and goes on by itself.
func TestRunWaitsForItsRuntime(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.operate(often)
	run, runtime := c.run(1), c.runtime()
	runtime.Spec.AllowedNamespaces = []string{"another-team"}
	c.create(run)
	if message := c.waitsFor(run, v1alpha1.ReasonRuntimeNotFound); !strings.Contains(message, c.namespace) {
		t.Errorf("the message does not name the runtime: %s", message)
	}
	c.create(runtime)
	if message := c.waitsFor(run, v1alpha1.ReasonNamespaceNotAllowed); !strings.Contains(message, "allowedNamespaces") {
		t.Errorf("the message does not name the field: %s", message)
	}
	if n := len(c.jobs()); n != 0 || run.Status.Phase != v1alpha1.PhasePending || run.Status.Runtime != nil {
		t.Errorf("%d Jobs, phase %s, snapshot %v", n, run.Status.Phase, run.Status.Runtime)
	}
	runtime.Spec.AllowedNamespaces = []string{c.namespace}
	c.must(c.Update(t.Context(), runtime))
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
}

// A run waits for the ConfigMaps of its prompts.
func TestRunWaitsForItsPrompts(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.operate(often)
	run := c.run(1)
	run.Spec.Prompts.Train = v1alpha1.PromptSource{ConfigMapRef: &v1alpha1.ConfigMapKeyReference{Name: "prompts", Key: "train.csv"}}
	c.create(c.runtime(), run)
	if message := c.waitsFor(run, v1alpha1.ReasonPromptsNotFound); !strings.Contains(message, `"train.csv"`) {
		t.Errorf("the message does not name the key: %s", message)
	}
	c.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "prompts", Namespace: c.namespace}, Data: map[string]string{"train.csv": "prompt\n"}})
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
}

// A quota that leaves no room for a Job is a condition, and nothing is tried; the run goes on when there is room.
func TestQuota(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	quota := c.exhaustJobs()
	c.operate(time.Hour)
	run := c.run(1)
	c.create(c.runtime(), run)
	const want = `ResourceQuota "no-jobs" lacks 1 count/jobs.batch (1 of 1 used, 1 needed)`
	if message := c.waitsFor(run, v1alpha1.ReasonQuotaExceeded); message != want {
		t.Errorf("the message is %s", message)
	}
	if waits := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionQuotaReserved); waits == nil || waits.Status != metav1.ConditionFalse ||
		waits.Reason != v1alpha1.ReasonQuotaExceeded || !strings.Contains(waits.Message, want) {
		t.Errorf("QuotaReserved is %+v", waits)
	}
	if requests := c.requests.String(); strings.Contains(requests, "POST jobs") {
		t.Errorf("a Job was tried: %s", requests)
	}
	c.must(c.Delete(t.Context(), quota))
	relieved := time.Now()
	c.job(v1alpha1.StagePrepare, 0)
	if waited := time.Since(relieved); waited > 30*time.Second {
		t.Errorf("the run goes on %s after there is room", waited)
	}
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	if attempts := c.attempts(); attempts[0] != "AlignmentRun 0 EvaluationSample/0" || attempts[1] != "AlignmentRun 0 Prepare/0" {
		t.Errorf("waiting uses up an attempt: %v", attempts)
	}
}

// Two runs share what a quota of GPUs leaves: no room is given twice, and what is freed widens Jobs that run.
func TestQuotaIsShared(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	gpus := func(n string) corev1.ResourceList {
		return corev1.ResourceList{"requests.nvidia.com/gpu": resource.MustParse(n)}
	}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "gpus", Namespace: c.namespace}, Spec: corev1.ResourceQuotaSpec{Hard: gpus("3")}}
	c.create(quota)
	quota.Status = corev1.ResourceQuotaStatus{Hard: gpus("3"), Used: gpus("0")}
	c.must(c.Status().Update(t.Context(), quota))
	c.hold[v1alpha1.StageSample], c.hold[v1alpha1.StageEvaluationSample] = true, true
	c.operate(time.Hour)
	runtime, one, two := c.runtime(), c.run(1), c.run(1)
	runtime.Spec.Sample.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}}
	two.Name = "second-run"
	c.create(runtime, one, two)
	promised := func() (n int32) {
		for _, job := range c.jobs() {
			if c.hold[stageOf(&job)] {
				n += *job.Spec.Parallelism
			}
		}
		return n
	}
	waits := func(run *v1alpha1.AlignmentRun) bool {
		c.read(run)
		return meta.IsStatusConditionFalse(run.Status.Conditions, v1alpha1.ConditionQuotaReserved)
	}
	c.until("all is promised, and one who got no share waits", func() bool {
		n := promised()
		if n > 3 {
			t.Fatalf("%d of 3 GPUs are promised", n)
		}
		return n == 3 && (waits(one) || waits(two))
	})
	c.until("a scraper is told of what runs and of what waits before it has a Job", func() bool {
		asked := float64(0)
		for stage := range c.hold {
			asked += c.metric(metrics.Waiting, string(stage))
		}
		return asked > 3 // the Jobs have no pods yet, and ask for 3
	})
	quota.Spec.Hard = gpus("8")
	c.must(c.Update(t.Context(), quota))
	quota.Status.Hard = gpus("8")
	c.must(c.Status().Update(t.Context(), quota))
	c.until("every Job has all of its pods", func() bool {
		n := promised()
		if n > 8 {
			t.Fatalf("%d of 8 GPUs are promised", n)
		}
		return n == 8 && !waits(one) && !waits(two)
	})
	c.must(c.Delete(t.Context(), quota)) // nobody counts here what pods give back
	clear(c.hold)
	c.endsAs(one, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	c.endsAs(two, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
}

// Pods that a quota refuses although the Job was created are not left to the Job controller; none that exists is ended.
func TestQuotaTakenByOthers(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.hold[v1alpha1.StagePrepare] = true
	c.operate(often)
	run := c.run(1)
	c.create(c.runtime(), run)
	job := c.job(v1alpha1.StagePrepare, 0)
	one := corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "no-pods", Namespace: c.namespace}, Spec: corev1.ResourceQuotaSpec{Hard: one}}
	c.create(quota)
	quota.Status = corev1.ResourceQuotaStatus{Hard: one, Used: one}
	c.must(c.Status().Update(t.Context(), quota))
	parallelism := func(n int32) func() bool {
		return func() bool { c.read(job); return *job.Spec.Parallelism == n }
	}
	c.until("the Job is to have no pods", parallelism(0))
	c.until("the run says why", func() bool {
		c.read(run)
		waits := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionQuotaReserved)
		return waits != nil && waits.Status == metav1.ConditionFalse && strings.Contains(waits.Message, `ResourceQuota "no-pods" lacks 1 pods`)
	})
	c.must(c.Delete(t.Context(), quota))
	c.until("the Job may have its pod", parallelism(1))
	clear(c.hold)
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
}

// exhaustJobs makes a quota that admits no Job, and plays the controller that fills its status in.
func (c *cluster) exhaustJobs() *corev1.ResourceQuota {
	c.t.Helper()
	one := corev1.ResourceList{"count/jobs.batch": resource.MustParse("1")}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "no-jobs", Namespace: c.namespace}, Spec: corev1.ResourceQuotaSpec{Hard: one}}
	c.create(quota)
	quota.Status = corev1.ResourceQuotaStatus{Hard: one, Used: one}
	c.must(c.Status().Update(c.t.Context(), quota))
	c.until("the quota is in force", func() bool {
		probe := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "probe", Namespace: c.namespace}, Spec: batchv1.JobSpec{
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
		}}
		return apierrors.IsForbidden(c.Create(c.t.Context(), probe, client.DryRunAll))
	})
	return quota
}

// A Job of somebody else's that has the name of a child is said to be in the way, never adopted, and never touched.
func TestForeignJob(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	run := c.run(1)
	c.create(run)
	owner := jobs.Owner{Kind: "AlignmentRun", Namespace: c.namespace, Name: run.Name, UID: run.UID, Run: run.Name}
	foreign := &batchv1.Job{
		// Our labels on it make it no child of ours.
		ObjectMeta: jobs.Meta(owner, jobs.Place{Stage: v1alpha1.StagePrepare}),
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
			Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "stage", Image: "i"}}},
		}},
	}
	foreign.OwnerReferences = nil
	delete(foreign.Labels, v1alpha1.LabelManaged) // so that this cluster does not run it
	c.create(foreign)
	version := foreign.ResourceVersion

	c.operate(often)
	c.create(c.runtime())
	if message := c.waitsFor(run, v1alpha1.ReasonCreateRefused); !strings.Contains(message, foreign.Name) || !strings.Contains(message, "somebody else") {
		t.Errorf("the message does not say what is in the way: %s", message)
	}
	if c.read(foreign); foreign.ResourceVersion != version || len(c.jobs()) != 1 {
		t.Errorf("the foreign Job is changed, or others are made: %d Jobs", len(c.jobs()))
	}
	c.must(c.Delete(t.Context(), foreign, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
}

// A Job that a tenant forges as a child of a kind that is none does the operator no harm.
func TestForgedChild(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.hold[v1alpha1.StageSample] = true
	c.operate(often)
	run := c.run(1)
	c.create(c.runtime(), run)
	c.job(v1alpha1.StageSample, 0)
	owner := jobs.Owner{Kind: "AlignmentRun", Namespace: c.namespace, Name: run.Name, UID: run.UID, Run: run.Name}
	forged := &batchv1.Job{
		ObjectMeta: jobs.Meta(owner, jobs.Place{Iteration: 1, Stage: v1alpha1.StageScore}),
		Spec: batchv1.JobSpec{
			CompletionMode: ptr.To(batchv1.IndexedCompletion), Completions: ptr.To(int32(1)),
			Template: corev1.PodTemplateSpec{
				Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "stage", Image: "i"}}},
			},
		},
	}
	c.hold[v1alpha1.StageScore] = true
	c.create(forged)
	c.endJob(forged, nil)
	clear(c.hold)
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
}
