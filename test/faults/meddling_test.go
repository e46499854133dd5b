//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// meddling is something that a user does to a running stage.
type meddling struct {
	name string
	do   func(context.Context, *cluster, *batchv1.Job, *corev1.Pod) error
	// slow says that the Job controller takes its time to start another pod.
	slow bool
	// undo is set where the stage may be unable to go on by itself: then status must say so, until it is undone.
	undo func(context.Context, *cluster, *batchv1.Job) error
}

var meddlings = []meddling{
	{name: "delete the Job in the background", do: deleteJob(metav1.DeletePropagationBackground)},
	{name: "delete the Job in the foreground", do: deleteJob(metav1.DeletePropagationForeground)},
	{name: "delete the Job and orphan its pods", do: deleteJob(metav1.DeletePropagationOrphan)},
	{name: "delete the pod", slow: true, do: func(ctx context.Context, c *cluster, _ *batchv1.Job, pod *corev1.Pod) error {
		return c.Delete(ctx, pod)
	}},
	{name: "delete the batch or dataset, or the Job", do: func(ctx context.Context, c *cluster, job *batchv1.Job, _ *corev1.Pod) error {
		owner := metav1.GetControllerOf(job)
		named := metav1.ObjectMeta{Namespace: job.Namespace, Name: owner.Name}
		switch owner.Kind {
		case "ScoringBatch":
			return c.Delete(ctx, &v1alpha1.ScoringBatch{ObjectMeta: named})
		case "PreferenceDataset":
			return c.Delete(ctx, &v1alpha1.PreferenceDataset{ObjectMeta: named})
		default:
			return c.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground))
		}
	}},
	{name: "strip the Job's labels", do: patchJob(`{"metadata":{"labels":null}}`)},
	{name: "claim another attempt by the Job's label", do: patchJob(`{"metadata":{"labels":{"` + v1alpha1.LabelAttempt + `":"7"}}}`)},
	{name: "spoil the Job's digest", do: patchJob(`{"metadata":{"annotations":{"` + v1alpha1.AnnotationSpecDigest + `":"sha256:0"}}}`)},
	{
		name: "take the Job's owner away", do: patchJob(`{"metadata":{"ownerReferences":null}}`),
		undo: func(ctx context.Context, c *cluster, job *batchv1.Job) error {
			return client.IgnoreNotFound(deleteJob(metav1.DeletePropagationBackground)(ctx, c, job, nil))
		},
	},
	{name: "give the Job a deadline that is over", do: patchJob(`{"spec":{"activeDeadlineSeconds":1}}`)},
	{name: "strip the pod's labels", do: func(ctx context.Context, c *cluster, _ *batchv1.Job, pod *corev1.Pod) error {
		return c.Patch(ctx, pod, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":null}}`)))
	}},
	{
		name: "suspend the Job", do: patchJob(`{"spec":{"suspend":true}}`),
		undo: func(ctx context.Context, c *cluster, job *batchv1.Job) error {
			return patchJob(`{"spec":{"suspend":false}}`)(ctx, c, job, nil)
		},
	},
	{
		name: "let the Job have no pods", do: func(ctx context.Context, c *cluster, job *batchv1.Job, pod *corev1.Pod) error {
			return errors.Join(patchJob(`{"spec":{"parallelism":0}}`)(ctx, c, job, nil), client.IgnoreNotFound(c.Delete(ctx, pod)))
		},
		undo: func(ctx context.Context, c *cluster, job *batchv1.Job) error {
			return patchJob(fmt.Sprintf(`{"spec":{"parallelism":%d}}`, ptr.Deref(job.Spec.Completions, 1)))(ctx, c, job, nil)
		},
	},
}

func deleteJob(policy metav1.DeletionPropagation) func(context.Context, *cluster, *batchv1.Job, *corev1.Pod) error {
	return func(ctx context.Context, c *cluster, job *batchv1.Job, _ *corev1.Pod) error {
		return c.Delete(ctx, job, client.PropagationPolicy(policy))
	}
}

