package jobs

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// tried is how long the Job controller may take to create a pod. What is missing later was refused, once or twice.
const tried = 5 * time.Second

// Size is how many pods a Job that has not ended has and may have at a time.
type Size struct {
	// Bounds that the Job was built with; zero where its parallelism is somebody else's: a queue's.
	Bounds
	// Now is its parallelism.
	Now int32
	// Live pods have not ended; Missing ones the Job controller has still to create.
	Live, Missing int32
	// Tried says that the Job controller had the time to create what is missing.
	Tried bool
}

// Bounds of a Job's parallelism: the least that is worth starting with, and the most.
type Bounds struct{ Least, Most int32 }

// Ours says that the parallelism is the operator's to change.
func (b Bounds) Ours() bool { return b.Most > 0 }

// bound writes the bounds on a Job that is in no queue.
func (s scheduling) bound(job *batchv1.Job) {
	if s.queue == "" {
		job.Annotations[v1alpha1.AnnotationMinParallel] = strconv.Itoa(int(s.least))
		job.Annotations[v1alpha1.AnnotationMaxParallel] = strconv.Itoa(int(s.parallel))
	}
}

// BoundsOf a Job, as it tells them itself, for as many shards as are not done.
func BoundsOf(job *batchv1.Job) Bounds {
	most, err := strconv.ParseInt(job.Annotations[v1alpha1.AnnotationMaxParallel], 10, 32)
	if err != nil || job.Labels[labelQueue] != "" {
		return Bounds{}
	}
	least, err := strconv.ParseInt(job.Annotations[v1alpha1.AnnotationMinParallel], 10, 32)
	if err != nil {
		least = 1
	}
	b := Bounds{Most: max(min(int32(most), unfinished(job)), 1)}
	b.Least = max(min(int32(least), b.Most), 1)
	return b
}

// Least is how many pods a new Job is not worth creating without room for. A queue admits all that it asks for at a time, but where the
// Job tells it to do with fewer.
func Least(job *batchv1.Job) int32 {
	if b := BoundsOf(job); b.Ours() {
		return b.Least
	}
	if least, err := strconv.ParseInt(job.Annotations[annotationMinParallelism], 10, 32); err == nil {
		return int32(least)
	}
	return ptr.Deref(job.Spec.Parallelism, 1)
}

// narrowed says that a queue has admitted a Job with fewer pods than its shards that are not done might have; empty otherwise.
func narrowed(job *batchv1.Job) string {
	queue, now := job.Labels[labelQueue], ptr.Deref(job.Spec.Parallelism, 1)
	asked, err := strconv.ParseInt(job.Annotations[v1alpha1.AnnotationMaxParallel], 10, 32)
	most := min(int32(asked), unfinished(job))
	if queue == "" || err != nil || now >= most {
		return ""
	}
	return fmt.Sprintf("%d of %d pods at a time: queue %s has admitted no more", now, most, queue)
}

// SizeOf a Job with these pods.
func SizeOf(job *batchv1.Job, pods []corev1.Pod, now time.Time) Size {
	s := Size{Bounds: BoundsOf(job), Now: ptr.Deref(job.Spec.Parallelism, 1)}
	since := job.CreationTimestamp.Time
	if job.Status.StartTime != nil {
		since = latest(since, job.Status.StartTime.Time)
	}
	succeeded := int32(0)
	for i := range pods {
		switch p := &pods[i]; {
		case !over(p):
			s.Live++
			since = latest(since, p.CreationTimestamp.Time)
		default:
			if t := terminated(p); t != nil {
				since = latest(since, t.FinishedAt.Time)
			}
			if p.Status.Phase == corev1.PodSucceeded {
				succeeded++
			}
		}
	}
	if !ptr.Deref(job.Spec.Suspend, false) {
		left := unfinished(job) - max(succeeded-job.Status.Succeeded, 0) // the Job controller may not have counted them yet
		s.Missing = max(min(s.Now, left)-s.Live, 0)
	}
	s.Tried = now.Sub(since) >= tried
	return s
}

// unfinished is how many shards of the Job have neither succeeded nor failed for good.
func unfinished(job *batchv1.Job) int32 {
	return max(ptr.Deref(job.Spec.Completions, 1)-job.Status.Succeeded-count(ptr.Deref(job.Status.FailedIndexes, "")), 0)
}

// count the indexes in a list such as "1,3-5".
func count(indexes string) int32 {
	n := int32(0)
	for part := range strings.SplitSeq(indexes, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := strconv.ParseInt(first, 10, 32)
		if err != nil {
			continue
		}
		to := from
		if isRange {
			if to, err = strconv.ParseInt(last, 10, 32); err != nil || to < from {
				continue
			}
		}
		n += int32(to-from) + 1
	}
	return n
}
