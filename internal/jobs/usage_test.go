package jobs_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/spatialalign/operator/internal/jobs"
)

func at(second float64) metav1.Time {
	return metav1.NewTime(noon.Add(time.Duration(second * float64(time.Second))))
}

// holding is a pod with two GPUs that was scheduled at noon.
func holding(edits ...func(*corev1.Pod)) corev1.Pod {
	p := scheduled("a", 0)
	p.CreationTimestamp = at(-100)
	p.Spec.Containers = []corev1.Container{{Name: "stage", Resources: corev1.ResourceRequirements{
		Limits: corev1.ResourceList{gpu: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("64Gi")},
	}}}
	p.Status.Phase = corev1.PodRunning
	for _, edit := range edits {
		edit(&p)
	}
	return p
}

func phase(phase corev1.PodPhase) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase = phase }
}

// exit of the stage's container, by the node's clock; a start or end below 0 is not told.
func exit(started, finished float64) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		t := &corev1.ContainerStateTerminated{}
		if started >= 0 {
			t.StartedAt = at(started)
		}
		if finished >= 0 {
			t.FinishedAt = at(finished)
		}
		p.Status.Phase = corev1.PodFailed
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: "stage", State: corev1.ContainerState{Terminated: t}})
	}
}

func condition(kind corev1.PodConditionType, second float64) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: at(second)})
	}
}

// GPU time runs from a pod's scheduling to its end, and is never told too small.
func TestUsage(t *testing.T) {
	const now = 1000
	sidecar := func(p *corev1.Pod) {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: "mesh", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: at(130)}},
		})
	}
	unplaced := func(p *corev1.Pod) { p.Spec.NodeName, p.Status = "", corev1.PodStatus{Phase: corev1.PodPending} }
	tests := []struct {
		name    string
		pod     corev1.Pod
		seconds int64 // of the two GPUs together
		open    bool
		wasted  string // failed or interrupted; empty for open pods and those that ended well
	}{
		{"runs", holding(), 2 * 1000, true, ""},
		{"is starting", holding(phase(corev1.PodPending)), 2 * 1000, true, ""},
		{"is told to stop", holding(func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: noon} }), 2 * 1000, true, ""},
		{"its node is silent", holding(phase(corev1.PodUnknown)), 2 * 1000, true, ""},
		{"its stage has ended, its sidecar has not", holding(exit(5, 100), phase(corev1.PodRunning)), 2 * 1000, true, ""},
		{"has ended", holding(exit(5, 100)), 2 * 100, false, "failed"},
		{"has ended well", holding(exit(5, 100), phase(corev1.PodSucceeded)), 2 * 100, false, ""},
		{"a part of a second is one", holding(exit(5, 99.001)), 2 * 100, false, "failed"},
		{"its sidecar ended later", holding(exit(5, 100), sidecar), 2 * 130, false, "failed"},
		{"its node's clock is behind: its own run is the least", holding(func(p *corev1.Pod) { p.Status.Conditions[0].LastTransitionTime = at(60) }, exit(0, 100)), 2 * 100, false, "failed"},
		{"its node's clock is far behind", holding(func(p *corev1.Pod) { p.Status.Conditions[0].LastTransitionTime = at(600) }, exit(-1, 100)), 2 * 400, false, "failed"},
		{"evicted before it ran", holding(phase(corev1.PodFailed), condition(corev1.DisruptionTarget, 40), condition(corev1.PodReady, 2)), 2 * 40, false, "interrupted"},
		{"its container was gone when the kubelet came back", holding(exit(-1, -1), condition(corev1.PodReady, 300)), 2 * 300, false, "failed"},
		{"refused by its node", holding(phase(corev1.PodFailed), func(p *corev1.Pod) { p.Status.StartTime = &metav1.Time{Time: noon.Add(time.Second)} }), 2 * 1, false, "failed"},
		{"told to stop, has saved a checkpoint", holding(exit(5, 100), func(p *corev1.Pod) { p.Status.ContainerStatuses[0].State.Terminated.ExitCode = 75 }), 2 * 100, false, "interrupted"},
		{"deleted with a bad spec", holding(exit(5, 100), func(p *corev1.Pod) {
			p.DeletionTimestamp, p.Status.ContainerStatuses[0].State.Terminated.ExitCode = &metav1.Time{Time: noon}, 64
		}), 2 * 100, false, "failed"},
		{"ended, nothing tells when", holding(exit(-1, -1)), 2 * 1000, false, "failed"},
		{"given up with its node, long after it was told to stop", holding(exit(-1, -1), condition(corev1.DisruptionTarget, 300), func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: noon} }), 2 * 1000, false, "interrupted"},
		{"bound without the scheduler's word", holding(func(p *corev1.Pod) { p.Status.Conditions = nil }), 2 * 1100, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := jobs.Read(ended("sample", "", "", ""), []corev1.Pod{tt.pod}, at(now).Time, counted)
			want := jobs.PodUsage{Pod: "a", GPUs: 2, GPUSeconds: tt.seconds, Open: tt.open}
			switch tt.wasted {
			case "failed":
				want.Failed = tt.seconds
			case "interrupted":
				want.Interrupted = tt.seconds
			default:
				if !tt.open {
					want.Succeeded = tt.seconds
				}
			}
			if diff := cmp.Diff([]jobs.PodUsage{want}, got.Usage); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, p := range map[string]corev1.Pod{
		"waits for a node":  holding(unplaced),
		"ended without one": holding(unplaced, phase(corev1.PodFailed)),
		"has no GPU":        holding(func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Limits = nil }),
		"has other devices": holding(func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{"amd.com/gpu": resource.MustParse("2")}
		}),
		"has the resource 0": holding(func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Limits[gpu] = resource.MustParse("0") }),
	} {
		if got, _ := jobs.Read(ended("sample", "", "", ""), []corev1.Pod{p}, at(now).Time, counted); got.Usage != nil {
			t.Errorf("a pod that %s: %+v", name, got.Usage)
		}
	}
}

