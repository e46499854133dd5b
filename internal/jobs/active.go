package jobs

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

const (
	// MaxInterruptions is how many pods of one Job may say that they were interrupted (exit code 75 or 143) before
	// the attempt counts as failed. The Job's failure policy ignores such pods, so that the Job alone would replace
	// them for ever. Pods that Kubernetes itself disrupted do not count.
	MaxInterruptions = 10
	// MaxPods is how many pods a Job may have, with those that ended. Kubernetes replaces disrupted pods for ever;
	// the next attempt starts with an empty list, so that no status and no ledger outgrows its bound.
	MaxPods = 256
	// NodeLost is how long after the end of its grace period a deleted pod may still be there. Its node's kubelet
	// would have ended it: the node is gone, and may never say what became of the pod.
	NodeLost = time.Minute
	// podless is how long a Job may have no pod before that is worth saying: the Job controller creates pods within
	// seconds, or is refused.
	podless = 20 * time.Second
)

// active is the outcome of a Job that Kubernetes has not ended.
func active(job *batchv1.Job, pods []corev1.Pod, now time.Time) Outcome {
	n, last := interruptions(pods)
	switch gone := lost(pods, now); {
	case gone != nil:
		return nodeLost(job, gone, pods)
	case len(pods) > MaxPods:
		o, _ := failure(job, &batchv1.JobCondition{Reason: ClassTooManyPods}, pods)
		o.Endless, o.Message = true, clip(because(fmt.Sprintf("more than %d pods", MaxPods), o.Message))
		return o
	case n >= MaxInterruptions:
		return Outcome{
			State: Failed, Class: contract.ExitCheckpointed.Class(), Endless: true,
			Message: clip(fmt.Sprintf("interrupted %d times without an end: %s", n, said(last))),
		}
	case ptr.Deref(job.Spec.Parallelism, 1) == 0 && BoundsOf(job).Ours():
		return Outcome{State: Active, Queued: true, Stranded: stranded(pods), Message: fmt.Sprintf("Job %s may have no pod yet", job.Name)}
	case ptr.Deref(job.Spec.Parallelism, 1) == 0:
		return Outcome{State: Active, Stranded: stranded(pods), Message: fmt.Sprintf("parallelism of Job %s is 0: somebody has to raise it", job.Name)}
	case ptr.Deref(job.Spec.Suspend, false):
		if o := overtaken(job, pods); o != nil {
			return *o
		}
		return Outcome{State: Active, Queued: true, Message: suspended(job)}
	}
	if o := broken(job, pods); o != nil {
		return *o
	}
	o := Outcome{State: Active, Stuck: clip(cmp.Or(stuck(pods, now), incomplete(job, pods, now))), Stranded: stranded(pods)}
	o.Queued = o.Stuck == "" && queued(pods) && !admitted(job, pods, now)
	switch unscheduled := waiting(pods); {
	case o.Stuck != "":
		o.Message = o.Stuck
	case unscheduled != "":
		o.Message = clip(unscheduled)
	case n > 0:
		o.Message = clip(fmt.Sprintf("interrupted %d time(s); the last said: %s", n, said(last)))
	case len(pods) == 0 && now.Sub(begun(job, now)) > podless:
		o.Message = fmt.Sprintf("no pod of Job %s exists yet: quota or admission may refuse it, see kubectl describe job %s", job.Name, job.Name)
	default:
		o.Message = narrowed(job)
	}
	return o
}

// overtaken is the outcome of a Job that had come to its end when it was suspended, and of a gang whose pods were stopped by that; nil
// where there is none. Kueue takes the start time of a Job that it evicts, and without one the API server lets no Job end: the Job
// controller tries for ever, Kueue waits for the Job controller, and whoever was to have the GPUs waits for Kueue.
func overtaken(job *batchv1.Job, pods []corev1.Pod) *Outcome {
	if c := jobCondition(job, batchv1.JobFailureTarget); c != nil {
		o, told := failure(job, c, pods)
		if !told && !o.Final { // its pods are gone: they were deleted
			o.Class, o.Disrupted = ClassDisrupted, true
		}
		o.Endless = true
		return &o
	}
	if o, _ := success(job, pods); o.State == Succeeded {
		return &o
	}
	return nil
}

