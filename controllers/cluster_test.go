package controllers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// until lets the cluster's Jobs run and its garbage be collected until something is so.
func (c *cluster) until(what string, so func() bool) {
	c.t.Helper()
	err := wait.PollUntilContextTimeout(c.t.Context(), 30*time.Millisecond, 3*time.Minute, true, func(context.Context) (bool, error) {
		c.collectGarbage()
		c.runJobs()
		return so(), nil
	})
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", what, err, c.describe())
	}
}

// endsAs lets a run, batch or dataset go on until it has ended, and checks the condition and the reason.
func (c *cluster) endsAs(o client.Object, condition, reason string) {
	c.t.Helper()
	c.until(fmt.Sprintf("%s ends", o.GetName()), func() bool {
		c.read(o)
		return ended(o)
	})
	found := meta.FindStatusCondition(conditionsOf(o), condition)
	if found == nil || found.Status != metav1.ConditionTrue || found.Reason != reason {
		c.t.Fatalf("ends with %+v, want %s for the reason %s", conditionsOf(o), condition, reason)
	}
}

// waitsFor lets the cluster go on until an object's Reconciling condition gives a reason, and returns its message.
func (c *cluster) waitsFor(o client.Object, reason string) string {
	c.t.Helper()
	var found *metav1.Condition
	c.until(fmt.Sprintf("%s waits because of %s", o.GetName(), reason), func() bool {
		c.read(o)
		found = meta.FindStatusCondition(conditionsOf(o), v1alpha1.ConditionReconciling)
		return found != nil && found.Status == metav1.ConditionTrue && found.Reason == reason
	})
	return found.Message
}

func ended(o client.Object) bool {
	return meta.IsStatusConditionTrue(conditionsOf(o), v1alpha1.ConditionComplete) || meta.IsStatusConditionTrue(conditionsOf(o), v1alpha1.ConditionFailed)
}

func conditionsOf(o client.Object) []metav1.Condition {
	switch o := o.(type) {
	case *v1alpha1.AlignmentRun:
		return o.Status.Conditions
	case *v1alpha1.ScoringBatch:
		return o.Status.Conditions
	case *v1alpha1.PreferenceDataset:
		return o.Status.Conditions
	default:
		return nil
	}
}

// jobs are all Jobs of the namespace, in the order of their names.
func (c *cluster) jobs() []batchv1.Job {
	c.t.Helper()
	var list batchv1.JobList
	c.must(c.List(c.t.Context(), &list, client.InNamespace(c.namespace)))
	return list.Items
}

// job waits for a stage's Job.
func (c *cluster) job(stage v1alpha1.StageName, attempt int) *batchv1.Job {
	c.t.Helper()
	var found *batchv1.Job
	c.until(fmt.Sprintf("attempt %d of %s is created", attempt, stage), func() bool {
		for _, job := range c.jobs() {
			if stageOf(&job) == stage && job.Labels[v1alpha1.LabelAttempt] == strconv.Itoa(attempt) && job.DeletionTimestamp.IsZero() {
				found = &job
			}
		}
		return found != nil
	})
	return found
}

func stageOf(o client.Object) v1alpha1.StageName {
	return v1alpha1.StageName(o.GetLabels()[v1alpha1.LabelStage])
}

// attempts are all Jobs as "<kind of owner> <iteration> <stage>/<attempt>".
func (c *cluster) attempts() []string {
	c.t.Helper()
	var list []string
	for _, job := range c.jobs() {
		l := job.Labels
		list = append(list, fmt.Sprintf("%s %s %s/%s", metav1.GetControllerOf(&job).Kind, l[v1alpha1.LabelIteration], l[v1alpha1.LabelStage], l[v1alpha1.LabelAttempt]))
	}
	slices.Sort(list)
	return list
}

