package jobs

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// Demand is what a Job has of GPUs and what it lacks.
type Demand struct {
	// InUse are the GPUs of its pods that have a node and have not ended.
	InUse int64
	// Waiting are those that it asks for beyond.
	Waiting int64
	// Waited is how long it has existed, or been suspended, without any pod that ran; 0 once one has.
	Waited time.Duration
}

// Demanded reads a Job's demand from the Job and its pods; counted is what of a pod are GPUs.
func Demanded(job *batchv1.Job, pods []corev1.Pod, counted GPUs, now time.Time) Demand {
	var d Demand
	ran := job.Status.Succeeded+job.Status.Failed > 0
	for i := range pods {
		p := &pods[i]
		ran = ran || !began(p).IsZero()
		if _, placed := scheduled(p); placed && !over(p) {
			d.InUse += counted.Of(&p.Spec)
		}
	}
	if Finished(job) || job.DeletionTimestamp != nil {
		return d
	}
	wanted := min(ptr.Deref(job.Spec.Parallelism, 1), ptr.Deref(job.Spec.Completions, 1)-job.Status.Succeeded)
	each := counted.Of(&job.Spec.Template.Spec)
	d.Waiting = max(int64(wanted)*each-d.InUse, 0)
	if !ran {
		since := job.CreationTimestamp.Time
		if c := jobCondition(job, batchv1.JobSuspended); c != nil {
			since = latest(since, c.LastTransitionTime.Time)
		}
		d.Waited = max(now.Sub(since), 0)
	}
	return d
}
