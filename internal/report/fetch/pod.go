package fetch

import (
	"encoding/json"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/report"
)

const (
	// deadlineSeconds ends the pod when nobody is left to delete it.
	deadlineSeconds = 600
	// specArguments of a stage's container are --spec and the file that the pod's annotation is projected to.
	specArguments = 2
)

// Image to run the pod with.
type Image struct {
	Name        string
	PullPolicy  corev1.PullPolicy
	PullSecrets []corev1.LocalObjectReference
}

// imageOf is the operator's image as the newest of a run's Jobs uses it; users need not be able to
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
// context) but for what it runs, and reads the store only. The run must have been accepted: its status names the store.
func newPod(run *v1alpha1.AlignmentRun, image Image, plan report.Plan) (*corev1.Pod, error) {
	data, err := json.Marshal(plan)
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	template := jobs.Build(jobs.Work{
		Owner:   jobs.Owner{Kind: "AlignmentRun", Namespace: run.Namespace, Name: run.Name, UID: run.UID, Run: run.Name},
		Spec:    contract.Spec{Stage: "report"},
		Runtime: &run.Status.Runtime.Spec,
		Images:  jobs.Images{Stage: image.Name, PullPolicy: image.PullPolicy},
	}).Spec.Template
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: run.Namespace, GenerateName: "align-report-",
			// The NetworkPolicies of stage pods hold for this one; no owner label, so that no controller takes it for its own.
			Labels:      map[string]string{v1alpha1.LabelManaged: "true", v1alpha1.LabelRun: run.Name},
			Annotations: map[string]string{v1alpha1.AnnotationSpec: string(data)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "AlignmentRun", Name: run.Name, UID: run.UID,
			}},
		},
		Spec: template.Spec,
	}
	pod.Spec.ActiveDeadlineSeconds = ptr.To(int64(deadlineSeconds))
	pod.Spec.TerminationGracePeriodSeconds = ptr.To(int64(1))
	pod.Spec.ImagePullSecrets = image.PullSecrets
	c := &pod.Spec.Containers[0]
	command := c.Command[0]
	c.Args = append([]string{"report", "serve"}, c.Args[1:1+specArguments]...)
	c.LivenessProbe = nil
	c.ReadinessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{command, "report", "ready"}}},
		PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: deadlineSeconds,
	}
	for i := range c.VolumeMounts {
		if m := &c.VolumeMounts[i]; m.Name == "store" {
			m.ReadOnly = true
		}
	}
	return pod, nil
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
