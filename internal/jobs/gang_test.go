package jobs_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/internal/golden"
	"github.com/spatialalign/operator/internal/jobs"
)

// TestService shows the Service of a gang as YAML; its Job is testdata/gang.yaml.
func TestService(t *testing.T) {
	job := jobs.Build(everyStage()["gang"])
	job.UID = "77-job"
	data, err := yaml.Marshal(jobs.Service(job))
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "gang-service.yaml", string(data))
	for name, w := range everyStage() {
		if got := jobs.Gang(jobs.Build(w)); got != (name == "gang") {
			t.Errorf("%s is a gang: %v", name, got)
		}
	}
}

// rank is a running pod of the gang.
func rank(i int) corev1.Pod {
	p := scheduled(fmt.Sprintf("pod-%d", i), 0)
	p.Status.Phase = corev1.PodRunning
	return p
}

// Whatever ends a pod ends the Job, whose condition says which pod that was. It tells whose fault the end is: the others
// only follow.
func TestWhatAGangFailsOf(t *testing.T) {
	exits := func(shard, code int) string {
		return fmt.Sprintf("Container stage for pod team-a/pod-%d failed with exit code %d matching FailJob rule at index 1", shard, code)
	}
	const evicted = "Pod team-a/pod-1 has condition DisruptionTarget matching FailJob rule at index 0"
	others := []corev1.Pod{pod(0, 69, 9, "rank 1 is gone"), pod(2, 69, 9, "rank 1 is gone"), deleted(pod(3, 75, 9, "saved"))}
	with := func(p ...corev1.Pod) []corev1.Pod { return append(p, others...) }
	failed := func(class, message string) jobs.Outcome {
		return jobs.Outcome{State: jobs.Failed, Class: class, Message: message}
	}
	disturbed := func(why string) jobs.Outcome {
		return jobs.Outcome{
			State: jobs.Failed, Class: "Disrupted", Disrupted: true, Message: "pod pod-1 ends, and the others cannot go on without it: " + why,
		}
	}
	final := failed("Diverged", "exit code 78: NaN")
	final.Final = true
	wrong := failed("Mismatch", exits(1, 66))
	wrong.Final = true
	tests := []struct {
		name, condition string
		pods            []corev1.Pod
		want            jobs.Outcome
		// partial means that the list of pods may be behind.
		partial bool
	}{
		{"evicted", evicted, with(disrupted(pod(1, 75, 1, "saved"), "TerminationByKubelet")), disturbed("TerminationByKubelet"), false},
		{"evicted, and gone", evicted, others, disturbed("it was deleted"), true},
		{"deleted, and still there", exits(1, 75), with(deleted(pod(1, 75, 1, "saved"))), disturbed("it was deleted"), false},
		{"deleted by force, and gone", exits(1, 137), others, disturbed("it was deleted"), true},
		{"a bug", exits(1, 70), with(pod(1, 70, 1, "it broke")), failed("Bug", "exit code 70: it broke"), false},
		{"killed for its memory", exits(1, 137), with(pod(1, 137, 1, "")), failed("Bug", "exit code 137"), false},
		{"a bug, after others have fled", exits(1, 70), with(pod(1, 70, 59, "it broke")), failed("Bug", "exit code 70: it broke"), false},
		{"hung, and restarted by its probe", exits(1, 75), with(pod(1, 75, 1, "saved")), failed("Interrupted", "exit code 75: saved"), false},
		{"the network", exits(0, 69), with(pod(1, 69, 9, "rank 0 is gone")), failed("Storage", "exit code 69: rank 1 is gone"), false},
		{"NaN, whoever was first", exits(0, 69), with(pod(1, 78, 1, "NaN")), final, false},
		{"wrong weights, and gone", exits(1, 66), others, wrong, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, pods := range [][]corev1.Pod{tt.pods, reversed(tt.pods)} {
				got, complete := jobs.Read(ended("gang", batchv1.JobFailed, batchv1.JobReasonPodFailurePolicy, tt.condition), pods, noon.Add(time.Hour), counted)
				if diff := cmp.Diff(tt.want, got); diff != "" || complete == tt.partial {
					t.Errorf("complete %v, %s", complete, diff)
				}
			}
		})
	}
}

