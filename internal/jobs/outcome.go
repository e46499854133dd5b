package jobs

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// State of a child as far as its owner's plan cares.
type State int

const (
	// Active children have not ended.
	Active State = iota
	// Succeeded children ended well, and every shard named a manifest.
	Succeeded
	// Failed children ended badly.
	Failed
)

// Outcome is what a child has come to.
type Outcome struct {
	State State
	// Class and Message say why a Failed child failed, or what holds an Active one up (Message alone).
	Class   string
	Message string
	// Final says that another attempt must fail in the same way.
	Final bool
	// Endless says that a Failed child will not end by itself: it is to be deleted, and no other attempt to start before it is gone.
	Endless bool
	// Outputs of a Succeeded child by name, among them "manifest/<shard>" of every shard.
	Outputs map[string]contract.Artifact
	Counts  map[string]int64
	Metrics map[string]string
}

// ClassNoManifest is the class of a Job that Kubernetes calls complete although a shard named no valid manifest, or
// not the outputs that later stages read.
const ClassNoManifest = "NoManifest"

// maxMessage bounds what of a container's last lines goes into status.
const maxMessage = 1500

// Finished reports whether the Job controller has ended the Job.
func Finished(job *batchv1.Job) bool {
	return jobCondition(job, batchv1.JobComplete) != nil || jobCondition(job, batchv1.JobFailed) != nil
}

// Read derives a Job's outcome from the Job and its pods. complete is false when the last words that the outcome
// needs are not among the pods: a stale list, or pods that vanished. now tells how old a Job without pods is.
func Read(job *batchv1.Job, pods []corev1.Pod, now time.Time) (o Outcome, complete bool) {
	if c := jobCondition(job, batchv1.JobFailed); c != nil {
		return failure(c, pods)
	}
	if jobCondition(job, batchv1.JobComplete) == nil {
		return active(job, pods, now), true
	}
	return success(job, pods)
}

func success(job *batchv1.Job, pods []corev1.Pod) (Outcome, bool) {
	shards := int(ptr.Deref(job.Spec.Completions, 1))
	o := Outcome{State: Succeeded, Outputs: map[string]contract.Artifact{}, Counts: map[string]int64{}, Metrics: map[string]string{}}
	seen := map[int]bool{}
	var complaint string
	for i := range pods {
		shard, t, err := lastWord(&pods[i])
		if err != nil {
			complaint = ": " + err.Error()
		}
		if t == nil || t.Manifest == nil || shard < 0 || shard >= shards || seen[shard] {
			continue
		}
		seen[shard] = true
		add(&o, t, shard, shards)
	}
	for shard := range shards {
		if !seen[shard] {
			return unfounded(fmt.Sprintf("shard %d of %d ended without naming a valid manifest%s", shard, shards, complaint)), false
		}
	}
	for _, name := range spec(job).Outputs() {
		if _, ok := o.Outputs[name]; !ok {
			return unfounded(fmt.Sprintf("the termination message names no output %q", name)), true
		}
	}
	return o, true
}

// unfounded is the outcome of a Job that Kubernetes calls complete and the contract does not.
func unfounded(message string) Outcome {
	return Outcome{State: Failed, Class: ClassNoManifest, Message: clip(message)}
}

// spec is the stage spec that the Job carries.
func spec(job *batchv1.Job) *contract.Spec {
	var s contract.Spec
	if err := json.Unmarshal([]byte(job.Spec.Template.Annotations[v1alpha1.AnnotationSpec]), &s); err != nil {
		return &contract.Spec{} // a Job that we did not build: nothing of it is in any plan
	}
	return &s
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

// failure tells by the container that failed last, but an interruption tells nothing where another container failed
// of its own accord, and what is final comes before all.
func failure(c *batchv1.JobCondition, pods []corev1.Pod) (Outcome, bool) {
	var last *corev1.ContainerStateTerminated
	for i := range pods {
		t := terminated(&pods[i])
		if t == nil || t.ExitCode == 0 {
			continue
		}
		if last == nil || weight(t) > weight(last) || weight(t) == weight(last) && t.FinishedAt.After(last.FinishedAt.Time) {
			last = t
		}
	}
	if last == nil {
		return Outcome{State: Failed, Class: c.Reason, Message: clip(c.Message)}, false
	}
	code := contract.ExitCode(last.ExitCode)
	return Outcome{State: Failed, Class: code.Class(), Final: code.Final(), Message: clip(said(last))}, true
}

// weight of a failed container's word among others.
func weight(t *corev1.ContainerStateTerminated) int {
	switch {
	case contract.ExitCode(t.ExitCode).Final():
		return 2
	case interrupted(t):
		return 0
	default:
		return 1
	}
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
