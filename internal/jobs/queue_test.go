package jobs_test

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// queuedJob is a training Job of queue team-a, as old as given.
func queuedJob(age time.Duration) *batchv1.Job {
	w := everyStage()["train"]
	w.Scheduling = &v1alpha1.SchedulingSpec{QueueName: "team-a"}
	job := jobs.Build(w)
	job.CreationTimestamp = metav1.NewTime(now.Add(-age))
	return job
}

func says(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

// What a suspended Job of a queue waits for, in Kueue's words.
func TestEnqueued(t *testing.T) {
	const short = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor h100, 2 more needed"
	const taken = "Preempted to accommodate a workload (UID: 1) due to reclamation within the cohort"
	tests := []struct {
		name  string
		age   time.Duration
		queue jobs.Queue
		// reason, and what the message holds.
		reason, message string
	}{
		{"nothing is known yet", time.Second, jobs.Queue{}, "", "queue team-a has not admitted Job"},
		{"nobody noticed the Job", time.Minute, jobs.Queue{}, "", "Kueue has made no Workload for it. Does its controller run"},
		{"no Kueue", time.Second, jobs.Queue{Absent: true}, "KueueNotInstalled", "Kueue is not installed"},
		{"no right to read", time.Second, jobs.Queue{Trouble: "workloads is forbidden"}, "", "cannot read why: workloads is forbidden"},
		{"a Workload that says nothing", time.Minute, jobs.Queue{Workload: &jobs.Workload{}}, "", "queue team-a has not admitted Job"},
		{"too little quota", time.Minute, jobs.Queue{Workload: &jobs.Workload{Conditions: []metav1.Condition{
			says("QuotaReserved", "False", "Pending", short),
		}}}, "Pending", "queue team-a: Pending: " + short},
		{"no such queue", time.Minute, jobs.Queue{Workload: &jobs.Workload{Conditions: []metav1.Condition{
			says("QuotaReserved", "False", "Inadmissible", "LocalQueue team-a doesn't exist"),
		}}}, "Inadmissible", "queue team-a: Inadmissible: LocalQueue team-a doesn't exist"},
		{"preempted, its pods are ending", time.Hour, jobs.Queue{Workload: &jobs.Workload{Conditions: []metav1.Condition{
			says("QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue a"), says("Evicted", "True", "Preempted", taken),
		}}}, "Preempted", "queue team-a: Preempted: " + taken},
		{"preempted, not tried again yet", time.Hour, jobs.Queue{Workload: &jobs.Workload{Conditions: []metav1.Condition{
			says("QuotaReserved", "False", "Pending", taken), says("Evicted", "True", "Preempted", taken),
		}}}, "Preempted", "queue team-a: Preempted: " + taken},
		{"preempted, and there is no room", time.Hour, jobs.Queue{Workload: &jobs.Workload{Conditions: []metav1.Condition{
			says("QuotaReserved", "False", "Pending", short), says("Evicted", "True", "Preempted", taken),
		}}}, "Preempted", "queue team-a: Preempted: " + taken + "; Pending: " + short},
		{"quota again after an eviction", time.Hour, jobs.Queue{Workload: &jobs.Workload{Conditions: []metav1.Condition{
			says("QuotaReserved", "True", "QuotaReserved", "Quota reserved"), says("Evicted", "False", "QuotaReserved", "Previously: "+taken),
		}}}, "", "queue team-a has not admitted Job"},
		{"an admission check", time.Hour, jobs.Queue{Workload: &jobs.Workload{
			Conditions: []metav1.Condition{says("QuotaReserved", "True", "QuotaReserved", "Quota reserved")},
			Checks:     []jobs.AdmissionCheck{{Name: "done", State: "Ready"}, {Name: "nodes", State: "Pending", Message: "being made"}},
		}}, "AdmissionChecks", "queue team-a: quota is reserved, admission check nodes is Pending: being made"},
		{"a reason that a condition cannot have", time.Hour, jobs.Queue{Workload: &jobs.Workload{Conditions: []metav1.Condition{
			says("QuotaReserved", "False", "not one word", short),
		}}}, "Queued", short},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			job := queuedJob(tt.age)
			o, _ := jobs.Read(job, nil, now, counted)
			o = jobs.Enqueued(o, job, tt.queue, now)
			if !o.Queued || o.QueueReason != tt.reason || !strings.Contains(o.Message, tt.message) {
				t.Errorf("queued %v, %q: %q; want %q: ...%q...", o.Queued, o.QueueReason, o.Message, tt.reason, tt.message)
			}
		})
	}
}

