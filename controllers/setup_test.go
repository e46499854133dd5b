package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestLean: what a pod or Job has, uses and says stays; what its containers were told to do goes.
func TestLean(t *testing.T) {
	four := corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("4")}}
	full := corev1.PodSpec{
		NodeName: "gpu-0", PriorityClassName: "night", Volumes: []corev1.Volume{{Name: "store"}}, Tolerations: []corev1.Toleration{{Key: "gpu"}},
		Containers: []corev1.Container{{Name: "stage", Image: "stage:1", Args: []string{"train"}, Env: []corev1.EnvVar{{Name: "A"}}, Resources: four}},
	}
	kept := corev1.PodSpec{
		NodeName: "gpu-0", PriorityClassName: "night", Containers: []corev1.Container{{Name: "stage", Image: "stage:1", Resources: four}},
	}
	meta := func(annotations map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: "a", UID: "u", Labels: map[string]string{v1alpha1.LabelManaged: "true"}, Annotations: annotations}
	}
	managed := func(m metav1.ObjectMeta) metav1.ObjectMeta {
		m.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet"}}
		return m
	}
	index, spec := map[string]string{"batch.kubernetes.io/job-completion-index": "3"}, map[string]string{v1alpha1.AnnotationSpec: "{}"}
	both := map[string]string{v1alpha1.AnnotationSpec: "{}", "batch.kubernetes.io/job-completion-index": "3"}
	running, active := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.7"}, batchv1.JobStatus{Active: 1}
	job := func(m metav1.ObjectMeta, pod corev1.PodSpec) *batchv1.Job {
		template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: spec}, Spec: pod}
		return &batchv1.Job{ObjectMeta: m, Spec: batchv1.JobSpec{Parallelism: ptr.To[int32](2), Template: template}, Status: active}
	}
	gone := cache.DeletedFinalStateUnknown{Key: "team-a/a"}
	for _, c := range []struct {
		name       string
		full, lean any
	}{
		{"pod", &corev1.Pod{ObjectMeta: managed(meta(both)), Spec: full, Status: running}, &corev1.Pod{ObjectMeta: meta(index), Spec: kept, Status: running}},
		{"Job", job(managed(meta(nil)), full), job(meta(nil), kept)},
		{"gone", gone, gone},
	} {
		got, err := lean(c.full)
		if diff := cmp.Diff(c.lean, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", c.name, err, diff)
		}
	}
}
