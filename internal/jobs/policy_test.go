package jobs_test

import (
	"slices"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/spatialalign/operator/internal/jobs"
)

// What becomes of the other shards when one fails: on FailJob the Job controller deletes all pods of the Job at once.
// Otherwise they go on, and the store keeps what they made.
func TestSiblingsOfAFailedShard(t *testing.T) {
	const failJob, failIndex, ignore = batchv1.PodFailurePolicyActionFailJob, batchv1.PodFailurePolicyActionFailIndex, batchv1.PodFailurePolicyActionIgnore
	tests := []struct {
		why          string
		pod          corev1.Pod
		shard, train batchv1.PodFailurePolicyAction // empty where the failure is counted
	}{ // of a training on several nodes every failure ends the Job
		{"bad spec", pod(0, 64, 0, ""), failJob, failJob},
		{"weights do not match", pod(0, 66, 0, ""), failJob, failJob},
		{"out of GPU memory", pod(0, 77, 0, ""), failJob, failJob},
		{"diverged", pod(0, 78, 0, ""), failJob, failJob},
		{"too many INVALID samples", pod(0, 79, 0, ""), failJob, failJob},
		{"bad input: this shard's alone", pod(0, 65, 0, ""), failIndex, failJob},
		{"storage: this shard once more, then given up", pod(0, 69, 0, ""), "", ""},
		{"a bug", pod(0, 70, 0, ""), "", ""},
		{"GPU fault", pod(0, 76, 0, ""), "", ""},
		{"killed", pod(0, 137, 0, ""), "", ""},
		{"checkpointed", pod(0, 75, 0, ""), ignore, ignore},
		{"told to stop", pod(0, 143, 0, ""), ignore, ignore},
		{"evicted, whatever its exit code", disrupted(pod(0, 64, 0, ""), "TerminationByKubelet"), ignore, ignore},
	}
	gang := jobs.Build(everyStage()["gang"]).Spec
	sample, track, train := jobs.Build(everyStage()["sample"]).Spec, jobs.Build(everyStage()["track"]).Spec, jobs.Build(everyStage()["train"]).Spec
	for _, tt := range tests {
		for _, spec := range []batchv1.JobSpec{sample, track} {
			if got := firstRule(spec.PodFailurePolicy, &tt.pod); got != tt.shard {
				t.Errorf("%s: %q for a shard, want %q", tt.why, got, tt.shard)
			}
		}
		if got := firstRule(train.PodFailurePolicy, &tt.pod); got != tt.train {
			t.Errorf("%s: %q for training, want %q", tt.why, got, tt.train)
		}
		if got := firstRule(gang.PodFailurePolicy, &tt.pod); got != failJob {
			t.Errorf("%s: %q for training on several nodes, want %q", tt.why, got, failJob)
		}
	}
	// What is counted ends its own shard at most.
	for _, spec := range []batchv1.JobSpec{sample, track} {
		if *spec.BackoffLimitPerIndex != 1 || spec.MaxFailedIndexes != nil || spec.BackoffLimit != nil || spec.SuccessPolicy != nil || spec.ActiveDeadlineSeconds != nil {
			t.Errorf("a limit other than one retry of each shard: %+v", spec)
		}
	}
}

// firstRule is the action of the first rule that a failed pod meets, as the Job controller reads a policy.
func firstRule(policy *batchv1.PodFailurePolicy, p *corev1.Pod) batchv1.PodFailurePolicyAction {
	for _, rule := range policy.Rules {
		for _, want := range rule.OnPodConditions {
			for _, c := range p.Status.Conditions {
				if c.Type == want.Type && c.Status == want.Status {
					return rule.Action
				}
			}
		}
		if rule.OnExitCodes == nil {
			continue
		}
		for _, s := range p.Status.ContainerStatuses {
			listed := slices.Contains(rule.OnExitCodes.Values, s.State.Terminated.ExitCode)
			if s.Name == *rule.OnExitCodes.ContainerName && listed == (rule.OnExitCodes.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
				return rule.Action
			}
		}
	}
	return ""
}