// A Job that a queue admitted with fewer pods than it asked for says so, for as long as it has no more.
func TestNarrowed(t *testing.T) {
	w := everyStage()["sample"]
	w.Scheduling = &v1alpha1.SchedulingSpec{QueueName: "team-a", Sample: &v1alpha1.StageScheduling{Shards: 4, MinParallel: 2}}
	job := jobs.Build(w)
	job.Spec.Suspend, job.CreationTimestamp = ptr.To(false), metav1.NewTime(now)
	for _, tt := range []struct {
		pods, done int32
		says       string
	}{
		{2, 0, "2 of 4 pods at a time: queue team-a has admitted no more"},
		{2, 1, "2 of 3 pods at a time: queue team-a has admitted no more"},
		{2, 2, ""},
		{4, 0, ""},
	} {
		job.Spec.Parallelism, job.Status.Succeeded = ptr.To(tt.pods), tt.done
		if o, _ := jobs.Read(job, nil, now, counted); o.Queued || o.Message != tt.says {
			t.Errorf("admitted with %d pods, %d shards done: waits %v, says %q", tt.pods, tt.done, o.Queued, o.Message)
		}
	}
}

// A Job without a queue that is suspended was suspended by a person, unless Kueue has a Workload for it.
func TestSuspendedWithoutQueue(t *testing.T) {
	job := jobs.Build(everyStage()["prepare"])
	if jobs.InQueue(job) {
		t.Error("a Job that runs is in no queue")
	}
	job.Spec.Suspend = ptr.To(true)
	o, _ := jobs.Read(job, nil, now, counted)
	if by := jobs.Enqueued(o, job, jobs.Queue{Absent: true}, now); !jobs.InQueue(job) || by.QueueReason != "" || by.Message != o.Message {
		t.Errorf("suspended by a person: %+v", by)
	}
	if by := jobs.Enqueued(o, job, jobs.Queue{Workload: &jobs.Workload{}}, now); by.QueueReason != "QueueForced" || !strings.Contains(by.Message, "manageJobsWithoutQueueName") {
		t.Errorf("suspended by Kueue: %+v", by)
	}
}

// A Job that its queue admits waits no more, though its pods are still to come; if they do not, or find no node, it waits for that.
func TestAdmitted(t *testing.T) {
	pending := func(scheduled corev1.PodCondition) []corev1.Pod {
		return []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Status: corev1.PodStatus{
			Phase: corev1.PodPending, Conditions: []corev1.PodCondition{scheduled},
		}}}
	}
	gate := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "SchedulingGated", Message: "Scheduling is blocked due to non-empty scheduling gates",
	}
	tests := []struct {
		name string
		// since the Job was let go on; nil while the Job controller has not noticed, and tells of its first start.
		since *time.Duration
		pods  []corev1.Pod
		waits bool
	}{
		{"the Job controller has not noticed", nil, nil, false},
		{"no pod yet", ptr.To(2 * time.Second), nil, false},
		{"a pod, not looked at yet", ptr.To(2 * time.Second), pending(corev1.PodCondition{}), false},
		{"a pod that finds no node", ptr.To(2 * time.Second), pending(corev1.PodCondition{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
		}), true},
		{"a pod that Kueue has yet to place", ptr.To(2 * time.Second), pending(gate), false},
		{"a pod that nobody places", ptr.To(30 * time.Second), pending(gate), true},
		{"no pod for long", ptr.To(30 * time.Second), nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			job := queuedJob(time.Hour)
			job.Spec.Suspend = ptr.To(false)
			job.Status.StartTime = ptr.To(metav1.NewTime(now.Add(-30 * time.Minute)))
			job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue}}
			if tt.since != nil {
				job.Status.StartTime = ptr.To(metav1.NewTime(now.Add(-*tt.since)))
				job.Status.Conditions[0].Status = corev1.ConditionFalse
			}
			if o, _ := jobs.Read(job, tt.pods, now, counted); o.State != jobs.Active || o.Queued != tt.waits {
				t.Errorf("waits %v (%q), want %v", o.Queued, o.Message, tt.waits)
			}
		})
	}
}

