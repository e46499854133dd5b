package controllers

import (
	"cmp"
	"context"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/plan"
)

// ownerIndex finds Jobs, pods, batches and datasets by the UID of their owner.
const ownerIndex = "owner-uid"

// family is an object that owns stages, with the records it keeps of them.
type family struct {
	owner client.Object
	// nested says that the Score and Pair stages are objects of their own kinds.
	nested bool
	// records by iteration.
	records map[int32][]v1alpha1.StageStatus
	// look says that it is time to read the progress of running pods.
	look bool
	// gpus is what of a pod are GPUs.
	gpus jobs.GPUs
}

// children observes all live children of a family.
func (e *Engine) children(ctx context.Context, f family) ([]plan.Child, error) {
	scope := []client.ListOption{client.InNamespace(f.owner.GetNamespace()), client.MatchingFields{ownerIndex: string(f.owner.GetUID())}}
	var jobList batchv1.JobList
	if err := e.Client.List(ctx, &jobList, scope...); err != nil {
		return nil, err
	}
	var objects []client.Object
	for i := range jobList.Items {
		objects = append(objects, &jobList.Items[i])
	}
	if f.nested {
		var batches v1alpha1.ScoringBatchList
		if err := e.Client.List(ctx, &batches, scope...); err != nil {
			return nil, err
		}
		for i := range batches.Items {
			objects = append(objects, &batches.Items[i])
		}
		var datasets v1alpha1.PreferenceDatasetList
		if err := e.Client.List(ctx, &datasets, scope...); err != nil {
			return nil, err
		}
		for i := range datasets.Items {
			objects = append(objects, &datasets.Items[i])
		}
	}
	unseen, err := e.unseen(ctx, f, objects)
	if err != nil {
		return nil, err
	}
	var children []plan.Child
	for _, o := range append(objects, unseen...) {
		if !metav1.IsControlledBy(o, f.owner) || kindOf(o) != kindOf(f.empty(place(o).Stage)) {
			continue
		}
		child, err := e.child(ctx, f, o)
		if err != nil {
			return nil, err
		}
		children = append(children, child)
	}
	return children, nil
}

// unseen reads from the API server the children that the records call running, or tell GPU time of, and the cache does not have:
// a cache that is behind must not look like a child that vanished.
func (e *Engine) unseen(ctx context.Context, f family, seen []client.Object) ([]client.Object, error) {
	names := make(map[string]bool, len(seen))
	for _, o := range seen {
		names[o.GetName()] = true
	}
	var found []client.Object
	for _, records := range f.records {
		for _, rec := range records {
			stopping := rec.State == v1alpha1.StageStopped && len(rec.Usage) > 0
			if rec.State != v1alpha1.StageRunning && !stopping || rec.Child == "" || names[rec.Child] {
				continue
			}
			o := f.empty(rec.Name)
			switch err := e.Live.Get(ctx, client.ObjectKey{Namespace: f.owner.GetNamespace(), Name: rec.Child}, o); {
			case err == nil:
				found = append(found, o)
			case client.IgnoreNotFound(err) != nil:
				return nil, err
			}
		}
	}
	return found, nil
}

// empty is an empty object of the kind that a stage's child is of.
func (f family) empty(stage v1alpha1.StageName) client.Object {
	switch stage {
	case v1alpha1.StageScore, v1alpha1.StageEvaluationScore, v1alpha1.StageReevaluationScore, v1alpha1.StageTestScore:
		if f.nested {
			return &v1alpha1.ScoringBatch{}
		}
	case v1alpha1.StagePair:
		if f.nested {
			return &v1alpha1.PreferenceDataset{}
		}
	}
	return &batchv1.Job{}
}

func (f family) recorded(p jobs.Place) bool {
	for _, rec := range f.records[p.Iteration] {
		if rec.Name == p.Stage && ptr.Deref(rec.Round, 0) == p.Round {
			// A lost pod of an earlier attempt may still hold GPUs.
			return rec.State == v1alpha1.StageSucceeded && ptr.Deref(rec.Attempt, 0) == p.Attempt
		}
	}
	return false
}

