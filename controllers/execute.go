package controllers

import (
	"context"
	"errors"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/plan"
)

// notCreated says why something could not be created.
type notCreated struct {
	// child is its name in the records; empty of what is none, such as the Service of a Job.
	child string
	err   error
}

// refused reports whether trying again at once is of no use: the API server understood the request and said no, or
// somebody has to make room.
func (n notCreated) refused() bool {
	var taken nameTaken
	return errors.As(n.err, &taken) || apierrors.IsForbidden(n.err) || apierrors.IsInvalid(n.err) || apierrors.IsRequestEntityTooLargeError(n.err)
}

// nameTaken says that the name of a child is held by an object that is not that child.
type nameTaken string

func (t nameTaken) Error() string { return string(t) }

// behind asks whether an object has another version by now than the plan went by, or is gone. A deletion cannot be taken
// back, and the caches of an operator that was held up, such as a former leader, may know a child before they know that its
// owner's status has come to it.
func (e *Engine) behind(ctx context.Context, o client.Object) (bool, error) {
	live := o.DeepCopyObject().(client.Object)
	if err := e.Live.Get(ctx, client.ObjectKeyFromObject(o), live); err != nil {
		return true, client.IgnoreNotFound(err)
	}
	return live.GetResourceVersion() != o.GetResourceVersion(), nil
}

// execute creates and deletes children. Each is tried, whatever became of the others.
func (e *Engine) execute(ctx context.Context, create, remove []plan.Object) ([]notCreated, error) {
	var failed []notCreated
	for _, o := range create {
		if err := e.create(ctx, o); err != nil {
			failed = append(failed, notCreated{recorded(o), err})
			continue
		}
		if job, ok := o.(*batchv1.Job); ok && jobs.Gang(job) {
			// It is owned by the Job, which has no UID before it exists. The next plan makes what is lost here.
			if err := e.create(ctx, jobs.Service(job)); err != nil {
				failed = append(failed, notCreated{err: err})
			}
		}
	}
	var errs []error
	for _, o := range remove {
		uid, how := o.GetUID(), metav1.DeletePropagationForeground
		if kindOf(o) == "Workload" {
			how = metav1.DeletePropagationBackground // it has no pods to wait for
		}
		err := e.Client.Delete(ctx, o, &client.DeleteOptions{PropagationPolicy: &how, Preconditions: &metav1.Preconditions{UID: &uid}})
		if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			errs = append(errs, fmt.Errorf("delete %s: %w", o.GetName(), err))
		}
	}
	return failed, errors.Join(errs...)
}

// resize sets the parallelism of Jobs. None is lowered below the pods that it has by now.
func (e *Engine) resize(ctx context.Context, list []plan.Resize) error {
	var errs []error
	for _, r := range list {
		if r.Parallelism < ptr.Deref(r.Job.Spec.Parallelism, 1) {
			more, err := e.livelier(ctx, r)
			if errs = append(errs, err); err != nil || more {
				continue // the cache is behind
			}
		}
		// Of this version only: a newer one may have been given more pods, and a higher number than the cache shows lower it.
		patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"resourceVersion":%q},"spec":{"parallelism":%d}}`, r.Job.UID, r.Job.ResourceVersion, r.Parallelism)
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: r.Job.Namespace, Name: r.Job.Name}}
		switch err := e.Client.Patch(ctx, job, client.RawPatch(types.MergePatchType, patch)); {
		case err == nil:
			e.rooms.made(job, e.Clock.Now())
		case client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err):
			errs = append(errs, fmt.Errorf("set the parallelism of Job %s to %d: %w", r.Job.Name, r.Parallelism, err))
		}
	}
	return errors.Join(errs...)
}

// livelier asks whether a Job has more pods than the plan saw.
func (e *Engine) livelier(ctx context.Context, r plan.Resize) (bool, error) {
	var pods corev1.PodList
	selector := client.MatchingLabels{batchv1.ControllerUidLabel: string(r.Job.UID)}
	if err := e.Live.List(ctx, &pods, client.InNamespace(r.Job.Namespace), selector); err != nil {
		return false, err
	}
	return jobs.SizeOf(r.Job, pods.Items, e.Clock.Now()).Live > r.Live, nil
}

// create makes a child. One that exists already under the name must be ours and for the same work.
func (e *Engine) create(ctx context.Context, o plan.Object) error {
	err := e.Client.Create(ctx, o)
	if job, ok := o.(*batchv1.Job); ok && err == nil {
		e.rooms.made(job, e.Clock.Now())
	}
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	wanted := o.DeepCopyObject().(client.Object)
	if err := e.Live.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return err
	}
	owner := metav1.GetControllerOf(wanted)
	if holder := metav1.GetControllerOf(o); holder == nil || holder.UID != owner.UID {
		return nameTaken(fmt.Sprintf("%s %q exists and belongs to somebody else: delete it", kindOf(o), o.GetName()))
	}
	digest := v1alpha1.AnnotationSpecDigest
	if o.GetAnnotations()[digest] != wanted.GetAnnotations()[digest] {
		return nameTaken(fmt.Sprintf("%s %q exists with another spec digest: delete it", kindOf(o), o.GetName()))
	}
	return nil
}

// recorded is the name of a child in the records; empty of what is none.
func recorded(o client.Object) string {
	switch kindOf(o) {
	case "Service", "Workload": // a Service has the name of its Job
		return ""
	default:
		return o.GetName()
	}
}

func kindOf(o client.Object) string {
	switch o.(type) {
	case *unstructured.Unstructured:
		return "Workload"
	case *corev1.Service:
		return "Service"
	case *v1alpha1.AlignmentRuntime:
		return "AlignmentRuntime"
	case *v1alpha1.AlignmentRun:
		return "AlignmentRun"
	case *v1alpha1.ScoringBatch:
		return "ScoringBatch"
	case *v1alpha1.PreferenceDataset:
		return "PreferenceDataset"
	default:
		return "Job"
	}
}
