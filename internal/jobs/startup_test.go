package jobs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/spatialalign/operator/internal/jobs"
)

// A pod that has its node is stuck by the kubelet's word at once, and without one after a minute.
func TestReadStuckOnItsNode(t *testing.T) {
	waits := func(reason, message string) *corev1.ContainerStateWaiting {
		return &corev1.ContainerStateWaiting{Reason: reason, Message: message}
	}
	const late = "ContainerCreating: pod a was scheduled more than 1m0s ago and its containers do not exist: " +
		"the image is still pulled, or a volume cannot be mounted; see kubectl describe pod a"
	tests := []struct {
		name    string
		waits   *corev1.ContainerStateWaiting // nil before the kubelet has said a word
		seconds int                           // since it was scheduled
		want    string
	}{
		{"image that does not exist", waits("ErrImagePull", `failed to pull "runtime:1": not found`), 1, `ErrImagePull: failed to pull "runtime:1": not found`},
		{"image, later", waits("ImagePullBackOff", `Back-off pulling image "runtime:1"`), 30, `ImagePullBackOff: Back-off pulling image "runtime:1"`},
		{"image's name", waits("InvalidImageName", ""), 1, "InvalidImageName"},
		{"image that must be there", waits("ErrImageNeverPull", ""), 1, "ErrImageNeverPull"},
		{"image that nobody signed", waits("SignatureValidationFailed", ""), 1, "SignatureValidationFailed"},
		{"Secret", waits("CreateContainerConfigError", `secret "store-access" not found`), 1, `CreateContainerConfigError: secret "store-access" not found`},
		{"command", waits("CreateContainerError", "no command specified"), 1, "CreateContainerError: no command specified"},
		{"runtime", waits("RunContainerError", "context deadline exceeded"), 1, "RunContainerError: context deadline exceeded"},
		{"starting", waits("ContainerCreating", ""), 60, ""},
		{"starting for long", waits("ContainerCreating", ""), 61, late},
		{"starting for very long, in the same words", waits("ContainerCreating", ""), 86400, late},
		{"behind a mesh's container", waits("PodInitializing", ""), 61, strings.Replace(late, "ContainerCreating", "PodInitializing", 1)},
		{"no reason", waits("", ""), 61, late},
		{"no word", nil, 60, ""},
		{"no word for long", nil, 61, late},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := scheduled("a", 0)
			if tt.waits != nil {
				p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "stage", State: corev1.ContainerState{Waiting: tt.waits}}}
			}
			got, _ := jobs.Read(ended("sample", "", "", ""), []corev1.Pod{p}, noon.Add(time.Duration(tt.seconds)*time.Second), counted)
			if diff := cmp.Diff(jobs.Outcome{Stuck: tt.want, Message: tt.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What a mesh adds to the pod may keep it from starting, or start later than the stage.
func TestReadStuckInAMesh(t *testing.T) {
	creating := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
	pulling := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "mesh:1"}}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	tests := []struct {
		name              string
		init, side, stage corev1.ContainerState
		want              string
	}{
		{"its first container has no image", pulling, creating, creating, "ImagePullBackOff: mesh:1"},
		{"its sidecar has no image", running, pulling, running, "ImagePullBackOff: mesh:1"},
		{"its sidecar starts late", running, creating, running, ""},
	}
	for _, tt := range tests {
		p := scheduled("a", 0)
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "mesh-init", State: tt.init}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "mesh", State: tt.side}, {Name: "stage", State: tt.stage}}
		if got, _ := jobs.Read(ended("sample", "", "", ""), []corev1.Pod{p}, noon.Add(time.Hour), counted); got.Stuck != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got.Stuck, tt.want)
		}
	}
}

