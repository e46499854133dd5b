package jobs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// ended is a stage's Job with a condition: Complete, Failed, or none where it still runs.
func ended(stage string, kind batchv1.JobConditionType, reason, message string) *batchv1.Job {
	job := jobs.Build(everyStage()[stage])
	job.CreationTimestamp = metav1.NewTime(noon)
	if kind != "" {
		job.Status.Conditions = []batchv1.JobCondition{
			{Type: batchv1.JobSuspended, Status: corev1.ConditionFalse},
			{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message},
		}
	}
	return job
}

// gpu is the extended resource of the runtime.
const gpu = "nvidia.com/gpu"

var counted = jobs.GPUs{Resource: gpu}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// pod of a shard whose container exited some minutes after noon, saying something.
func pod(shard int, code int32, minute int, said string) corev1.Pod {
	phase := corev1.PodSucceeded
	if code != 0 {
		phase = corev1.PodFailed
	}
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        fmt.Sprintf("pod-%d", shard),
			Annotations: map[string]string{batchv1.JobCompletionIndexAnnotation: fmt.Sprint(shard)},
		},
		Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{
			{Name: "a-sidecar-of-the-mesh", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2, Message: "not ours"}}},
			{Name: "stage", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: code, Message: said, FinishedAt: metav1.NewTime(noon.Add(time.Duration(minute) * time.Minute)),
			}}},
		}},
	}
}

func word(manifest string, more string) string {
	return fmt.Sprintf(`{"class":"Succeeded","manifest":{"key":%q,"digest":%q}%s}`, manifest, contract.Digest([]byte(manifest)), more)
}

func quoted(key string) string {
	return fmt.Sprintf(`{"key":%q,"digest":%q}`, key, contract.Digest([]byte(key)))
}

