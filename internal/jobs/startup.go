package jobs

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// settling is how long a scheduled pod may create its containers before that is worth saying.
const settling = time.Minute

// stuck says why a pod cannot start although capacity would not help; empty where there is none.
func stuck(pods []corev1.Pod, now time.Time) string {
	for i := range pods {
		if why := stuckPod(&pods[i], now); why != "" {
			return why
		}
	}
	return ""
}

// stuckPod takes the kubelet's word where it gives one. What keeps a volume or a sandbox from being made stands in
// events alone, and pulling an image looks the same: there the time tells.
func stuckPod(p *corev1.Pod, now time.Time) string {
	if p.Status.Phase != corev1.PodPending || p.DeletionTimestamp != nil {
		return ""
	}
	state := "ContainerCreating"
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch w := s.State.Waiting; {
		case w == nil:
		case w.Reason == "" || w.Reason == "ContainerCreating" || w.Reason == "PodInitializing":
			state = cmp.Or(w.Reason, state)
		default:
			return because(w.Reason, w.Message)
		}
	}
	since, placed := scheduled(p)
	if !placed {
		return cmp.Or(unclaimed(p, now), unfit(p))
	}
	if s := stage(p); s != nil && s.State.Running != nil || now.Sub(since) <= settling {
		return ""
	}
	return fmt.Sprintf("%s: pod %s was scheduled more than %s ago and its containers do not exist: the image is still pulled, "+
		"or a volume cannot be mounted; see kubectl describe pod %s", state, p.Name, settling, p.Name)
}

// unclaimed names the ResourceClaimTemplate that no claim of the pod has been made from: why not stands in events alone.
func unclaimed(p *corev1.Pod, now time.Time) string {
	if now.Sub(p.CreationTimestamp.Time) <= podless {
		return ""
	}
	for _, claim := range p.Spec.ResourceClaims {
		made := slices.ContainsFunc(p.Status.ResourceClaimStatuses, func(s corev1.PodResourceClaimStatus) bool { return s.Name == claim.Name })
		if template := ptr.Deref(claim.ResourceClaimTemplateName, ""); template != "" && !made {
			return fmt.Sprintf("pod %s has no ResourceClaim for %s: is there a ResourceClaimTemplate %q in its namespace, and room for the claim in its quotas?", p.Name, claim.Name, template)
		}
	}
	return ""
}

// unfit is the scheduler's word on a pod that fits no node as it is, however many other pods end.
func unfit(p *corev1.Pod) string {
	c := podCondition(p, corev1.PodScheduled)
	if c == nil || c.Status != corev1.ConditionFalse || c.Reason != corev1.PodReasonUnschedulable || !fitsNowhere(c.Message) {
		return ""
	}
	return because(c.Reason, c.Message)
}

// waiting is the scheduler's word on a pod that has no node; empty where all have one.
func waiting(pods []corev1.Pod) string {
	for i := range pods {
		p := &pods[i]
		c := podCondition(p, corev1.PodScheduled)
		if p.Status.Phase == corev1.PodPending && c != nil && c.Status == corev1.ConditionFalse && c.Message != "" {
			return because(c.Reason, c.Message)
		}
	}
	return ""
}

// The scheduler's message on a pod without a node reads
//
//	0/<nodes> nodes are available: <count> <reason>, ... . preemption: 0/<nodes> nodes are available: <count> <reason>, ... .
//
// and its second half tells the nodes apart: on those that the pod could never use as they are (no such GPU, more than
// the node has, another label, an untolerated taint) "Preemption is not helpful for scheduling"; a busy node has
// another reason there (kube-scheduler, FitError and DefaultPreemption).
var (
	unhelpful = regexp.MustCompile(`preemption: 0/([0-9]+) nodes are available: ([0-9]+) Preemption is not helpful for scheduling`)
	// passing are reasons of the first half that end by themselves or with maintenance: a node that is cordoned, or
	// has a taint of Kubernetes' own. The newest schedulers do not name the taint.
	passing = regexp.MustCompile(`[0-9]+ node\(s\) (were unschedulable|had untolerated taint \{node\.kubernetes\.io/)`)
	// noClaim is told before nodes are looked at; the second half is missing then.
	noClaim = regexp.MustCompile(`persistentvolumeclaim "[^"]*" (not found|is being deleted|bound to non-existent)|pod has unbound immediate PersistentVolumeClaims`)
)

// fitsNowhere reads the scheduler's message: true when every node is useless to the pod. What it cannot tell is false:
// such a pod waits for capacity.
func fitsNowhere(message string) bool {
	if noClaim.MatchString(message) {
		return true
	}
	m := unhelpful.FindStringSubmatch(message)
	return len(m) == 3 && m[1] == m[2] && m[1] != "0" && !passing.MatchString(message)
}
