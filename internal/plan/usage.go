package plan

import (
	"math"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// account brings the GPU time of all stages, iterations and the run up to date. It only ever grows: what vanished while it
// held GPUs is charged until it was seen gone.
func (r *runPlan) account() {
	dropped := r.status.GPUSeconds // of iterations that status no longer has
	for i := range r.status.Iterations {
		dropped -= r.status.Iterations[i].GPUSeconds
	}
	r.status.GPUSeconds = max(dropped, 0)
	for i := range r.status.Iterations {
		it := &r.status.Iterations[i]
		used := charge(it.Stages, *it.Iteration, r.Children, r.Now)
		it.GPUSeconds += used.seconds
		it.WastedGPUSeconds = used.waste(it.WastedGPUSeconds)
		r.status.GPUSeconds += it.GPUSeconds
		r.status.WastedGPUSeconds = used.waste(r.status.WastedGPUSeconds)
	}
	r.foresee()
}

// gpuTime is GPU time, and the parts of it that have ended.
type gpuTime struct{ seconds, failed, interrupted, succeeded int64 }

// plus and minus work part by part.
func (t gpuTime) plus(o gpuTime) gpuTime {
	return gpuTime{t.seconds + o.seconds, t.failed + o.failed, t.interrupted + o.interrupted, t.succeeded + o.succeeded}
}

func (t gpuTime) minus(o gpuTime) gpuTime {
	return gpuTime{t.seconds - o.seconds, t.failed - o.failed, t.interrupted - o.interrupted, t.succeeded - o.succeeded}
}

// open is the part that has not ended.
func (t gpuTime) open() int64 { return max(t.seconds-t.failed-t.interrupted-t.succeeded, 0) }

// ended is the time with the ends that are seen of it. What has an end keeps it, so that no second has two. What was counted beyond the
// end, as of a pod that was open, ended as the rest.
func (t gpuTime) ended(seen gpuTime, open bool) gpuTime {
	for _, part := range []struct {
		of   *int64
		seen int64
	}{{&t.failed, seen.failed}, {&t.interrupted, seen.interrupted}, {&t.succeeded, seen.succeeded}} {
		*part.of += min(max(part.seen-*part.of, 0), t.open())
	}
	switch rest := t.open(); {
	case open:
	case seen.failed > 0 && seen.failed == seen.seconds:
		t.failed += rest
	case seen.interrupted > 0 && seen.interrupted == seen.seconds:
		t.interrupted += rest
	default:
		t.succeeded += rest
	}
	return t
}

// waste is what was wasted before, and what was since.
func (t gpuTime) waste(before *v1alpha1.WastedGPUSeconds) *v1alpha1.WastedGPUSeconds {
	if t.failed == 0 && t.interrupted == 0 {
		return before
	}
	w := ptr.Deref(before, v1alpha1.WastedGPUSeconds{})
	w.Failed, w.Interrupted = w.Failed+t.failed, w.Interrupted+t.interrupted
	return &w
}

// charge adds to the records of an iteration's stages what their children used since, and returns how much that was.
func charge(records []v1alpha1.StageStatus, iteration int32, children []Child, now metav1.Time) gpuTime {
	var total gpuTime
	for i := range records {
		rec := &records[i]
		seen := seenUsage(rec, iteration, children, now)
		total = total.plus(chargeStage(rec, seen, now))
		if !open(*rec) {
			if rec.Usage = forget(rec.Usage, seen); len(rec.Usage) == 0 {
				rec.Usage, rec.UsageTime = nil, nil
			}
		}
	}
	return total
}

// seenUsage is the usage of a stage's children and pods that can still be seen.
func seenUsage(rec *v1alpha1.StageStatus, iteration int32, children []Child, now metav1.Time) []v1alpha1.GPUUsage {
	at := jobs.Place{Iteration: iteration, Round: ptr.Deref(rec.Round, 0), Stage: rec.Name}
	var seen []v1alpha1.GPUUsage
	for i := range children {
		if sameStage(children[i].Place, at) {
			seen = append(seen, children[i].usage(now)...)
		}
	}
	return seen
}

// forget drops the usage of what can be seen no more: it is in the total already.
func forget(usage, seen []v1alpha1.GPUUsage) []v1alpha1.GPUUsage {
	return slices.DeleteFunc(usage, func(u v1alpha1.GPUUsage) bool {
		return !slices.ContainsFunc(seen, func(s v1alpha1.GPUUsage) bool { return s.Name == u.Name })
	})
}

// chargeStage brings a stage's usage up to date with what is seen of its children and pods.
func chargeStage(rec *v1alpha1.StageStatus, seen []v1alpha1.GPUUsage, now metav1.Time) gpuTime {
	if len(seen) == 0 && !holdsGPUs(rec) {
		return gpuTime{}
	}
	var elapsed int64
	if rec.UsageTime != nil {
		elapsed = int64(math.Ceil(now.Sub(rec.UsageTime.Time).Seconds()))
	}
	before := sum(rec.Usage)
	for i := range rec.Usage {
		u := &rec.Usage[i]
		if u.GPUs > 0 && !slices.ContainsFunc(seen, func(s v1alpha1.GPUUsage) bool { return s.Name == u.Name }) {
			u.GPUSeconds, u.GPUs = ptr.To(*u.GPUSeconds+u.GPUs*max(elapsed, 0)), 0
			// It vanished before it was seen to end.
			u.WastedGPUSeconds = gpuTime{interrupted: timeOf(u).open()}.waste(u.WastedGPUSeconds)
		}
	}
	for _, s := range seen {
		i := slices.IndexFunc(rec.Usage, func(u v1alpha1.GPUUsage) bool { return u.Name == s.Name })
		if i < 0 {
			i, rec.Usage = len(rec.Usage), append(rec.Usage, v1alpha1.GPUUsage{Name: s.Name, GPUSeconds: s.GPUSeconds})
		}
		u := &rec.Usage[i]
		t := timeOf(u)
		t.seconds = max(t.seconds, *s.GPUSeconds)
		t = t.ended(timeOf(&s), s.GPUs > 0)
		u.GPUSeconds, u.GPUs = &t.seconds, s.GPUs
		u.WastedGPUSeconds, u.SucceededGPUSeconds = t.waste(nil), t.succeeded
	}
	grown := sum(rec.Usage).minus(before)
	rec.GPUSeconds += grown.seconds
	rec.WastedGPUSeconds = grown.waste(rec.WastedGPUSeconds)
	rec.SucceededGPUSeconds += grown.succeeded
	rec.UsageTime = &now
	if len(rec.Usage) > maxUsage {
		rec.Usage = forget(rec.Usage, seen)
	}
	return grown
}

// maxUsage is what status keeps of a stage's pods; a Job has at most jobs.MaxPods before it is replaced.
const maxUsage = 280

func sum(usage []v1alpha1.GPUUsage) gpuTime {
	var total gpuTime
	for i := range usage {
		total = total.plus(timeOf(&usage[i]))
	}
	return total
}

func timeOf(u *v1alpha1.GPUUsage) gpuTime {
	w := ptr.Deref(u.WastedGPUSeconds, v1alpha1.WastedGPUSeconds{})
	return gpuTime{*u.GPUSeconds, w.Failed, w.Interrupted, u.SucceededGPUSeconds}
}

func holdsGPUs(rec *v1alpha1.StageStatus) bool {
	return slices.ContainsFunc(rec.Usage, func(u v1alpha1.GPUUsage) bool { return u.GPUs > 0 })
}

// usesGPUs says that a pod of the run held GPUs when last looked at.
func (r *runPlan) usesGPUs() bool {
	for i := range r.status.Iterations {
		if slices.ContainsFunc(r.status.Iterations[i].Stages, func(rec v1alpha1.StageStatus) bool { return holdsGPUs(&rec) }) {
			return true
		}
	}
	return false
}

// usage of a child, as its pods or, where it is an object of our own, its status tells.
func (c *Child) usage(now metav1.Time) []v1alpha1.GPUUsage {
	if c.Batch != nil {
		return batchUsage(c.Batch, now)
	}
	var seen []v1alpha1.GPUUsage
	for _, u := range c.Outcome.Usage {
		entry := v1alpha1.GPUUsage{
			Name: u.Pod, GPUSeconds: ptr.To(u.GPUSeconds),
			WastedGPUSeconds: gpuTime{failed: u.Failed, interrupted: u.Interrupted}.waste(nil), SucceededGPUSeconds: u.Succeeded,
		}
		if u.Open {
			entry.GPUs = u.GPUs
		}
		seen = append(seen, entry)
	}
	return seen
}

// batchUsage is a batch's GPU time, with what its pods used since it was last counted.
func batchUsage(batch *v1alpha1.ScoringBatch, now metav1.Time) []v1alpha1.GPUUsage {
	entry := v1alpha1.GPUUsage{Name: batch.Name, WastedGPUSeconds: batch.Status.WastedGPUSeconds}
	total := batch.Status.GPUSeconds
	for i := range batch.Status.Stages {
		rec := &batch.Status.Stages[i]
		entry.SucceededGPUSeconds += rec.SucceededGPUSeconds
		counted := ptr.Deref(rec.UsageTime, now)
		for _, u := range rec.Usage {
			entry.GPUs += u.GPUs
			total += u.GPUs * max(int64(math.Ceil(now.Sub(counted.Time).Seconds())), 0)
		}
	}
	if total == 0 && entry.GPUs == 0 {
		return nil
	}
	entry.GPUSeconds = &total
	return []v1alpha1.GPUUsage{entry}
}
