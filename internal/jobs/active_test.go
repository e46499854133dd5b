package jobs_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/internal/jobs"
)

// While a Job runs, the outcome says what its pods wait for, as Kubernetes says it.
func TestReadActive(t *testing.T) {
	waiting := func(reason, message string) corev1.Pod {
		return corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "stage", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}}}
	}
	unscheduled := corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
	}}}}
	running := corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning}}
	tests := []struct {
		name string
		pods []corev1.Pod
		want string
	}{
		{"all run", []corev1.Pod{running, running}, ""},
		{"starting", []corev1.Pod{waiting("ContainerCreating", ""), waiting("PodInitializing", "")}, ""},
		{"image", []corev1.Pod{running, waiting("ImagePullBackOff", `Back-off pulling image "runtime:1"`)}, `ImagePullBackOff: Back-off pulling image "runtime:1"`},
		{"Secret", []corev1.Pod{waiting("CreateContainerConfigError", `secret "store-access" not found`)}, `CreateContainerConfigError: secret "store-access" not found`},
		{"reason alone", []corev1.Pod{waiting("ErrImagePull", "")}, "ErrImagePull"},
		{"a replacement that cannot start comes before the interruption", []corev1.Pod{pod(0, 143, 1, "said"), unscheduled},
			"Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."},
		{"GPU", []corev1.Pod{unscheduled}, "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, complete := jobs.Read(ended("sample", "", "", ""), tt.pods, noon.Add(time.Hour), gpu)
			if got.State != jobs.Active || got.Message != tt.want || !complete {
				t.Errorf("%+v, complete %v; want message %q", got, complete, tt.want)
			}
		})
	}
}

// Kubernetes ignores interrupted pods, so that the operator has to count them.
func TestReadInterrupted(t *testing.T) {
	interrupted := func(n int, code int32) []corev1.Pod {
		var pods []corev1.Pod
		for i := range n {
			pods = append(pods, pod(i%4, code, i, fmt.Sprintf(`{"class":"Interrupted","message":"step %d"}`, 100*i)))
		}
		return pods
	}
	edited := func(pods []corev1.Pod, edit func(*corev1.Pod)) []corev1.Pod {
		for i := range pods {
			edit(&pods[i])
		}
		return pods
	}
	disrupted := func(status corev1.ConditionStatus) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: status})
		}
	}
	running := corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning}}
	tests := []struct {
		name string
		pods []corev1.Pod
		want jobs.Outcome
	}{
		{"once", append(interrupted(1, 75), running), jobs.Outcome{Message: "interrupted 1 time(s); the last said: step 0"}},
		{"below the limit", append(interrupted(9, 75), running), jobs.Outcome{Message: "interrupted 9 time(s); the last said: step 800"}},
		{"the limit, with 75", append(interrupted(10, 75), running), jobs.Outcome{
			State: jobs.Failed, Class: "Interrupted", Endless: true, Message: "interrupted 10 times without an end: step 900",
		}},
		{"the limit, with 143", interrupted(10, 143), jobs.Outcome{
			State: jobs.Failed, Class: "Interrupted", Endless: true, Message: "interrupted 10 times without an end: step 900",
		}},
		{"a pod that wrote no message", []corev1.Pod{killed(pod(0, 143, 0, ""), "Error")},
			jobs.Outcome{Message: "interrupted 1 time(s); the last said: exit code 143: Error"}},
		{"other ends are none", append(append(interrupted(4, 0), interrupted(4, 76)...), interrupted(4, 137)...), jobs.Outcome{}},
		{"what Kubernetes disrupts is none", edited(interrupted(20, 143), disrupted(corev1.ConditionTrue)), jobs.Outcome{}},
		{"a disruption that was called off", edited(interrupted(1, 143), disrupted(corev1.ConditionFalse)),
			jobs.Outcome{Message: "interrupted 1 time(s); the last said: step 0"}},
		{"what is deleted is none", edited(interrupted(20, 143), func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: noon} }), jobs.Outcome{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, pods := range [][]corev1.Pod{tt.pods, reversed(tt.pods)} {
				got, complete := jobs.Read(ended("sample", "", "", ""), pods, noon.Add(time.Hour), gpu)
				if diff := cmp.Diff(tt.want, got); diff != "" || !complete {
					t.Errorf("complete %v, %s", complete, diff)
				}
			}
		})
	}
}

// Pods that are refused leave no trace but their absence. The message does not change while that lasts.
func TestReadPodless(t *testing.T) {
	job := ended("sample", "", "", "")
	missing := fmt.Sprintf("no pod of Job %[1]s exists yet: quota or admission may refuse it, see kubectl describe job %[1]s", job.Name)
	for age, want := range map[time.Duration]string{
		-time.Second: "", 0: "", 20 * time.Second: "", 21 * time.Second: missing, time.Hour: missing,
	} {
		got, complete := jobs.Read(job, nil, noon.Add(age), gpu)
		if diff := cmp.Diff(jobs.Outcome{Message: want}, got); diff != "" || !complete {
			t.Errorf("after %s: complete %v, %s", age, complete, diff)
		}
	}
}