func patchJob(patch string) func(context.Context, *cluster, *batchv1.Job, *corev1.Pod) error {
	return func(ctx context.Context, c *cluster, job *batchv1.Job, _ *corev1.Pod) error {
		return client.IgnoreNotFound(c.Patch(ctx, job.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch))))
	}
}

// Item 23: in each stage a user edits or deletes what runs it. The run goes on by itself, or says what keeps it, within 60 s.
func TestMeddling(t *testing.T) {
	t.Parallel()
	u, c := references[1].get(t), shared
	namespace := c.namespace(t, "meddling")
	c.operate(t, "meddling", []string{namespace})
	report.describe(23, "%d edits and deletions of a Job, pod, batch, dataset or claim in each of %d stages: gone on, or said what keeps it, within 60 s",
		len(meddlings)+1, len(u.places))
	for i, m := range meddlings {
		parts := 1
		if m.slow || m.undo != nil {
			parts = 3
		}
		for part := range parts {
			t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
				t.Parallel()
				c.meddle(t, u, m, alignmentRun(namespace, fmt.Sprintf("run-%d-%d", i, part), 1), part, parts)
			})
		}
	}
}

// meddle does the same to a share of a run's stages, one after the other.
func (c *cluster) meddle(t *testing.T, u undisturbed, m meddling, run *v1alpha1.AlignmentRun, part, parts int) {
	t.Helper()
	var todo []jobs.Place
	for i, place := range u.places {
		if i%parts == part {
			todo = append(todo, place)
		}
	}
	n := len(todo)
	err := c.meddleAll(t, m, run, todo)
	if err == nil {
		err = c.ends(t.Context(), run)
	}
	if err == nil {
		err = c.found(run, u)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", m.name, err)
	}
	report.tried(t, 23, n, err)
}

func (c *cluster) meddleAll(t *testing.T, m meddling, run *v1alpha1.AlignmentRun, todo []jobs.Place) error {
	t.Helper()
	ctx := t.Context()
	held := c.kubelet.hold(podsOf(run, todo...))
	c.create(t, run)
	for len(todo) > 0 {
		var pod corev1.Pod
		err := eventually(ctx, patience, "the next stage runs", func() bool {
			pods := c.kubelet.running(ctx, run.Namespace, held.matches)
			if len(pods) > 0 {
				pod = pods[0]
			}
			return len(pods) > 0
		})
		if err != nil {
			held.drop()
			return err
		}
		place := placeOf(&pod)
		place.Attempt = 0
		var job batchv1.Job
		if err := c.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: metav1.GetControllerOf(&pod).Name}, &job); err != nil {
			return err
		}
		if err := m.do(ctx, c, &job, &pod); err != nil {
			return fmt.Errorf("in %s: %w", place.Stage, err)
		}
		todo = slices.DeleteFunc(todo, func(p jobs.Place) bool { return p == place })
		// What was not meddled with yet is held on; this stage may end.
		next := c.kubelet.hold(podsOf(run, append(todo, jobs.Place{Stage: "none"})...))
		held.drop()
		held = next
		if err := c.recovers(ctx, m, run, &job, place); err != nil {
			held.drop()
			return fmt.Errorf("in %s: %w", place.Stage, err)
		}
		c.history.forgive(ctx, c, &job)
	}
	held.drop()
	return nil
}

