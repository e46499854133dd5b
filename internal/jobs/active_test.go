package jobs_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/internal/jobs"
)

// While a Job runs, the outcome says whether it waits for capacity or is stuck, and tells it as Kubernetes does.
func TestReadActive(t *testing.T) {
	busy := "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
	never := "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
	running, done := scheduled("a", 0), pod(0, 0, 1, "")
	running.Status.Phase = corev1.PodRunning
	leaving := unscheduled("leaving", never)
	leaving.DeletionTimestamp = &metav1.Time{Time: noon.Add(time.Hour)}
	stranded := pod(0, 143, 1, "said")
	stranded.DeletionTimestamp, stranded.Finalizers = leaving.DeletionTimestamp, []string{batchv1.JobTrackingFinalizer}
	tests := []struct {
		name string
		pods []corev1.Pod
		want jobs.Outcome
	}{
		{"one has ended, is deleted, and is kept for its successor", []corev1.Pod{stranded}, jobs.Outcome{Stranded: true}},
		{"all run", []corev1.Pod{running, running}, jobs.Outcome{}},
		{"all wait for a busy node", []corev1.Pod{unscheduled("a", busy), unscheduled("b", busy)}, jobs.Outcome{Queued: true, Message: "Unschedulable: " + busy}},
		{"the scheduler has not looked", []corev1.Pod{unscheduled("a", "")}, jobs.Outcome{Queued: true}},
		{"one runs, another waits", []corev1.Pod{running, unscheduled("b", busy)}, jobs.Outcome{Message: "Unschedulable: " + busy}},
		{"one is done, another waits: nothing runs", []corev1.Pod{done, unscheduled("b", busy)}, jobs.Outcome{Queued: true, Message: "Unschedulable: " + busy}},
		{"one is done, no other is there yet", []corev1.Pod{done}, jobs.Outcome{}},
		{"no node could ever hold it", []corev1.Pod{unscheduled("a", never)}, jobs.Outcome{Stuck: "Unschedulable: " + never, Message: "Unschedulable: " + never}},
		{"what is stuck comes before what waits", []corev1.Pod{unscheduled("a", busy), unscheduled("b", never)},
			jobs.Outcome{Stuck: "Unschedulable: " + never, Message: "Unschedulable: " + never}},
		{"what is deleted is not to start", []corev1.Pod{running, leaving}, jobs.Outcome{Message: "Unschedulable: " + never}},
		{"a replacement that waits comes before the interruption", []corev1.Pod{pod(0, 143, 1, "said"), unscheduled("b", busy)},
			jobs.Outcome{Queued: true, Message: "Unschedulable: " + busy}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, pods := range [][]corev1.Pod{tt.pods, reversed(tt.pods)} {
				got, complete := jobs.Read(ended("sample", "", "", ""), pods, noon.Add(time.Hour), counted)
				if diff := cmp.Diff(tt.want, got); diff != "" || !complete {
					t.Errorf("complete %v, %s", complete, diff)
				}
			}
		})
	}
}

// unscheduled is a pod without a node, and the scheduler's word on it.
func unscheduled(name, message string) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
	if message != "" {
		p.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: message,
		}}
	}
	return p
}

// scheduled is a pod that was given its node some seconds after noon, and whose container is not there yet.
func scheduled(name string, second int) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{NodeName: "gpu-7"},
		Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon.Add(time.Duration(second) * time.Second)),
		}}},
	}
}

// A suspended Job waits for its queue, whatever its pods still do.
func TestReadSuspended(t *testing.T) {
	job := ended("sample", "", "", "")
	job.Spec.Suspend = ptr.To(true)
	leaving := scheduled("a", 0)
	leaving.DeletionTimestamp = &metav1.Time{Time: noon.Add(time.Hour)}
	for queue, want := range map[string]string{
		"":         "Job " + job.Name + " is suspended",
		"gpu-team": "queue gpu-team has not admitted Job " + job.Name,
	} {
		job.Labels["kueue.x-k8s.io/queue-name"] = queue
		for _, pods := range [][]corev1.Pod{nil, {leaving}} {
			got, _ := jobs.Read(job, pods, noon.Add(time.Hour), counted)
			if diff := cmp.Diff(jobs.Outcome{Queued: true, Message: want}, got); diff != "" {
				t.Error(diff)
			}
		}
	}
}

// A Job without parallelism waits for quotas to leave room; one whose parallelism is not ours, for somebody.
func TestReadWithoutParallelism(t *testing.T) {
	job := ended("sample", "", "", "")
	job.Spec.Parallelism = ptr.To(int32(0))
	want := jobs.Outcome{Queued: true, Message: "Job " + job.Name + " may have no pod yet"}
	if got, _ := jobs.Read(job, nil, noon, counted); !cmp.Equal(want, got) {
		t.Error(cmp.Diff(want, got))
	}
	job.Annotations = nil
	want = jobs.Outcome{Message: "parallelism of Job " + job.Name + " is 0: somebody has to raise it"}
	if got, _ := jobs.Read(job, nil, noon, counted); !cmp.Equal(want, got) {
		t.Error(cmp.Diff(want, got))
	}
}