// runJobs plays the Job controller and the kubelet: every Job that is not held, nor suspended, runs to its end at once.
func (c *cluster) runJobs() {
	c.t.Helper()
	for _, job := range c.jobs() {
		if !jobs.Finished(&job) && job.DeletionTimestamp.IsZero() && !ptr.Deref(job.Spec.Suspend, false) && !c.hold[stageOf(&job)] && job.Labels[v1alpha1.LabelManaged] != "" {
			c.runJob(&job)
		}
	}
}

func (c *cluster) runJob(job *batchv1.Job) {
	c.t.Helper()
	var spec contract.Spec
	c.must(json.Unmarshal([]byte(job.Spec.Template.Annotations[v1alpha1.AnnotationSpec]), &spec))
	var failed []string
	for shard := range int(*job.Spec.Completions) {
		code, said := c.fate(stageOf(job), job.Labels[v1alpha1.LabelAttempt], spec, shard)
		phase := corev1.PodSucceeded
		if code != 0 {
			phase = corev1.PodFailed
			failed = append(failed, strconv.Itoa(shard))
		}
		c.startPod(job, shard, corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "stage", Image: "i", ImageID: "i", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: code, Message: said, Reason: map[bool]string{true: "Completed", false: "Error"}[code == 0], FinishedAt: metav1.Now(),
			}},
		}}})
	}
	c.endJob(job, failed)
}

// startPod makes the pod of a shard. That it is admitted shows that stage pods are restricted.
func (c *cluster) startPod(job *batchv1.Job, shard int, status corev1.PodStatus) {
	c.t.Helper()
	template := job.Spec.Template.DeepCopy()
	index := strconv.Itoa(shard)
	template.Labels[batchv1.JobCompletionIndexAnnotation] = index
	template.Annotations[batchv1.JobCompletionIndexAnnotation] = index
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: job.Namespace, GenerateName: job.Name + "-" + index + "-", Labels: template.Labels, Annotations: template.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: template.Spec,
	}
	c.create(pod)
	pod.Status = status
	c.must(c.Status().Update(c.t.Context(), pod))
}

// endJob records the end of a Job, with the shards that failed.
func (c *cluster) endJob(job *batchv1.Job, failed []string) {
	c.t.Helper()
	now := metav1.Now()
	condition := func(kind batchv1.JobConditionType, reason, message string) batchv1.JobCondition {
		return batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message, LastProbeTime: now, LastTransitionTime: now}
	}
	shards := *job.Spec.Completions
	s := &job.Status
	s.StartTime, s.Ready, s.Terminating = ptr.To(job.CreationTimestamp), ptr.To(int32(0)), ptr.To(int32(0))
	s.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	if len(failed) == 0 {
		s.Succeeded, s.CompletedIndexes, s.CompletionTime = shards, indexes(shards), &now
		s.Conditions = append(s.Conditions,
			condition(batchv1.JobSuccessCriteriaMet, "CompletionsReached", "Reached expected number of succeeded pods"),
			condition(batchv1.JobComplete, "CompletionsReached", "Reached expected number of succeeded pods"))
	} else {
		s.Failed = int32(len(failed))
		s.Conditions = append(s.Conditions,
			condition(batchv1.JobFailureTarget, "FailedIndexes", "Job has failed indexes"),
			condition(batchv1.JobFailed, "FailedIndexes", "Job has failed indexes"))
	}
	c.must(c.Status().Update(c.t.Context(), job))
}

func indexes(n int32) string {
	if n == 1 {
		return "0"
	}
	return fmt.Sprintf("0-%d", n-1)
}

