package jobs

import (
	"math"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// PodUsage is the GPU time of one pod.
type PodUsage struct {
	// Pod is its name.
	Pod string
	// GPUs that it holds, above 0.
	GPUs int64
	// GPUSeconds are GPUs times the seconds from its scheduling to its end, rounded up.
	GPUSeconds int64
	// Open says that it has not ended: its GPUSeconds are counted until now.
	Open bool
	// Failed, Interrupted and Succeeded are the parts of GPUSeconds of pods that ended by a fault of their own, by what others did
	// to them, and well. The rest is open.
	Failed, Interrupted, Succeeded int64
}

// otherPods is the name under which pods beyond MaxPods are counted together.
const otherPods = "others"

// usage counts the pods that hold or held GPUs. A pod does so from its scheduling on, whether or not it starts.
func usage(pods []corev1.Pod, counted GPUs, now time.Time) []PodUsage {
	var list []PodUsage
	for i := range pods {
		p := &pods[i]
		start, placed := scheduled(p)
		n := counted.Of(&p.Spec)
		if !placed || n <= 0 {
			continue
		}
		u := PodUsage{Pod: p.Name, GPUs: n, GPUSeconds: n * seconds(start, now, p), Open: !over(p)}
		switch {
		case u.Open:
		case p.Status.Phase != corev1.PodFailed:
			u.Succeeded = u.GPUSeconds
		case weight(p) >= weightFailed:
			u.Failed = u.GPUSeconds
		default:
			u.Interrupted = u.GPUSeconds
		}
		if len(list) == MaxPods {
			list = append(list, PodUsage{Pod: otherPods})
		}
		if len(list) > MaxPods {
			rest := &list[MaxPods]
			rest.GPUs, rest.GPUSeconds, rest.Open = rest.GPUs+u.GPUs, rest.GPUSeconds+u.GPUSeconds, rest.Open || u.Open
			rest.Failed, rest.Interrupted, rest.Succeeded = rest.Failed+u.Failed, rest.Interrupted+u.Interrupted, rest.Succeeded+u.Succeeded
			continue
		}
		list = append(list, u)
	}
	return list
}

// seconds that the pod held its node, rounded up. Scheduler and node have clocks of their own: a container's own run,
// by one clock, is the least that counts, and an end before the start is none.
func seconds(start, now time.Time, p *corev1.Pod) int64 {
	if t := terminated(p); t != nil && !t.StartedAt.IsZero() && t.StartedAt.Time.Before(start) {
		start = t.StartedAt.Time
	}
	end := ended(p, now)
	if end.Before(start) {
		end = now
	}
	return int64(math.Ceil(max(end.Sub(start), 0).Seconds()))
}

// ended is when the pod let go of its node; now, if it has not or nothing tells.
//
// A pod that ended before its container ran, or whose container was gone when its kubelet looked, has no finishing
// time, and the last change of its conditions is its end. One that is deleted besides may have been given up long
// after that change, and is about to vanish: until then it counts.
func ended(p *corev1.Pod, now time.Time) time.Time {
	if !over(p) {
		return now
	}
	containers := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
	if finished, known := finishing(containers); known {
		return finished
	}
	var changed time.Time
	if len(containers) == 0 && p.Status.StartTime != nil {
		changed = p.Status.StartTime.Time // the kubelet refused it when it first saw it
	}
	for _, c := range p.Status.Conditions {
		if c.Type != corev1.PodScheduled {
			changed = latest(changed, c.LastTransitionTime.Time)
		}
	}
	if changed.IsZero() || p.DeletionTimestamp != nil {
		return now
	}
	return changed
}

// finishing is when the last container ended, if all say when they did.
func finishing(containers []corev1.ContainerStatus) (last time.Time, known bool) {
	for i := range containers {
		t := containers[i].State.Terminated
		if t == nil || t.FinishedAt.IsZero() {
			return time.Time{}, false
		}
		last = latest(last, t.FinishedAt.Time)
	}
	return last, len(containers) > 0
}

// waited is how long a Job waited for its first pod to run; nil while none that can be seen has.
func waited(job *batchv1.Job, pods []corev1.Pod) *time.Duration {
	var first time.Time
	for i := range pods {
		if ran := began(&pods[i]); !ran.IsZero() && (first.IsZero() || ran.Before(first)) {
			first = ran
		}
	}
	if first.IsZero() {
		return nil
	}
	return ptr.To(max(first.Sub(job.CreationTimestamp.Time), 0))
}

// began is when the pod's stage began to run; zero where it has not, or nothing tells.
func began(p *corev1.Pod) time.Time {
	switch s := stage(p); {
	case s == nil:
	case s.State.Running != nil:
		return s.State.Running.StartedAt.Time
	case s.State.Terminated != nil:
		return s.State.Terminated.StartedAt.Time
	}
	return time.Time{}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// image that the pods ran, with its digest; empty when none says, or not all say the same.
func image(pods []corev1.Pod) string {
	ran := ""
	for i := range pods {
		s := stage(&pods[i])
		if s == nil || s.ImageID == "" {
			continue
		}
		if ran != "" && ran != s.ImageID {
			return ""
		}
		ran = s.ImageID
	}
	return ran
}
