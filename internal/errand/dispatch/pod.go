package dispatch

import (
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/errand"
	"github.com/spatialalign/operator/internal/jobs"
)

// readySeconds is how long a pod that has started may take to listen.
const readySeconds = 60

// Image to run the pod with.
type Image struct {
	Name        string
	PullPolicy  corev1.PullPolicy
	PullSecrets []corev1.LocalObjectReference
}

// imageOf is the operator's image as the newest of the Jobs uses it; users need not be able to
// read the operator's Deployment.
func imageOf(list []batchv1.Job) (Image, bool) {
	var newest *batchv1.Job
	for i := range list {
		job := &list[i]
		if len(job.Spec.Template.Spec.Containers) == 1 && (newest == nil || newest.CreationTimestamp.Before(&job.CreationTimestamp)) {
			newest = job
		}
	}
	if newest == nil {
		return Image{}, false
	}
	pod := &newest.Spec.Template.Spec
	return Image{Name: pod.Containers[0].Image, PullPolicy: pod.Containers[0].ImagePullPolicy, PullSecrets: pod.ImagePullSecrets}, true
}

// newPod is built like the pods of the operator's own CPU stages (volumes, environment, security
// context) but for what it runs. Unless the errand writes, the volume is mounted read-only.
func newPod(e *Errand, image Image, deadline time.Duration) *corev1.Pod {
	template := jobs.Build(jobs.Work{
		Owner:   jobs.Owner{Kind: "AlignmentRun", Namespace: e.Namespace, Name: e.Name},
		Spec:    contract.Spec{Stage: contract.Stage(e.Name)},
		Runtime: e.Runtime,
		Images:  jobs.Images{Stage: image.Name, PullPolicy: image.PullPolicy},
	}).Spec.Template
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: e.Namespace, GenerateName: "align-" + e.Name + "-",
			// The NetworkPolicies of stage pods hold for this one; no owner label, so that no controller takes it for its own.
			Labels: map[string]string{v1alpha1.LabelManaged: "true"},
		},
		Spec: template.Spec,
	}
	if run := e.Run; run != nil {
		pod.Labels[v1alpha1.LabelRun] = run.Name
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "AlignmentRun", Name: run.Name, UID: run.UID,
		}}
	}
	pod.Spec.ActiveDeadlineSeconds = ptr.To(int64(deadline.Seconds()))
	pod.Spec.TerminationGracePeriodSeconds = ptr.To(int64(1))
	pod.Spec.ImagePullSecrets = image.PullSecrets
	c := &pod.Spec.Containers[0]
	command := c.Command[0]
	c.Args = []string{errand.CommandServe, e.Name}
	c.LivenessProbe = nil
	c.ReadinessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{command, errand.CommandReady}}},
		PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: readySeconds,
	}
	// The question comes by the port-forward and not by an annotation.
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.DownwardAPI != nil })
	c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
		return !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
	})
	for i := range c.VolumeMounts {
		if m := &c.VolumeMounts[i]; m.Name == "store" {
			m.ReadOnly = !e.Writes
		}
	}
	return pod
}

// waiting is what keeps a pod from starting, as Kubernetes says it.
func waiting(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			return text(w.Reason, w.Message)
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return text(c.Reason, c.Message)
		}
	}
	return "it is " + string(pod.Status.Phase)
}

// failure is why a pod ended.
func failure(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		if t := s.State.Terminated; t != nil {
			return text(fmt.Sprintf("exit code %d", t.ExitCode), t.Message)
		}
	}
	return text(pod.Status.Reason, pod.Status.Message)
}

func text(reason, message string) string {
	switch {
	case message == "":
		return reason
	case reason == "":
		return message
	default:
		return reason + ": " + message
	}
}

func started(pod *corev1.Pod) bool {
	return len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].State.Waiting == nil
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}