// A running pod that is deleted or evicted ends its gang at once, unless the Job controller does so already.
func TestAGangThatLosesAPod(t *testing.T) {
	again := jobs.Outcome{
		State: jobs.Failed, Class: "Disrupted", Disrupted: true, Endless: true,
		Message: "pod pod-1 ends, and the others cannot go on without it: it was deleted",
	}
	evicted := again
	evicted.Message = "pod pod-1 ends, and the others cannot go on without it: EvictionByEvictionAPI"
	failing := []batchv1.JobCondition{{Type: batchv1.JobFailureTarget, Status: corev1.ConditionTrue}}
	tests := []struct {
		name       string
		pod        corev1.Pod
		conditions []batchv1.JobCondition
		suspended  bool
		want       jobs.Outcome
	}{
		{"nothing", rank(1), nil, false, jobs.Outcome{}},
		{"deleted", deleted(rank(1)), nil, false, again},
		{"evicted", disrupted(rank(1), "EvictionByEvictionAPI"), nil, false, evicted},
		{"failed of its own accord", pod(1, 70, 1, "it broke"), nil, false, jobs.Outcome{}},
		{"done before the others", pod(1, 0, 1, ""), nil, false, jobs.Outcome{}},
		{"deleted by the Job controller", deleted(rank(1)), failing, false, jobs.Outcome{}},
		{"deleted as the queue takes its quota back", deleted(rank(1)), nil, true, jobs.Outcome{Queued: true, Message: "Job first-run-9ccfb80e-1-train-0 is suspended"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			job := ended("gang", "", "", "")
			job.Status.Conditions, job.Spec.Suspend = tt.conditions, ptr.To(tt.suspended)
			got, complete := jobs.Read(job, []corev1.Pod{rank(0), tt.pod, rank(2), rank(3)}, noon, counted)
			if diff := cmp.Diff(tt.want, got); diff != "" || !complete {
				t.Errorf("complete %v, %s", complete, diff)
			}
		})
	}
}

// A gang of which only some pods have a node holds GPUs and does nothing: after a minute it is stuck, and its start-up
// deadline runs. One that holds nothing waits like any other pod.
func TestAGangThatStartsInPart(t *testing.T) {
	const busy = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
	waits, more := unscheduled("pod-3", busy), []corev1.Pod{rank(1), rank(2)}
	half := "3 of 4 pods have a node and wait for the others: Unschedulable: " + busy
	refused := "3 of 4 pods have a node and wait for the others: there are 3 pods, see kubectl describe job first-run-9ccfb80e-1-train-0"
	tests := []struct {
		name    string
		pods    []corev1.Pod
		seconds int
		want    jobs.Outcome
	}{
		{"all run", append(more, rank(0), rank(3)), 600, jobs.Outcome{}},
		{"one waits", append(more, rank(0), waits), 60, jobs.Outcome{Message: "Unschedulable: " + busy}},
		{"one waits for long", append(more, rank(0), waits), 61, jobs.Outcome{Stuck: half, Message: half}},
		{"one could not be made", append(more, rank(0)), 61, jobs.Outcome{Stuck: refused, Message: refused}},
		{"one is done", append(more, pod(0, 0, 1, ""), rank(3)), 600, jobs.Outcome{}},
		{"all wait", []corev1.Pod{waits, unscheduled("pod-0", busy)}, 600, jobs.Outcome{Queued: true, Message: "Unschedulable: " + busy}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := jobs.Read(ended("gang", "", "", ""), tt.pods, noon.Add(time.Duration(tt.seconds)*time.Second), counted)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The first pod writes for all: what it says is what the stage came to.
func TestAGangThatSucceeds(t *testing.T) {
	adapter := pod(0, 0, 1, word("m0", `,"outputs":{"adapter":`+quoted("adapter")+`},"metrics":{"loss":"0.61"}`))
	var pods []corev1.Pod
	for i := 1; i < 4; i++ {
		pods = append(pods, pod(i, 0, 1, `{"class":"Succeeded"}`))
	}
	job := ended("gang", batchv1.JobComplete, "", "")
	got, complete := jobs.Read(job, append(pods, adapter), noon, counted)
	if got.State != jobs.Succeeded || got.Outputs["adapter"] != pinned("adapter") || got.Metrics["loss"] != "0.61" || !complete {
		t.Errorf("complete %v, %+v", complete, got)
	}
	if got, complete = jobs.Read(job, pods, noon, counted); got.Class != jobs.ClassNoManifest || complete {
		t.Errorf("without the first pod: complete %v, %+v", complete, got)
	}
}

// Every pod of a gang is charged for its GPUs.
func TestUsageOfAGang(t *testing.T) {
	var pods []corev1.Pod
	for i := range 4 {
		p := rank(i)
		p.Spec.Containers = jobs.Build(everyStage()["gang"]).Spec.Template.Spec.Containers
		pods = append(pods, p)
	}
	got, _ := jobs.Read(ended("gang", "", "", ""), pods, noon.Add(10*time.Second), counted)
	var total int64
	for _, u := range got.Usage {
		total += u.GPUSeconds
	}
	if len(got.Usage) != 4 || total != 4*8*10 {
		t.Errorf("%+v: %d GPU-seconds, want those of 4 pods with 8 GPUs each for 10 s", got.Usage, total)
	}
}

// The pods of a gang make the same steps: those of one are counted.
func TestTheFirstPodTellsTheProgress(t *testing.T) {
	pods := []corev1.Pod{pod(1, 0, 1, ""), pod(0, 0, 1, ""), pod(2, 0, 1, "")}
	if got := jobs.Telling(jobs.Build(everyStage()["gang"]), pods); len(got) != 1 || got[0].Name != "pod-0" {
		t.Errorf("of a gang %d pods tell", len(got))
	}
	if got := jobs.Telling(jobs.Build(everyStage()["sample"]), pods); len(got) != 3 {
		t.Errorf("of shards %d pods tell", len(got))
	}
}