// goodWord is the last word of a shard that succeeded: its outputs lie below the stage's own prefix.
func goodWord(spec contract.Spec, shard int) string {
	artifact := func(name string) contract.Artifact {
		key := path.Join(spec.Output, name)
		return contract.Artifact{Key: key, Digest: contract.Digest([]byte(key))}
	}
	manifest := artifact(fmt.Sprintf("%d/manifest.json", shard))
	t := contract.Termination{Class: contract.ExitDone.Class(), Manifest: &manifest, Outputs: map[string]contract.Artifact{}}
	for _, name := range spec.Outputs() {
		t.Outputs[name] = artifact(name)
	}
	switch spec.Stage {
	case contract.Prepare:
		t.Counts = map[string]int64{
			"train/prompts": 30, "train/total": 150, "train/missing": 150, "train/untracked": 150,
			"evaluation/prompts": 30, "evaluation/total": 600, "evaluation/missing": 600, "evaluation/untracked": 600,
		}
	case contract.Score:
		t.Counts = map[string]int64{"total": 150, "scored": 140, "invalid": 10, "missing": 0}
		t.Metrics = map[string]string{"meanScore": "0.5", "accuracy/0.7": accuracy(spec.Score.Index.Key)}
	case contract.Pair:
		t.Counts = map[string]int64{"pairs": 900, "usablePrompts": 25, "latest/winners": 60, "latest/losers": 80, "latest/invalid": 10}
	case contract.Train:
		t.Metrics = map[string]string{"loss": "0.61"}
	case contract.Compare:
		t.Metrics = map[string]string{"delta": "0.2", "lowerBound": "0.1", "upperBound": "0.3"}
	}
	data, err := json.Marshal(t)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// accuracy rises with every iteration: 0.35 for the base model, then 0.55, 0.75.
func accuracy(index string) string {
	for k, value := range []string{"0.35", "0.55", "0.75"} {
		if strings.Contains(index, fmt.Sprintf("/%04d/", k)) {
			return value
		}
	}
	return "0.1"
}

// collectGarbage plays the garbage collector: what has lost its owner goes, and what is deleted in the foreground
// goes after all that it owns.
func (c *cluster) collectGarbage() {
	c.t.Helper()
	if c.negligent {
		return
	}
	var all []client.Object
	// Owners are listed after what they own: whatever is seen was made by an owner that is seen, or that is gone.
	for _, list := range []client.ObjectList{
		&corev1.PodList{}, &batchv1.JobList{}, &v1alpha1.PreferenceDatasetList{}, &v1alpha1.ScoringBatchList{}, &v1alpha1.AlignmentRunList{},
	} {
		c.must(c.List(c.t.Context(), list, client.InNamespace(c.namespace)))
		c.must(meta.EachListItem(list, func(o runtime.Object) error {
			all = append(all, o.(client.Object))
			return nil
		}))
	}
	live, leaving := map[types.UID]bool{}, map[types.UID]bool{}
	for _, o := range all {
		live[o.GetUID()] = true
		leaving[o.GetUID()] = !o.GetDeletionTimestamp().IsZero()
	}
	owns := map[types.UID]bool{}
	for _, o := range all {
		owner := metav1.GetControllerOf(o)
		if owner == nil {
			continue
		}
		owns[owner.UID] = true
		if !live[owner.UID] || leaving[owner.UID] {
			c.must(client.IgnoreNotFound(c.Delete(c.t.Context(), o, client.PropagationPolicy(metav1.DeletePropagationForeground), client.GracePeriodSeconds(0))))
		}
	}
	for _, o := range all {
		if leaving[o.GetUID()] && !owns[o.GetUID()] && len(o.GetFinalizers()) > 0 {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
			c.must(client.IgnoreNotFound(c.Patch(c.t.Context(), o, patch)))
		}
	}
}

// describe is the state of the cluster, for a test that waits in vain.
func (c *cluster) describe() string {
	var text strings.Builder
	var runs v1alpha1.AlignmentRunList
	if err := c.List(context.Background(), &runs, client.InNamespace(c.namespace)); err == nil {
		for _, run := range runs.Items {
			data, _ := json.MarshalIndent(run.Status.Conditions, "", "  ")
			fmt.Fprintf(&text, "%s: %s\n", run.Name, data)
		}
	}
	var list batchv1.JobList
	if err := c.List(context.Background(), &list, client.InNamespace(c.namespace)); err == nil {
		for _, job := range list.Items {
			fmt.Fprintf(&text, "%s finished %v, deleted %v\n", job.Name, jobs.Finished(&job), job.DeletionTimestamp)
		}
	}
	return text.String()
}