// The scheduler's messages, as kube-scheduler 1.36 writes them, and what they mean for the start-up deadline.
func TestReadUnschedulable(t *testing.T) {
	never, none := "Preemption is not helpful for scheduling", "No preemption victims found for incoming pod"
	tests := []struct {
		name, message string
		stuck         bool
	}{
		{"no node has so many GPUs", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 " + never + ".", true},
		{"all such nodes are busy", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: 1 " + none + ".", false},
		{"one of them is busy", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 1 " + none + ", 2 " + never + ".", false},
		{"evicting others would not do", "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. preemption: 0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 " + never + ".", false},
		{"behind the claims' plugin", "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/2 nodes are available: 2 " + never + ".", true},
		{"nodes without the label", "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/2 nodes are available: 2 " + never + ".", true},
		{"a taint that is not tolerated", "0/2 nodes are available: 2 node(s) had untolerated taint(s). preemption: 0/2 nodes are available: 2 " + never + ".", true},
		{"a taint of the admin's, as older schedulers name it", "0/2 nodes are available: 2 node(s) had untolerated taint {gpu: reserved}. preemption: 0/2 nodes are available: 2 " + never + ".", true},
		{"a node that is not ready", "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }. " +
			"preemption: 0/2 nodes are available: 2 " + never + ".", false},
		{"a node under maintenance", "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) were unschedulable. preemption: 0/2 nodes are available: 2 " + never + ".", false},
		{"a missing claim", `0/2 nodes are available: persistentvolumeclaim "store" not found. not found`, true},
		{"a missing claim, as older schedulers put it", `0/1 nodes are available: persistentvolumeclaim "store" not found. preemption: 0/1 nodes are available: 1 ` + never + ".", true},
		{"a claim on its way out", `0/1 nodes are available: persistentvolumeclaim "store" is being deleted. not found`, true},
		{"a claim without a volume", "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found", true},
		{"a pod that may not preempt tells nothing", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: not eligible due to preemptionPolicy=Never.", false},
		{"no nodes at all", "no nodes available to schedule pods", false},
		{"none of no nodes", "0/0 nodes are available: . preemption: 0/0 nodes are available: 0 " + never + ".", false},
		{"more than a word holds", "preemption: 0/99999999999999999999999 nodes are available: 99999999999999999999998 " + never, false},
		{"silence", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := jobs.Read(ended("sample", "", "", ""), []corev1.Pod{unscheduled("a", tt.message)}, noon.Add(time.Hour), counted)
			if (got.Stuck != "") != tt.stuck || got.Queued == tt.stuck {
				t.Errorf("stuck %q, queued %v: want stuck %v", got.Stuck, got.Queued, tt.stuck)
			}
			if want := strings.TrimSuffix("Unschedulable: "+tt.message, ": "); tt.message != "" && got.Message != want {
				t.Errorf("message %q, want %q", got.Message, want)
			}
		})
	}
}

// A gate is not the scheduler's word: such a pod waits, whatever stands in the message.
func TestReadSchedulingGated(t *testing.T) {
	p := unscheduled("a", "0/1 nodes are available. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.")
	for _, reason := range []string{"SchedulingGated", "SchedulerError"} {
		p.Status.Conditions[0].Reason = reason
		if got, _ := jobs.Read(ended("sample", "", "", ""), []corev1.Pod{p}, noon, counted); got.Stuck != "" || !got.Queued {
			t.Errorf("%s: stuck %q, queued %v", reason, got.Stuck, got.Queued)
		}
	}
}

// Whatever a message or reason holds, an outcome comes of it, and a stuck one says so within the bounds of a status.
func FuzzStuck(f *testing.F) {
	f.Add("Unschedulable", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.", int32(0))
	f.Add("Unschedulable", `0/1 nodes are available: persistentvolumeclaim "store" not found.`, int32(61))
	f.Add("ImagePullBackOff", "\xff\x00", int32(-1))
	f.Fuzz(func(t *testing.T, reason, message string, second int32) {
		p := unscheduled("a", message)
		for i := range p.Status.Conditions {
			p.Status.Conditions[i].Reason = reason
		}
		q := scheduled("b", 0)
		q.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "stage", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
		}}}
		for _, pods := range [][]corev1.Pod{{p}, {q}, {p, q}} {
			o, complete := jobs.Read(ended("sample", "", "", ""), pods, noon.Add(time.Duration(second)*time.Second), counted)
			if o.State != jobs.Active || !complete || len(o.Message) > 1600 || o.Stuck != "" && (o.Queued || o.Message != o.Stuck) {
				t.Errorf("complete %v: %+v", complete, o)
			}
		}
	})
}