// recovers waits until a stage is recorded. Within a minute it is, or the run says what keeps it: something that has to be undone,
// or the Job controller, which may put a Job off for as long. Then it is once that is over.
func (c *cluster) recovers(ctx context.Context, m meddling, run *v1alpha1.AlignmentRun, job *batchv1.Job, place jobs.Place) error {
	since := time.Now()
	goneOn := func() bool {
		return c.Get(ctx, client.ObjectKeyFromObject(run), run) == nil && c.passed(run, job, place)
	}
	if m.undo == nil {
		err := eventually(ctx, time.Minute, "the stage goes on", goneOn)
		if err != nil && saysWhy(run) {
			err = eventually(ctx, patience, "the stage goes on", goneOn)
		}
		report.longest(23, "gone on after", time.Since(since))
		return c.explained(ctx, run, err)
	}
	err := eventually(ctx, time.Minute, "the stage goes on, or the run says what keeps it", func() bool { return goneOn() || saysWhy(run) })
	report.longest(23, "reason told after", time.Since(since))
	if err != nil || goneOn() {
		return c.explained(ctx, run, err)
	}
	if err := m.undo(ctx, c, job); err != nil {
		return err
	}
	return c.explained(ctx, run, eventually(ctx, patience, "the stage goes on once it is undone", goneOn))
}

// saysWhy reports whether a run says what keeps it: by a condition, or of one of its stages.
func saysWhy(run *v1alpha1.AlignmentRun) bool {
	if meta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.ConditionReconciling) {
		return true
	}
	for _, rec := range stagesOf(run) {
		if rec.State == v1alpha1.StageRunning && rec.Message != "" {
			return true
		}
	}
	return false
}

// passed reports whether the stage of a Job is recorded by the Job's owner, or by what took its place.
func (c *cluster) passed(run *v1alpha1.AlignmentRun, job *batchv1.Job, place jobs.Place) bool {
	if hasEnded(run) {
		return true
	}
	c.history.mu.Lock()
	defer c.history.mu.Unlock()
	owner := birth{uid: run.UID}
	for _, b := range c.history.births[run.UID] {
		if b.uid == metav1.GetControllerOf(job).UID {
			owner = b
		}
	}
	_, recorded := c.history.recorded[owner.uid][place]
	for _, b := range c.history.births[run.UID] {
		later := b.version > owner.version
		if b.place.Attempt = owner.place.Attempt; later && b.place == owner.place {
			_, again := c.history.recorded[b.uid][place]
			recorded = recorded || again
		}
	}
	return recorded
}

// Item 23, the claim: it is deleted while a stage runs; later stages cannot start, which status says, until it is back.
func TestDeletedClaim(t *testing.T) {
	t.Parallel()
	u, c := references[1].get(t), shared
	for i, place := range u.places {
		t.Run(fmt.Sprintf("%s-%d", place.Stage, place.Iteration), func(t *testing.T) {
			t.Parallel()
			namespace := c.namespace(t, fmt.Sprintf("claim-%d", i))
			c.operate(t, namespace, []string{namespace})
			report.tried(t, 23, 1, c.loseClaim(t, u, namespace, place))
		})
	}
}

func (c *cluster) loseClaim(t *testing.T, u undisturbed, namespace string, place jobs.Place) error {
	t.Helper()
	ctx, run := t.Context(), alignmentRun(namespace, runName, 1)
	claim := store(namespace)
	held := c.kubelet.hold(podsOf(run, place))
	c.create(t, run)
	err := eventually(ctx, patience, "the stage runs", func() bool { return len(c.kubelet.running(ctx, namespace, held.matches)) > 0 })
	if err != nil {
		held.drop()
		return err
	}
	if err := c.Delete(ctx, claim); err != nil {
		return err
	}
	held.drop()
	err = eventually(ctx, time.Minute, "the run says what it waits for, or has ended", func() bool {
		return c.Get(ctx, client.ObjectKeyFromObject(run), run) == nil && (saysWhy(run) || hasEnded(run))
	})
	if err != nil {
		return c.explained(ctx, run, err)
	}
	if err := eventually(ctx, patience, "the claim is gone", func() bool { return c.gone(ctx, claim) }); err != nil {
		return err
	}
	c.create(t, store(namespace))
	if err := c.ends(ctx, run); err != nil {
		return err
	}
	return c.found(run, u)
}