// Every container's GPUs count, every pod is listed once, in the order of names, whatever came of the Job.
func TestUsageOfAJob(t *testing.T) {
	named := func(name string, edits ...func(*corev1.Pod)) corev1.Pod {
		p := holding(edits...)
		p.Name = name
		return p
	}
	second := func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, p.Spec.Containers[0]) }
	pods := []corev1.Pod{named("c", second), named("a", exit(0, 10)), named("b")}
	want := []jobs.PodUsage{
		{Pod: "a", GPUs: 2, GPUSeconds: 20, Failed: 20}, {Pod: "b", GPUs: 2, GPUSeconds: 120, Open: true}, {Pod: "c", GPUs: 4, GPUSeconds: 240, Open: true},
	}
	for _, kind := range []batchv1.JobConditionType{"", batchv1.JobFailed, batchv1.JobComplete} {
		got, _ := jobs.Read(ended("sample", kind, "", ""), pods, at(60).Time, counted)
		if diff := cmp.Diff(want, got.Usage); diff != "" {
			t.Errorf("%q: %s", kind, diff)
		}
	}
}

// The list has an end; what it leaves out is counted in its last entry.
func TestUsageIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 600).Draw(t, "pods")
		var pods []corev1.Pod
		for i := range n {
			p := holding(exit(0, 10))
			if i%7 == 6 {
				p = holding()
			}
			p.Name = fmt.Sprintf("pod-%03d", i)
			pods = append(pods, p)
		}
		got, _ := jobs.Read(ended("sample", "", "", ""), pods, at(60).Time, counted)
		var gpus, seconds, wasted int64
		for _, u := range got.Usage {
			gpus, seconds, wasted = gpus+u.GPUs, seconds+u.GPUSeconds, wasted+u.Failed
		}
		running := int64(n / 7)
		if len(got.Usage) != min(n, 257) || gpus != 2*int64(n) || seconds != 120*running+wasted || wasted != 20*(int64(n)-running) {
			t.Fatalf("%d pods have %d entries of %d GPUs, %d GPU seconds, %d of them wasted", n, len(got.Usage), gpus, seconds, wasted)
		}
	})
}

// A Job has waited when the first of its pods ran, on whatever node; a clock that is behind makes no wait negative.
func TestWaited(t *testing.T) {
	running := func(second float64) corev1.Pod {
		return holding(func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "stage", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(second)}}}}
		})
	}
	starting := holding(func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "stage", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}}
	})
	for _, tt := range []struct {
		name string
		pods []corev1.Pod
		want time.Duration // negative for none
	}{
		{"no pod", nil, -1},
		{"one that starts", []corev1.Pod{starting}, -1},
		{"one that ended before it ran", []corev1.Pod{holding(exit(-1, 40))}, -1},
		{"one that runs", []corev1.Pod{starting, running(90)}, 90 * time.Second},
		{"the first of several", []corev1.Pod{running(90), running(30), holding(exit(60, 70))}, 30 * time.Second},
		{"one that ended", []corev1.Pod{holding(exit(60, 70))}, time.Minute},
		{"a node whose clock is behind", []corev1.Pod{running(-5)}, 0},
	} {
		got, _ := jobs.Read(ended("sample", "", "", ""), tt.pods, at(1000).Time, counted)
		if (got.Waited == nil) != (tt.want < 0) || got.Waited != nil && *got.Waited != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got.Waited, tt.want)
		}
	}
}

func TestImage(t *testing.T) {
	ran := func(images ...string) []corev1.Pod {
		var pods []corev1.Pod
		for i, image := range images {
			p := pod(i, 0, 0, "")
			p.Status.ContainerStatuses[0].ImageID = "mesh@sha256:ffff"
			p.Status.ContainerStatuses[1].ImageID = image
			pods = append(pods, p)
		}
		return pods
	}
	tests := []struct {
		name string
		pods []corev1.Pod
		want string
	}{
		{"one pod", ran("runtime@sha256:0123"), "runtime@sha256:0123"},
		{"all the same", ran("runtime@sha256:0123", "runtime@sha256:0123"), "runtime@sha256:0123"},
		{"one has not started", ran("", "runtime@sha256:0123"), "runtime@sha256:0123"},
		{"a tag that moved", ran("runtime@sha256:0123", "runtime@sha256:4567", "runtime@sha256:0123"), ""},
		{"none has started", ran("", ""), ""},
		{"no pod", nil, ""},
	}
	for _, tt := range tests {
		if got, _ := jobs.Read(ended("sample", "", "", ""), tt.pods, noon, counted); got.Image != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got.Image, tt.want)
		}
	}
}