// Whatever order Kueue, the Job controller and the kubelet are seen in, an eviction burns nothing: the Job waits in its queue.
func TestEviction(t *testing.T) {
	pod := func(name string, code int32, edit func(*corev1.Pod)) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: "node0"}}
		p.Status.Phase = corev1.PodRunning
		if code > 0 {
			p.Status.Phase = corev1.PodFailed
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "stage", State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.NewTime(now)},
			}}}
		}
		edit(&p)
		return p
	}
	deleted := func(p *corev1.Pod) { p.DeletionTimestamp = ptr.To(metav1.NewTime(now.Add(30 * time.Second))) }
	for name, pods := range map[string][]corev1.Pod{
		"its pod runs":                  {pod("a", 0, func(*corev1.Pod) {})},
		"its pod is told to stop":       {pod("a", 0, deleted)},
		"its pod has saved what it had": {pod("a", 75, deleted)},
		"its pod just stopped":          {pod("a", 143, deleted)},
		"its pod was killed":            {pod("a", 137, deleted)},
		"its pod is gone":               nil,
		"eleven evictions in a row that the list still shows": func() (list []corev1.Pod) {
			for i := range 11 {
				list = append(list, pod(string(rune('a'+i)), 143, deleted))
			}
			return list
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			job := queuedJob(time.Hour)
			o, _ := jobs.Read(job, pods, now, counted)
			o = jobs.Enqueued(o, job, jobs.Queue{Workload: &jobs.Workload{Conditions: []metav1.Condition{says("Evicted", "True", "Preempted", "by team b")}}}, now)
			if o.State != jobs.Active || !o.Queued || o.Endless || o.QueueReason != "Preempted" || !strings.Contains(o.Message, "by team b") {
				t.Errorf("%+v", o)
			}
		})
	}
	// A Job that had come to its end when Kueue suspended it, which takes its start time, never comes to be called so.
	for name, tt := range map[string]struct {
		nodes int32
		pods  []corev1.Pod
		says  string
		want  jobs.Outcome
	}{
		"a gang that was told to stop": {2, []corev1.Pod{pod("a", 75, deleted), pod("b", 75, deleted)},
			"Container stage for pod team-a/b failed with exit code 75 matching FailJob rule at index 1",
			jobs.Outcome{State: jobs.Failed, Class: "Disrupted", Disrupted: true, Endless: true}},
		"a gang whose pods are gone": {2, nil, "Container stage for pod team-a/b failed with exit code 75 matching FailJob rule at index 1",
			jobs.Outcome{State: jobs.Failed, Class: "Disrupted", Disrupted: true, Endless: true}},
		"a gang that ran out of memory before": {2, []corev1.Pod{pod("a", 75, deleted), pod("b", 77, func(*corev1.Pod) {})},
			"Container stage for pod team-a/b failed with exit code 77 matching FailJob rule at index 1",
			jobs.Outcome{State: jobs.Failed, Class: "OutOfMemory", Final: true, Endless: true}},
		"a pod that did not stop in time": {1, []corev1.Pod{pod("a", 137, deleted)}, "Job has reached the specified backoff limit",
			jobs.Outcome{State: jobs.Failed, Class: "Disrupted", Disrupted: true, Endless: true}},
		"a pod that did not stop in time, and is gone": {1, nil, "Job has reached the specified backoff limit",
			jobs.Outcome{State: jobs.Failed, Class: "Disrupted", Disrupted: true, Endless: true}},
		"a pod that failed before": {1, []corev1.Pod{pod("a", 70, func(*corev1.Pod) {})}, "Job has reached the specified backoff limit",
			jobs.Outcome{State: jobs.Failed, Class: "Bug", Endless: true}},
	} {
		t.Run(name, func(t *testing.T) {
			w := everyStage()["train"]
			w.Scheduling, w.Nodes = &v1alpha1.SchedulingSpec{QueueName: "team-a"}, tt.nodes
			job := jobs.Build(w)
			reason := batchv1.JobReasonBackoffLimitExceeded
			if tt.nodes > 1 {
				reason = batchv1.JobReasonPodFailurePolicy
			}
			job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailureTarget, Status: corev1.ConditionTrue, Reason: reason, Message: tt.says}}
			o, _ := jobs.Read(job, tt.pods, now, counted)
			o = jobs.Enqueued(o, job, jobs.Queue{}, now)
			if o.State != tt.want.State || o.Class != tt.want.Class || o.Disrupted != tt.want.Disrupted || o.Final != tt.want.Final || o.Endless != tt.want.Endless {
				t.Errorf("%+v, want %+v", o, tt.want)
			}
		})
	}
	// A pod that did not stop in its grace period fails a Job of one pod, which the Job controller may notice although the Job is suspended.
	job := queuedJob(time.Hour)
	job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: "BackoffLimitExceeded"}}
	if o, _ := jobs.Read(job, []corev1.Pod{pod("a", 137, deleted)}, now, counted); o.State != jobs.Failed || !o.Disrupted || jobs.InQueue(job) {
		t.Errorf("killed while evicted: %+v", o)
	}
}

// A Job that a queue held for long has just begun when it is admitted: that it has no pod yet is no news.
func TestAdmittedLate(t *testing.T) {
	job := queuedJob(time.Hour)
	job.Spec.Suspend = ptr.To(false)
	job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue}}
	if o, _ := jobs.Read(job, nil, now, counted); o.Message != "" {
		t.Errorf("admitted, and not noticed yet: %q", o.Message)
	}
	job.Status.Conditions[0].Status, job.Status.StartTime = corev1.ConditionFalse, ptr.To(metav1.NewTime(now.Add(-time.Second)))
	if o, _ := jobs.Read(job, nil, now, counted); o.Message != "" {
		t.Errorf("begun a second ago: %q", o.Message)
	}
	job.Status.StartTime = ptr.To(metav1.NewTime(now.Add(-time.Minute)))
	if o, _ := jobs.Read(job, nil, now, counted); !strings.Contains(o.Message, "no pod of Job") {
		t.Errorf("begun a minute ago, without a pod: %q", o.Message)
	}
}

// What a Job made that had succeeded when Kueue suspended it counts, though the Job never comes to be called complete.
func TestSucceededWhileEvicted(t *testing.T) {
	adapter := word("m0", `,"outputs":{"adapter":`+quoted("adapter")+`},"metrics":{"loss":"0.61"}`)
	o, _ := jobs.Read(queuedJob(time.Hour), []corev1.Pod{pod(0, 0, 0, adapter)}, now, counted)
	if o.State != jobs.Succeeded || o.Outputs["adapter"].Key != "adapter" {
		t.Errorf("%+v", o)
	}
}