func TestReadSuccess(t *testing.T) {
	shards := func(words ...string) []corev1.Pod {
		var pods []corev1.Pod
		for i, w := range words {
			pods = append(pods, pod(i, 0, i, w))
		}
		return pods
	}
	four := shards(word("m0", `,"counts":{"generated":2}`), word("m1", `,"counts":{"generated":3}`), word("m2", ""), word("m3", `,"counts":{"reused":4}`))
	manifests := map[string]contract.Artifact{
		"manifest/0": pinned("m0"), "manifest/1": pinned("m1"), "manifest/2": pinned("m2"), "manifest/3": pinned("m3"),
	}
	adapter := word("m0", `,"outputs":{"adapter":`+quoted("adapter")+`},"counts":{"steps":3000},"metrics":{"loss":"0.61"}`)
	pending := pod(0, 0, 0, "")
	pending.Status = corev1.PodStatus{Phase: corev1.PodPending}
	unnumbered := pod(0, 0, 0, adapter)
	unnumbered.Annotations = nil

	tests := []struct {
		name  string
		stage string
		pods  []corev1.Pod
		want  jobs.Outcome
		// partial means that the list of pods may be behind.
		partial bool
	}{
		{
			name: "every shard names its manifest, counts add up", stage: "sample", pods: four,
			want: jobs.Outcome{State: jobs.Succeeded, Outputs: manifests, Counts: map[string]int64{"generated": 5, "reused": 4}},
		},
		{
			name: "a single pod's outputs and metrics are the stage's", stage: "train", pods: shards(adapter),
			want: jobs.Outcome{
				State: jobs.Succeeded, Counts: map[string]int64{"steps": 3000}, Metrics: map[string]string{"loss": "0.61"},
				Outputs: map[string]contract.Artifact{"manifest/0": pinned("m0"), "adapter": pinned("adapter")},
			},
		},
		{
			name: "what a single pod tells of devices is the stage's", stage: "train",
			pods: shards(word("m0", `,"outputs":{"adapter":`+quoted("adapter")+`},"devices":{"best":["A100"]}`)),
			want: jobs.Outcome{
				State: jobs.Succeeded, Devices: map[string][]string{"best": {"A100"}},
				Outputs: map[string]contract.Artifact{"manifest/0": pinned("m0"), "adapter": pinned("adapter")},
			},
		},
		{
			name: "an earlier pod of a shard that failed does not matter", stage: "train",
			pods: append([]corev1.Pod{pod(0, 76, 0, "lost the GPU")}, shards(adapter)...),
			want: jobs.Outcome{
				State: jobs.Succeeded, Counts: map[string]int64{"steps": 3000}, Metrics: map[string]string{"loss": "0.61"},
				Outputs: map[string]contract.Artifact{"manifest/0": pinned("m0"), "adapter": pinned("adapter")},
			},
		},
		{
			name: "a shard's pod is missing", stage: "sample", pods: four[:3], partial: true,
			want: jobs.Outcome{State: jobs.Failed, Class: "NoManifest", Message: "shard 3 of 4 ended without naming a valid manifest"},
		},
		{
			name: "no pod is there", stage: "train", partial: true,
			want: jobs.Outcome{State: jobs.Failed, Class: "NoManifest", Message: "shard 0 of 1 ended without naming a valid manifest"},
		},
		{
			name: "the pod's end is not seen yet", stage: "train", pods: []corev1.Pod{pending}, partial: true,
			want: jobs.Outcome{State: jobs.Failed, Class: "NoManifest", Message: "shard 0 of 1 ended without naming a valid manifest"},
		},
		{
			name: "the last word is garbage", stage: "train", pods: shards("done!"), partial: true,
			want: jobs.Outcome{State: jobs.Failed, Class: "NoManifest", Message: "shard 0 of 1 ended without naming a valid manifest: pod pod-0: " +
				"termination message is not the contract's JSON: invalid character 'd' looking for beginning of value"},
		},
		{
			name: "the last word is empty", stage: "train", pods: shards(""), partial: true,
			want: jobs.Outcome{State: jobs.Failed, Class: "NoManifest", Message: "shard 0 of 1 ended without naming a valid manifest: pod pod-0: no termination message"},
		},
		{
			name: "the last word names no manifest", stage: "train", pods: shards(`{"class":"Succeeded"}`), partial: true,
			want: jobs.Outcome{State: jobs.Failed, Class: "NoManifest", Message: "shard 0 of 1 ended without naming a valid manifest"},
		},
		{
			name: "a pod without an index is no shard", stage: "train", pods: []corev1.Pod{unnumbered}, partial: true,
			want: jobs.Outcome{State: jobs.Failed, Class: "NoManifest", Message: "shard 0 of 1 ended without naming a valid manifest: pod pod-0 has no completion index"},
		},
		{
			name: "a pod with an index beyond the shards is no shard", stage: "train", pods: []corev1.Pod{pod(7, 0, 0, adapter)}, partial: true,
			want: jobs.Outcome{State: jobs.Failed, Class: "NoManifest", Message: "shard 0 of 1 ended without naming a valid manifest"},
		},
		{
			name: "an output that later stages read is missing", stage: "train", pods: shards(word("m0", "")),
			want: jobs.Outcome{State: jobs.Failed, Class: "NoManifest", Message: `the termination message names no output "adapter"`},
		},
		{
			name: "prepare names some of its sets only", stage: "prepare",
			pods: shards(word("m0", `,"outputs":{"prompts/train":`+quoted("p")+`,"prompts/evaluation":`+quoted("q")+`}`)),
			want: jobs.Outcome{State: jobs.Failed, Class: "NoManifest", Message: `the termination message names no output "index/train"`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, complete := jobs.Read(ended(tt.stage, batchv1.JobComplete, "CompletionsReached", ""), tt.pods, noon, counted)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if complete == tt.partial {
				t.Errorf("complete is %v", complete)
			}
		})
	}
}

