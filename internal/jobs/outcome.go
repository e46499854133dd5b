package jobs

import (
	"fmt"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/spatialalign/operator/internal/contract"
)

// State of a child as far as its owner's plan cares.
type State int

const (
	// Active: the child has not ended.
	Active State = iota
	// Succeeded: it ended well and every shard named a manifest.
	Succeeded
	// Failed: it ended badly.
	Failed
)

// Outcome is what a child has come to.
type Outcome struct {
	State State
	// Class and Message say why a Failed child failed, or what an Active one waits for (Message alone).
	Class   string
	Message string
	// Final says that another attempt must fail in the same way.
	Final bool
	// Outputs of a Succeeded child by name, among them "manifest/<shard>" of every shard.
	Outputs map[string]contract.Artifact
	Counts  map[string]int64
	Metrics map[string]string
}

// ClassNoManifest is the class of a Job that Kubernetes calls complete although a shard named no valid manifest.
const ClassNoManifest = "NoManifest"

// maxMessage bounds what of a container's last lines goes into status.
const maxMessage = 1500

// Finished reports whether the Job controller has ended the Job.
func Finished(job *batchv1.Job) bool {
	return jobCondition(job, batchv1.JobComplete) != nil || jobCondition(job, batchv1.JobFailed) != nil
}

// Read derives a Job's outcome from the Job and its pods. complete is false when the Job has succeeded
// but not every shard's last word is among the pods: a stale list, or pods that vanished.
func Read(job *batchv1.Job, pods []corev1.Pod) (o Outcome, complete bool) {
	if c := jobCondition(job, batchv1.JobFailed); c != nil {
		return failure(c, pods), true
	}
	if jobCondition(job, batchv1.JobComplete) == nil {
		return Outcome{State: Active, Message: waiting(pods)}, true
	}
	return success(job, pods)
}

func success(job *batchv1.Job, pods []corev1.Pod) (Outcome, bool) {
	shards := int(*job.Spec.Completions)
	o := Outcome{State: Succeeded, Outputs: map[string]contract.Artifact{}, Counts: map[string]int64{}, Metrics: map[string]string{}}
	seen := make([]bool, shards)
	var complaint string
	for i := range pods {
		shard, t, err := lastWord(&pods[i])
		if err != nil {
			complaint = err.Error()
		}
		if t == nil || t.Manifest == nil || shard < 0 || shard >= shards || seen[shard] {
			continue
		}
		seen[shard] = true
		add(&o, t, shard, shards)
	}
	for shard, ok := range seen {
		if !ok {
			message := fmt.Sprintf("shard %d of %d ended without naming a valid manifest", shard, shards)
			if complaint != "" {
				message += ": " + complaint
			}
			return Outcome{State: Failed, Class: ClassNoManifest, Message: clip(message)}, false
		}
	}
	return o, true
}

func add(o *Outcome, t *contract.Termination, shard, shards int) {
	for k, v := range t.Counts {
		o.Counts[k] += v
	}
	o.Outputs["manifest/"+strconv.Itoa(shard)] = *t.Manifest
	if shards > 1 {
		return // only sampling and tracking are sharded, and nobody needs more of them
	}
	for k, v := range t.Outputs {
		o.Outputs[k] = v
	}
	for k, v := range t.Metrics {
		o.Metrics[k] = v
	}
}

// lastWord is what a succeeded pod's container said at its end; nil for any other pod.
func lastWord(pod *corev1.Pod) (int, *contract.Termination, error) {
	if pod.Status.Phase != corev1.PodSucceeded {
		return -1, nil, nil
	}
	shard, err := strconv.Atoi(pod.Annotations[batchv1.JobCompletionIndexAnnotation])
	if err != nil {
		return -1, nil, fmt.Errorf("pod %s has no completion index", pod.Name)
	}
	terminated := terminated(pod)
	if terminated == nil {
		return shard, nil, nil
	}
	t, err := contract.ParseTermination([]byte(terminated.Message))
	if err != nil {
		return shard, nil, fmt.Errorf("pod %s: %w", pod.Name, err)
	}
	return shard, t, nil
}

func failure(c *batchv1.JobCondition, pods []corev1.Pod) Outcome {
	o := Outcome{State: Failed, Class: c.Reason, Message: clip(c.Message)}
	var last *corev1.ContainerStateTerminated
	for i := range pods {
		t := terminated(&pods[i])
		if t == nil || t.ExitCode == 0 {
			continue
		}
		code := contract.ExitCode(t.ExitCode)
		if last != nil && !code.Final() && !t.FinishedAt.After(last.FinishedAt.Time) {
			continue
		}
		last = t
		o.Class, o.Final, o.Message = code.Class(), code.Final(), clip(said(t))
		if o.Final {
			break
		}
	}
	return o
}

// said is the message of a Termination, or the last lines of the log where the container wrote none.
func said(t *corev1.ContainerStateTerminated) string {
	if parsed, err := contract.ParseTermination([]byte(t.Message)); err == nil && parsed.Message != "" {
		return parsed.Message
	}
	text := strings.TrimSpace(t.Message)
	if text == "" {
		text = t.Reason
	}
	return fmt.Sprintf("exit code %d: %s", t.ExitCode, text)
}

// waiting says why a pod of an active Job does not run; empty when all do.
func waiting(pods []corev1.Pod) string {
	for i := range pods {
		p := &pods[i]
		if p.Status.Phase != corev1.PodPending {
			continue
		}
		for _, s := range p.Status.ContainerStatuses {
			if w := s.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
				return clip(strings.TrimSpace(w.Reason + ": " + w.Message))
			}
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Message != "" {
				return clip(c.Reason + ": " + c.Message)
			}
		}
	}
	return ""
}

func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.Name == container {
			return s.State.Terminated
		}
	}
	return nil
}

func jobCondition(job *batchv1.Job, t batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		if c := &job.Status.Conditions[i]; c.Type == t && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// clip keeps the last lines: the end of a log says what went wrong.
func clip(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return "..." + strings.ToValidUTF8(s[len(s)-maxMessage:], "")
}