func (e *Engine) child(ctx context.Context, f family, o client.Object) (plan.Child, error) {
	c := plan.Child{Object: o, Place: place(o), Deleting: !o.GetDeletionTimestamp().IsZero()}
	switch o := o.(type) {
	case *v1alpha1.ScoringBatch:
		c.Batch, c.Outcome = o, nestedOutcome(o.Status.Conditions, o.Status.Stages)
	case *v1alpha1.PreferenceDataset:
		c.Dataset, c.Outcome = o, nestedOutcome(o.Status.Conditions, o.Status.Stages)
	case *batchv1.Job:
		err := e.job(ctx, f, o, &c)
		return c, err
	}
	return c, nil
}

func (e *Engine) job(ctx context.Context, f family, job *batchv1.Job, c *plan.Child) error {
	if f.recorded(c.Place) {
		// Its result is in status; only whether it still runs matters.
		c.Outcome.State = jobs.Succeeded
		if !jobs.Finished(job) {
			c.Outcome.State = jobs.Active
			c.Outcome.Endless = ptr.Deref(job.Spec.Suspend, false) // it had succeeded when a queue took its quota back
		}
		return nil
	}
	var pods corev1.PodList
	if err := e.Client.List(ctx, &pods, client.InNamespace(job.Namespace), client.MatchingFields{ownerIndex: string(job.UID)}); err != nil {
		return err
	}
	outcome, complete := jobs.Read(job, pods.Items, e.Clock.Now(), f.gpus)
	if !complete {
		// Job and pods arrive on different watches: ask before calling a pod's last word lost.
		selector := client.MatchingLabels{batchv1.ControllerUidLabel: string(job.UID)}
		if err := e.Live.List(ctx, &pods, client.InNamespace(job.Namespace), selector); err != nil {
			return err
		}
		outcome, _ = jobs.Read(job, pods.Items, e.Clock.Now(), f.gpus)
	}
	if jobs.InQueue(job) {
		outcome = jobs.Enqueued(outcome, job, e.Kueue.look(job), e.Clock.Now())
	}
	c.Outcome, c.Size = outcome, jobs.SizeOf(job, pods.Items, e.Clock.Now())
	if outcome.State == jobs.Active && f.look {
		c.Progress = e.Progress.Read(ctx, jobs.Telling(job, pods.Items))
	}
	if outcome.State == jobs.Active && jobs.Gang(job) {
		var s corev1.Service
		err := e.Live.Get(ctx, client.ObjectKeyFromObject(job), &s)
		c.Unnamed = apierrors.IsNotFound(err)
		return client.IgnoreNotFound(err)
	}
	return nil
}

// nestedOutcome is the outcome of a child that is an object of our own.
func nestedOutcome(conditions []metav1.Condition, stages []v1alpha1.StageStatus) jobs.Outcome {
	if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionFailed); c != nil && c.Status == metav1.ConditionTrue {
		// Its own retries are used up.
		return jobs.Outcome{State: jobs.Failed, Class: c.Reason, Message: c.Message, Final: true}
	}
	if meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionComplete) {
		o := jobs.Outcome{State: jobs.Succeeded}
		for i := range stages {
			switch rec := &stages[i]; rec.Name {
			case v1alpha1.StageTrack:
				o.TrackImage = rec.Image
			case v1alpha1.StageScore, v1alpha1.StagePair:
				o.Image = rec.Image
			}
		}
		return o
	}
	o := jobs.Outcome{State: jobs.Active}
	for i := range stages {
		if rec := &stages[i]; rec.State == v1alpha1.StageRunning && rec.Message != "" {
			o.Message = string(rec.Name) + ": " + rec.Message
		}
	}
	if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionReconciling); c != nil && c.Status == metav1.ConditionTrue {
		o.Message = c.Reason + ": " + c.Message
	}
	if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionQuotaReserved); c != nil && c.Status == metav1.ConditionFalse {
		o.Queued, o.QueueReason, o.Message = true, c.Reason, c.Message
	}
	return o
}

// place of a child, from its labels.
func place(o client.Object) jobs.Place {
	l := o.GetLabels()
	return jobs.Place{
		Iteration: number(l[v1alpha1.LabelIteration]), Round: number(cmp.Or(l[v1alpha1.LabelRound], "0")), Stage: v1alpha1.StageName(l[v1alpha1.LabelStage]), Attempt: number(l[v1alpha1.LabelAttempt]),
	}
}

// number of a label that we wrote; a child whose label somebody spoilt is in no place of the plan.
func number(s string) int32 {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return -1
	}
	return int32(n)
}