func TestReadFailure(t *testing.T) {
	badSpec := `{"class":"BadSpec","message":"prompts.csv:3: no column type"}`
	tests := []struct {
		name    string
		pods    []corev1.Pod
		want    jobs.Outcome
		partial bool
	}{
		{
			name: "no pod tells why", partial: true,
			want: jobs.Outcome{Class: "BackoffLimitExceeded", Message: "Job has reached the specified backoff limit"},
		},
		{
			name: "its own message", pods: []corev1.Pod{pod(0, 64, 0, badSpec)},
			want: jobs.Outcome{Class: "BadSpec", Message: "prompts.csv:3: no column type", Final: true},
		},
		{
			name: "the log's last lines where it wrote none", pods: []corev1.Pod{pod(0, 2, 0, "panic: index out of range\n\ngoroutine 1\n")},
			want: jobs.Outcome{Class: "Bug", Message: "exit code 2: panic: index out of range\n\ngoroutine 1"},
		},
		{
			name: "Kubernetes' reason where there is no log", pods: []corev1.Pod{killed(pod(0, 137, 0, ""), "OOMKilled")},
			want: jobs.Outcome{Class: "Bug", Message: "exit code 137: OOMKilled"},
		},
		{
			name: "of long texts the end", pods: []corev1.Pod{pod(0, 70, 0, strings.Repeat("x", 3000)+"the cause")},
			want: jobs.Outcome{Class: "Bug", Message: "..." + ("exit code 70: " + strings.Repeat("x", 3000) + "the cause")[3023-1500:]},
		},
		{
			name: "the last failure", pods: []corev1.Pod{pod(0, 76, 5, `{"class":"GPUFault","message":"second"}`), pod(1, 69, 1, `{"class":"Storage","message":"first"}`)},
			want: jobs.Outcome{Class: "GPUFault", Message: "second"},
		},
		{
			name: "what a retry cannot mend comes before later failures", pods: []corev1.Pod{pod(0, 70, 5, "later"), pod(1, 64, 1, badSpec)},
			want: jobs.Outcome{Class: "BadSpec", Message: "prompts.csv:3: no column type", Final: true},
		},
		{
			name: "the cause comes before the interruptions that it brings", pods: []corev1.Pod{pod(0, 69, 1, `{"class":"Storage","message":"403"}`), pod(1, 143, 5, ""), pod(2, 75, 6, "")},
			want: jobs.Outcome{Class: "Storage", Message: "403"},
		},
		{
			name: "nothing but interruptions", pods: []corev1.Pod{killed(pod(1, 143, 5, ""), "Error")},
			want: jobs.Outcome{Class: "Interrupted", Message: "exit code 143: Error"},
		},
		{
			name: "a disruption alone", pods: []corev1.Pod{disrupted(pod(0, 137, 5, ""), "PreemptionByScheduler")},
			want: jobs.Outcome{Class: "Disrupted", Disrupted: true, Message: "exit code 137"},
		},
		{
			name: "a disruption before the container ran", pods: []corev1.Pod{disrupted(refused("Evicted", "The node was low on resource: memory."), "TerminationByKubelet")},
			want: jobs.Outcome{Class: "Disrupted", Disrupted: true, Message: "Evicted: The node was low on resource: memory."},
		},
		{
			name: "a pod that somebody deleted", pods: []corev1.Pod{deleted(killed(pod(0, 137, 5, ""), "Error"))},
			want: jobs.Outcome{Class: "Disrupted", Disrupted: true, Message: "exit code 137: Error"},
		},
		{
			name: "disruptions beside a failure", pods: []corev1.Pod{pod(1, 76, 1, `{"class":"GPUFault","message":"Xid 79"}`), disrupted(pod(0, 137, 5, ""), "DeletionByTaintManager"), deleted(pod(2, 143, 6, ""))},
			want: jobs.Outcome{Class: "GPUFault", Message: "Xid 79"},
		},
		{
			name: "disruptions beside an interruption that nobody asked for", pods: []corev1.Pod{killed(pod(1, 143, 1, ""), "Error"), disrupted(pod(0, 137, 5, ""), "TerminationByKubelet")},
			want: jobs.Outcome{Class: "Interrupted", Message: "exit code 143: Error"},
		},
		{
			name: "what is final stays so when disrupted besides", pods: []corev1.Pod{disrupted(pod(0, 64, 0, badSpec), "TerminationByKubelet")},
			want: jobs.Outcome{Class: "BadSpec", Message: "prompts.csv:3: no column type", Final: true},
		},
		{
			name: "a node that refused the pod", pods: []corev1.Pod{refused("UnexpectedAdmissionError", "Allocate failed: no healthy devices present")},
			want: jobs.Outcome{Class: "BackoffLimitExceeded", Message: "UnexpectedAdmissionError: Allocate failed: no healthy devices present"},
		},
		{
			name: "evicted for its own use of the disk", pods: []corev1.Pod{evicted(pod(0, 137, 3, ""), "Container stage exceeded its local ephemeral storage limit \"1Gi\".")},
			want: jobs.Outcome{Class: "Bug", Message: "exit code 137: Evicted: Container stage exceeded its local ephemeral storage limit \"1Gi\"."},
		},
		{
			name: "succeeded shards say nothing of it", pods: []corev1.Pod{pod(0, 0, 9, word("m", "")), pod(1, 66, 1, `{"class":"Mismatch","message":"rank 8, not 16"}`)},
			want: jobs.Outcome{Class: "Mismatch", Message: "rank 8, not 16", Final: true},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			job := ended("sample", batchv1.JobFailed, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
			tt.want.State = jobs.Failed
			for _, pods := range [][]corev1.Pod{tt.pods, reversed(tt.pods)} {
				got, complete := jobs.Read(job, pods, noon, counted)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
				if complete == tt.partial {
					t.Errorf("complete is %v", complete)
				}
			}
		})
	}
}