// A pod that is still there a minute after its grace period is on a node that is gone. Its Job would wait for it for ever.
func TestReadNodeLost(t *testing.T) {
	const message = "pod a did not end within 1m0s of its grace period: node gpu-7 is lost"
	at := metav1.NewTime(noon.Add(2 * time.Minute)) // the end of the grace period
	overdue := func(edit func(*corev1.Pod)) corev1.Pod {
		p := scheduled("a", 0)
		p.Status.Phase, p.DeletionTimestamp = corev1.PodRunning, &at
		edit(&p)
		return p
	}
	asItIs := func(*corev1.Pod) {}
	running := overdue(func(p *corev1.Pod) { p.Name, p.DeletionTimestamp = "b", nil })
	lost := jobs.Outcome{State: jobs.Failed, Class: "NodeLost", Message: message, Disrupted: true, Endless: true, Lost: true}
	failing := ended("sample", batchv1.JobFailureTarget, "PodFailurePolicy", "Container stage failed with exit code 64")
	tests := []struct {
		name    string
		job     *batchv1.Job
		pods    []corev1.Pod
		seconds int // since the end of the grace period
		want    jobs.Outcome
	}{
		{"within its grace period", nil, []corev1.Pod{overdue(asItIs)}, -30, jobs.Outcome{}},
		{"a minute later", nil, []corev1.Pod{overdue(asItIs)}, 60, jobs.Outcome{}},
		{"more than a minute later", nil, []corev1.Pod{overdue(asItIs)}, 61, lost},
		{"beside a shard that runs", nil, []corev1.Pod{running, overdue(asItIs)}, 61, lost},
		{"before it ran", nil, []corev1.Pod{overdue(func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending })}, 61, lost},
		{"it has ended", nil, []corev1.Pod{overdue(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), running}, 3600, jobs.Outcome{}},
		{"it never had a node", nil, []corev1.Pod{overdue(func(p *corev1.Pod) { p.Status, p.Spec = corev1.PodStatus{Phase: corev1.PodPending}, corev1.PodSpec{} })},
			3600, jobs.Outcome{Queued: true}},
		{"the Job fails for a reason of its own", failing, []corev1.Pod{overdue(asItIs), pod(1, 64, 1, "wrong")}, 61,
			jobs.Outcome{State: jobs.Failed, Class: "BadSpec", Message: "exit code 64: wrong", Final: true, Endless: true, Lost: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.job == nil {
				tt.job = ended("sample", "", "", "")
			}
			got, _ := jobs.Read(tt.job, tt.pods, at.Add(time.Duration(tt.seconds)*time.Second), counted)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Kubernetes replaces disrupted pods without end; the list of them has one.
func TestReadTooManyPods(t *testing.T) {
	crowd := func(n int, code int32, condition corev1.PodConditionType) []corev1.Pod {
		var pods []corev1.Pod
		for i := range n {
			p := pod(i, code, i, fmt.Sprintf(`{"class":"Interrupted","message":"step %d"}`, i))
			p.Status.Conditions = []corev1.PodCondition{{Type: condition, Status: corev1.ConditionTrue}}
			pods = append(pods, p)
		}
		return pods
	}
	tests := []struct {
		name string
		pods []corev1.Pod
		want jobs.Outcome
	}{
		{"as many as may be", crowd(256, 143, corev1.DisruptionTarget), jobs.Outcome{}},
		{"one more", crowd(257, 143, corev1.DisruptionTarget), jobs.Outcome{
			State: jobs.Failed, Class: "Disrupted", Disrupted: true, Endless: true, Message: "more than 256 pods: step 256",
		}},
		{"of their own accord", crowd(257, 70, corev1.PodReady), jobs.Outcome{
			State: jobs.Failed, Class: "Bug", Endless: true, Message: "more than 256 pods: step 256",
		}},
		{"that say nothing", crowd(257, 0, corev1.PodReady), jobs.Outcome{
			State: jobs.Failed, Class: "TooManyPods", Endless: true, Message: "more than 256 pods",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := jobs.Read(ended("sample", "", "", ""), tt.pods, noon.Add(time.Hour), counted)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
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
				got, complete := jobs.Read(ended("sample", "", "", ""), pods, noon.Add(time.Hour), counted)
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
		got, complete := jobs.Read(job, nil, noon.Add(age), counted)
		if diff := cmp.Diff(jobs.Outcome{Queued: true, Message: want}, got); diff != "" || !complete {
			t.Errorf("after %s: complete %v, %s", age, complete, diff)
		}
	}
}