// begun is since when the Job may have pods: a queue may have held it for long.
func begun(job *batchv1.Job, now time.Time) time.Time {
	switch {
	case jobCondition(job, batchv1.JobSuspended) != nil:
		return now // the Job controller has not noticed yet that it may go on
	case job.Status.StartTime != nil:
		return job.Status.StartTime.Time
	default:
		return job.CreationTimestamp.Time
	}
}

// stranded says that the Job controller keeps a pod that has ended and is being deleted: it counts the failures of an
// index from pod to pod, and holds the last one until the next exists.
func stranded(pods []corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(p corev1.Pod) bool {
		return over(&p) && p.DeletionTimestamp != nil && slices.Contains(p.Finalizers, batchv1.JobTrackingFinalizer)
	})
}

// lost is a pod that should have ended and has not; nil where there is none.
func lost(pods []corev1.Pod, now time.Time) *corev1.Pod {
	for i := range pods {
		p := &pods[i]
		_, placed := scheduled(p)
		// A deletion timestamp is the end of the grace period, not its beginning.
		if placed && !over(p) && p.DeletionTimestamp != nil && now.Sub(p.DeletionTimestamp.Time) > NodeLost {
			return p
		}
	}
	return nil
}

// nodeLost is the outcome of a Job that waits for the lost pod. If it fails for another reason, that reason remains.
func nodeLost(job *batchv1.Job, gone *corev1.Pod, pods []corev1.Pod) Outcome {
	o := Outcome{
		State: Failed, Class: ClassNodeLost, Disrupted: true,
		Message: fmt.Sprintf("pod %s did not end within %s of its grace period: node %s is lost", gone.Name, NodeLost, gone.Spec.NodeName),
	}
	if c := jobCondition(job, batchv1.JobFailureTarget); c != nil {
		o, _ = failure(job, c, pods)
	}
	o.Endless, o.Lost = true, true
	return o
}

// interruptions counts the pods that ended as interrupted although nobody disrupts or deletes them, and returns the
// last one; nil where there is none.
func interruptions(pods []corev1.Pod) (n int, last *corev1.Pod) {
	for i := range pods {
		p := &pods[i]
		t := terminated(p)
		if t == nil || !interrupted(t) || disturbed(p) {
			continue
		}
		n++
		if last == nil || later(p, last) {
			last = p
		}
	}
	return n, last
}

// suspended says who is to unsuspend the Job.
func suspended(job *batchv1.Job) string {
	if queue := job.Labels[labelQueue]; queue != "" {
		return fmt.Sprintf("queue %s has not admitted Job %s", queue, job.Name)
	}
	return fmt.Sprintf("Job %s is suspended", job.Name)
}

// queued says that no pod holds a node, and one waits or is yet to be made.
func queued(pods []corev1.Pod) bool {
	waits := len(pods) == 0
	for i := range pods {
		p := &pods[i]
		if over(p) {
			continue
		}
		if _, placed := scheduled(p); placed {
			return false
		}
		waits = true
	}
	return waits
}

// admitted says that a queue has just let the Job go on, or its run: its pods are yet to be made, or to be given their nodes.
func admitted(job *batchv1.Job, pods []corev1.Pod, now time.Time) bool {
	waited := job.Labels[labelQueue] != "" || job.Annotations[v1alpha1.AnnotationReservation] != ""
	return waited && now.Sub(begun(job, now)) <= podless && waiting(slices.DeleteFunc(slices.Clone(pods), gated)) == ""
}

// gated says that the scheduler does not look at the pod yet: Kueue gates the pods of a Job with a topology, until each has its place.
func gated(p corev1.Pod) bool {
	c := podCondition(&p, corev1.PodScheduled)
	return c != nil && c.Reason == corev1.PodReasonSchedulingGated
}

// over says that the pod has ended.
func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// scheduled is when the pod was given its node, by whatever the status still tells; false while it has none.
func scheduled(p *corev1.Pod) (time.Time, bool) {
	if c := podCondition(p, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionTrue {
		return c.LastTransitionTime.Time, true
	}
	if p.Spec.NodeName != "" || p.Status.Phase == corev1.PodRunning {
		return p.CreationTimestamp.Time, true
	}
	return time.Time{}, false
}
