package controllers_test

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
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

// A quota that refuses a Job is a condition, said once, and no failure; the run goes on when there is room.
func TestQuota(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	quota := c.exhaustJobs()
	c.operate(often)
	run := c.run(1)
	c.create(c.runtime(), run)
	if message := c.waitsFor(run, v1alpha1.ReasonCreateRefused); !strings.Contains(message, "exceeded quota") {
		t.Errorf("the message does not say what the API server said: %s", message)
	}
	refused := run.ResourceVersion
	tries := c.requests.total()
	c.until("it is tried some more times", func() bool { return c.requests.total() >= tries+3 })
	if c.read(run); run.ResourceVersion != refused {
		t.Error("the same refusal is written again")
	}
	c.must(c.Delete(t.Context(), quota))
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	if attempts := c.attempts(); attempts[0] != "AlignmentRun 0 EvaluationSample/0" || attempts[1] != "AlignmentRun 0 Prepare/0" {
		t.Errorf("a refusal uses up an attempt: %v", attempts)
	}
}

// exhaustJobs makes a quota that admits no Job, and plays the controller that fills its status in.
func (c *cluster) exhaustJobs() *corev1.ResourceQuota {
	c.t.Helper()
	none := corev1.ResourceList{"count/jobs.batch": resource.MustParse("0")}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "no-jobs", Namespace: c.namespace}, Spec: corev1.ResourceQuotaSpec{Hard: none}}
	c.create(quota)
	quota.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none}
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
