package jobs

import (
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/spatialalign/operator/internal/contract"
)

const (
	// MaxInterruptions is how many pods of one Job may say that they were interrupted (exit code 75 or 143) before
	// the attempt counts as failed. The Job's failure policy ignores such pods, so that the Job alone would replace
	// them for ever. Pods that Kubernetes itself disrupted do not count.
	MaxInterruptions = 10
	// podless is how long a Job may have no pod before that is worth saying: the Job controller creates pods within
	// seconds, or is refused.
	podless = 20 * time.Second
)

// active is the outcome of a Job that Kubernetes has not ended.
func active(job *batchv1.Job, pods []corev1.Pod, now time.Time) Outcome {
	n, last := interruptions(pods)
	if n >= MaxInterruptions {
		return Outcome{
			State: Failed, Class: contract.ExitCheckpointed.Class(), Endless: true,
			Message: clip(fmt.Sprintf("interrupted %d times without an end: %s", n, said(last))),
		}
	}
	o := Outcome{State: Active, Message: waiting(pods)}
	switch {
	case o.Message != "":
	case n > 0:
		o.Message = clip(fmt.Sprintf("interrupted %d time(s); the last said: %s", n, said(last)))
	case len(pods) == 0 && now.Sub(job.CreationTimestamp.Time) > podless:
		o.Message = fmt.Sprintf("no pod of Job %s exists yet: quota or admission may refuse it, see kubectl describe job %s", job.Name, job.Name)
	}
	return o
}

// interruptions counts the pods that ended as interrupted although nobody disrupts or deletes them, and returns the
// last one's word; nil where there is none.
func interruptions(pods []corev1.Pod) (n int, last *corev1.ContainerStateTerminated) {
	for i := range pods {
		p := &pods[i]
		t := terminated(p)
		if t == nil || !interrupted(t) || disrupted(p) || p.DeletionTimestamp != nil {
			continue
		}
		n++
		if last == nil || t.FinishedAt.After(last.FinishedAt.Time) {
			last = t
		}
	}
	return n, last
}

func interrupted(t *corev1.ContainerStateTerminated) bool {
	code := contract.ExitCode(t.ExitCode)
	return code == contract.ExitCheckpointed || code == contract.ExitSIGTERM
}

// disrupted says that Kubernetes evicted or preempted the pod, or lost its node.
func disrupted(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
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
				return clip(strings.TrimSuffix(w.Reason+": "+w.Message, ": "))
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