func killed(p corev1.Pod, reason string) corev1.Pod {
	p.Status.ContainerStatuses[1].State.Terminated.Reason = reason
	return p
}

func disrupted(p corev1.Pod, reason string) corev1.Pod {
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason})
	return p
}

func deleted(p corev1.Pod) corev1.Pod {
	p.DeletionTimestamp = &metav1.Time{Time: noon.Add(time.Hour)}
	return p
}

func evicted(p corev1.Pod, message string) corev1.Pod {
	p.Status.Reason, p.Status.Message = "Evicted", message
	return p
}

// refused is a pod that its node's kubelet never started.
func refused(reason, message string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "refused"}, Spec: corev1.PodSpec{NodeName: "gpu-7"},
		Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: reason, Message: message},
	}
}

func reversed(pods []corev1.Pod) []corev1.Pod {
	var r []corev1.Pod
	for i := range pods {
		r = append(r, pods[len(pods)-1-i])
	}
	return r
}

// The class and finality of a failure are those of its exit code.
func TestReadClass(t *testing.T) {
	for code, want := range map[int32]string{
		1: "Bug", 64: "BadSpec", 65: "BadInput", 66: "Mismatch", 69: "Storage", 70: "Bug", 75: "Interrupted", 76: "GPUFault",
		77: "OutOfMemory", 78: "Diverged", 137: "Bug", 143: "Interrupted",
	} {
		final := want == "BadSpec" || want == "Mismatch" || want == "OutOfMemory" || want == "Diverged"
		got, _ := jobs.Read(ended("sample", batchv1.JobFailed, "", ""), []corev1.Pod{pod(0, code, 0, "")}, noon, counted)
		if got.Class != want || got.Final != final {
			t.Errorf("exit code %d: %s, final %v; want %s, %v", code, got.Class, got.Final, want, final)
		}
	}
}

// A Job that somebody else made under our labels is read without harm, however odd.
func TestReadOddJobs(t *testing.T) {
	odd := ended("sample", batchv1.JobComplete, "", "")
	odd.Spec.Completions, odd.Spec.Template.Annotations = nil, map[string]string{"alignment.spatialalign.dev/spec": "no JSON"}
	if got, _ := jobs.Read(odd, []corev1.Pod{pod(0, 0, 0, word("m", ""))}, noon, counted); got.State != jobs.Succeeded {
		t.Errorf("a Job of one completion: %+v", got)
	}
	odd.Spec.Completions = ptr.To(int32(1<<31 - 1))
	if got, _ := jobs.Read(odd, []corev1.Pod{pod(0, 0, 0, word("m", ""))}, noon, counted); got.Message != "shard 1 of 2147483647 ended without naming a valid manifest" {
		t.Errorf("a Job of two billion completions: %+v", got)
	}
}

func TestFinished(t *testing.T) {
	tests := []struct {
		kind batchv1.JobConditionType
		want bool
	}{
		{"", false}, {batchv1.JobSuspended, false}, {batchv1.JobSuccessCriteriaMet, false}, {batchv1.JobFailureTarget, false},
		{batchv1.JobComplete, true}, {batchv1.JobFailed, true},
	}
	for _, tt := range tests {
		if got := jobs.Finished(ended("sample", tt.kind, "", "")); got != tt.want {
			t.Errorf("with condition %q a Job is finished: %v", tt.kind, got)
		}
	}
}
