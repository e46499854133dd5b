package jobs

import (
	"encoding/json"
	"fmt"
	"slices"
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
	// Disrupted says that a Failed child failed through no fault of its own: its pods were preempted, evicted, deleted
	// or lost with their node. Such an attempt is not charged to the stage.
	Disrupted bool
	// Endless says that a Failed child will not end by itself: it is to be deleted, and no other attempt to start before it is gone.
	Endless bool
	// Lost says that the node of an Endless child's pod is gone, so that nobody can tell when the pod ends: the next
	// attempt starts without waiting for it. What the pod may still write stays under its own attempt's prefix.
	Lost bool
	// Queued says that nothing of an Active child runs, for want of quota or of a free node.
	Queued bool
	// QueueReason is why a Queued child waits, in one word of its queue or of the quota that holds it up; empty where none says.
	QueueReason string
	// Stuck says why a pod of an Active child cannot start although no queue and no busy node holds it up; empty where none.
	Stuck string
	// Stranded says that a pod of an Active child has ended and is being deleted, and stays until another replaces it. None
	// can where the namespace is being deleted, and there pods go before Jobs.
	Stranded bool
	// Usage is the GPU time of the pods that can be seen, by name; pods without GPUs have none.
	Usage []PodUsage
	// Waited is how long the Job waited until a pod of it ran; nil while none has.
	Waited *time.Duration
	// Image is what the pods ran, with the digest that the node resolved; empty when unknown or not the same everywhere.
	Image string
	// TrackImage is what the tracking of a Succeeded batch ran; empty of all other children, and where it tracked nothing.
	TrackImage string
	// Outputs of a Succeeded child by name, among them "manifest/<shard>" of every shard.
	Outputs map[string]contract.Artifact
	Counts  map[string]int64
	Metrics map[string]string
	// Devices are GPU models by what they made, as a comparison tells.
	Devices map[string][]string
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
// needs are not among the pods: a stale list, or pods that vanished. now ends the GPU time of pods that still run, and
// tells how long something has been waited for; counted is what of a pod are GPUs.
func Read(job *batchv1.Job, pods []corev1.Pod, now time.Time, counted GPUs) (o Outcome, complete bool) {
	pods = slices.Clone(pods) // in the order of names, so that what is said does not depend on the list's
	slices.SortStableFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	if c := jobCondition(job, batchv1.JobFailed); c != nil {
		o, complete = failure(job, c, pods)
	} else if jobCondition(job, batchv1.JobComplete) != nil {
		o, complete = success(job, pods)
	} else {
		o, complete = active(job, pods, now), true
	}
	o.Usage, o.Waited, o.Image = usage(pods, counted, now), waited(job, pods), image(pods)
	return o, complete
}

func success(job *batchv1.Job, pods []corev1.Pod) (Outcome, bool) {
	shards := int(ptr.Deref(job.Spec.Completions, 1))
	if Gang(job) {
		shards = 1 // the first pod writes for all
	}
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
	for _, name := range spec(job).Metrics() {
		if _, ok := o.Metrics[name]; !ok {
			return unfounded(fmt.Sprintf("the termination message names no metric %q", name)), true
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
	o.Devices = t.Devices
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
