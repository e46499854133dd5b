package jobs

import (
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/spatialalign/operator/internal/contract"
)

const (
	// ClassDisrupted is the class of a Job that ended because its pods were preempted, evicted or deleted.
	ClassDisrupted = "Disrupted"
	// ClassNodeLost is the class of a Job with a pod on a node that is gone.
	ClassNodeLost = "NodeLost"
	// ClassTooManyPods is the class of a Job with more than MaxPods pods none of which says why.
	ClassTooManyPods = "TooManyPods"
)

// failure tells by the pod that failed last, but what others did to a pod tells nothing where another pod failed of
// its own accord, and what is final comes before all. Of a gang the pod that failed first tells.
func failure(job *batchv1.Job, c *batchv1.JobCondition, pods []corev1.Pod) (Outcome, bool) {
	if Gang(job) {
		if o, complete, told := gangFailure(c, pods); told {
			return o, complete
		}
	}
	var last *corev1.Pod
	for i := range pods {
		p := &pods[i]
		if p.Status.Phase != corev1.PodFailed && !exited(p) {
			continue
		}
		if last == nil || weight(p) > weight(last) || weight(p) == weight(last) && later(p, last) {
			last = p
		}
	}
	if last == nil {
		return Outcome{State: Failed, Class: c.Reason, Message: clip(c.Message)}, false
	}
	o := Outcome{State: Failed, Class: c.Reason, Message: clip(said(last))}
	switch t := terminated(last); {
	case weight(last) == weightDisrupted:
		o.Class, o.Disrupted = ClassDisrupted, true
	case t != nil:
		code := contract.ExitCode(t.ExitCode)
		o.Class, o.Final = code.Class(), code.Final()
	}
	return o, true
}

// What a failed pod weighs among others, when it is to be told why a Job failed.
const (
	weightDisrupted = iota
	weightInterrupted
	weightFailed
	weightFinal
)

func weight(p *corev1.Pod) int {
	t := terminated(p)
	switch {
	case t != nil && contract.ExitCode(t.ExitCode).Final():
		return weightFinal
	case disturbed(p):
		return weightDisrupted
	case t != nil && interrupted(t):
		return weightInterrupted
	default:
		return weightFailed
	}
}

// exited says that the stage's container ended with another exit code than 0.
func exited(p *corev1.Pod) bool {
	t := terminated(p)
	return t != nil && t.ExitCode != 0
}

func later(a, b *corev1.Pod) bool {
	s, t := terminated(a), terminated(b)
	return s != nil && (t == nil || s.FinishedAt.After(t.FinishedAt.Time))
}

func interrupted(t *corev1.ContainerStateTerminated) bool {
	code := contract.ExitCode(t.ExitCode)
	return code == contract.ExitCheckpointed || code == contract.ExitSIGTERM
}

// disturbed says that somebody ended the pod from outside: Kubernetes disrupted it, or it was deleted.
func disturbed(p *corev1.Pod) bool { return disruption(p) != nil || p.DeletionTimestamp != nil }

// disruption is the condition that tells that Kubernetes evicts or preempts the pod, or lost its node; nil where it does not.
func disruption(p *corev1.Pod) *corev1.PodCondition {
	if c := podCondition(p, corev1.DisruptionTarget); c != nil && c.Status == corev1.ConditionTrue {
		return c
	}
	return nil
}

// said is the message of a Termination; where the container wrote none, the last lines of its log; where there are
// none, what Kubernetes says of the pod or its container.
func said(p *corev1.Pod) string {
	t := terminated(p)
	if t == nil {
		return because(p.Status.Reason, p.Status.Message)
	}
	if parsed, err := contract.ParseTermination([]byte(t.Message)); err == nil && parsed.Message != "" {
		return parsed.Message
	}
	text := strings.TrimSpace(t.Message)
	if text == "" {
		text = t.Reason
		if p.Status.Message != "" { // an eviction, for one
			text = because(p.Status.Reason, p.Status.Message)
		}
	}
	return because(fmt.Sprintf("exit code %d", t.ExitCode), text)
}

// because is a reason and its message as Kubernetes' own tools print them.
func because(reason, message string) string {
	return strings.Trim(reason+": "+message, ": ")
}

func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if s := stage(pod); s != nil {
		return s.State.Terminated
	}
	return nil
}

// stage is the status of the stage's container among those that a mesh may have added; nil before the node reports it.
func stage(pod *corev1.Pod) *corev1.ContainerStatus {
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.Name == container {
			return s
		}
	}
	return nil
}

func podCondition(p *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == t {
			return c
		}
	}
	return nil
}
