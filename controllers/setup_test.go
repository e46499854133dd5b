package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestSlimPod: what a pod has, uses and says stays; what it was told to do goes.
func TestSlimPod(t *testing.T) {
	four := corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("4")}}
	status := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.7"}
	full := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "a", UID: "u", Labels: map[string]string{v1alpha1.LabelManaged: "true"},
			Annotations:   map[string]string{v1alpha1.AnnotationSpec: "{}", "batch.kubernetes.io/job-completion-index": "3"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubelet"}},
		},
		Spec: corev1.PodSpec{
			NodeName: "gpu-0", Volumes: []corev1.Volume{{Name: "store"}}, Tolerations: []corev1.Toleration{{Key: "gpu"}},
			Containers: []corev1.Container{{Name: "stage", Image: "stage:1", Args: []string{"train"}, Env: []corev1.EnvVar{{Name: "A"}}, Resources: four}},
		},
		Status: status,
	}
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "a", UID: "u", Labels: map[string]string{v1alpha1.LabelManaged: "true"},
			Annotations: map[string]string{"batch.kubernetes.io/job-completion-index": "3"},
		},
		Spec:   corev1.PodSpec{NodeName: "gpu-0", Containers: []corev1.Container{{Name: "stage", Image: "stage:1", Resources: four}}},
		Status: status,
	}
	got, err := slimPod(full)
	if err != nil || !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("%v\n%+v", err, got)
	}
	gone := cache.DeletedFinalStateUnknown{Key: "team-a/a"}
	if got, err := slimPod(gone); err != nil || got != gone {
		t.Errorf("of one that is gone: %+v, %v", got, err)
	}
}
